"""A video -> a fitted network -> a .nerv360 file."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from nerv360.codec.encoder import Encoded, checkpoint_path, max_picture_bytes, read_sound_of
from nerv360.codec.load_network import MAX_LATENT_VALUES, latent_values
from nerv360.codec.segment_writer import Latents, estimate_bytes, min_file_bytes, write_segment
from nerv360.config import EncodingConfig
from nerv360.errors import ArgumentError
from nerv360.models.build import build, decoder_size
from nerv360.models.decoder_network import DecoderNetwork
from nerv360.models.device import FITTING_PRECISIONS, choose_precision, device_failures, full_float32
from nerv360.models.memory import enough_memory
from nerv360.models.network_config import NetworkConfig
from nerv360.progress import FitUpdate, OnProgress, Update
from nerv360.storage import Location, remove
from nerv360.training.checkpoint import Progress
from nerv360.training.configure import configure
from nerv360.training.fit import Fit
from nerv360.training.rate_control import RateController
from nerv360.training.training_module import TrainingModule
from nerv360.video.camera_motion import Angles, estimate_rotations
from nerv360.video.clip import Clip

__all__ = ["encode_by_network", "fitted_latents"]


def encode_by_network(
    clip: Clip,
    output: Location,
    config: EncodingConfig,
    device: torch.device,
    on_progress: OnProgress,
    precision: str | None,
) -> Encoded:
    """Fit the configured network to the clip and write the file.

    Interrupted at any moment, the same call goes on from the checkpoint beside the output (`checkpoint_path`),
    and ends with the same bytes. Stages are `analysing` the clip and `fitting` (`FitUpdate`).
    Raises TrainingError, OutputError, ArgumentError, OutOfMemory.
    """
    torch.manual_seed(config.seed)
    precision = choose_precision(precision, device)
    config = config.for_frames(clip.frames)
    shape = configure(config, clip.width, clip.height)
    _check_decodable(shape, clip)
    checkpoint, sound = checkpoint_path(output), read_sound_of(clip)
    kept = f"the fit is kept in {checkpoint}, and the same command goes on from it"
    enough = enough_memory(shape, "training", device, config.view_sampling.views)
    with enough, device_failures(device, kept), full_float32():
        network = build(shape, clip.frames).to(device)
        module = TrainingModule(network, config.rate_target.rate_weight, FITTING_PRECISIONS[precision]).to(device)
        rate_controller = _rate_controller(module, clip, config, max_picture_bytes(clip, config, sound))
        fit = Fit(module, clip, config, checkpoint, lambda: _initialize(network, clip, on_progress))
        fit.run(
            lambda progress, steps: on_progress(_fit_update(progress, steps, module, clip, config)),
            lambda progress, steps: rate_controller.update(progress, steps, fit.refresh),
        )
        size = write_segment(module, fitted_latents(network, clip), clip, config, output, fit.angles, sound)
    remove(checkpoint)
    progress = fit.progress
    return Encoded(
        path=output,
        size=size,
        frames=clip.frames,
        bitrate=8 * size * float(clip.frame_rate) / clip.frames,
        seconds=progress.seconds,
        summary=f"decoder of {decoder_size(network):,} parameters; fitted in {progress.seconds / 60:.1f} min "
        f"on {device.type} in {precision} to {progress.psnr_db:.2f} dB",
        limit=rate_controller.max_bytes,
        missed=_describe_miss(rate_controller, size - sum(map(len, sound)), progress.psnr_db),
        training_psnr_db=progress.psnr_db,
    )


@torch.inference_mode()
def fitted_latents(network: DecoderNetwork, clip: Clip) -> list[Latents]:
    """Latents of a clip [keys, channels, rows, columns]."""
    device = next(network.parameters()).device
    panoramas = (torch.from_numpy(frame).permute(2, 0, 1)[None].to(device) for frame in clip)
    return [latent.cpu().numpy() for latent in network.fitted_latents(panoramas)]


def _check_decodable(shape: NetworkConfig, clip: Clip) -> None:
    values = latent_values(shape, clip.frames)
    if values > MAX_LATENT_VALUES:
        raise ArgumentError(
            f"{clip.width}x{clip.height}: its latents would have {values} values, at most {MAX_LATENT_VALUES} can be "
            "decoded; scale the panorama with --size"
        )


def _rate_controller(module: TrainingModule, clip: Clip, config: EncodingConfig, limit: int | None) -> RateController:
    """Raises ArgumentError where no file is as small as it is to be."""
    if limit is not None and limit < (least := min_file_bytes(module, clip, config)):
        raise ArgumentError(
            f"a limit of {limit:,} bytes: the smallest file of these {clip.frames} frames takes {least:,}; allow more"
        )
    return RateController(limit, config.rate_target.quality_db, lambda: estimate_bytes(module, clip, config))


def _describe_miss(rate_controller: RateController, size: int, psnr_db: float) -> str:
    """How the target is missed, and what helps; empty where it is not."""
    missed = rate_controller.describe_miss(size, psnr_db)
    return f"{missed}: more epochs come nearer" if missed else ""


def _fit_update(
    progress: Progress, steps: int, module: TrainingModule, clip: Clip, config: EncodingConfig
) -> FitUpdate:
    def estimate_bitrate() -> float:
        return 8 * estimate_bytes(module, clip, config) * float(clip.frame_rate) / clip.frames

    return FitUpdate(
        stage="fitting",
        done=progress.step,
        total=steps,
        loss=progress.loss,
        psnr_db=progress.psnr_db,
        seconds=progress.seconds,
        skipped=progress.skipped,
        recoveries=progress.recoveries,
        rate_scale=progress.rate_scale,
        estimate_bitrate=estimate_bitrate,
    )


def _initialize(network: DecoderNetwork, clip: Clip, on_progress: OnProgress) -> Angles | None:
    """Begin a fit as the model's specification says; gives the camera's angles, where it tracks the camera."""
    spec, motion = network.config.spec, any(latent.motion for latent in network.config.latents)
    initialize = spec.load_initialization()
    passes = spec.world_aligned + (1 + motion if initialize else 0)  # for its camera; its colours, its motion
    frames = _TrackedPasses(clip, passes * clip.frames, on_progress)
    angles = estimate_rotations(frames) if spec.world_aligned else None
    if initialize:
        initialize(network, frames, angles)
    return angles


class _TrackedPasses:
    """The frames of a clip that is read several times; `total` counts those of all passes."""

    def __init__(self, clip: Clip, total: int, on_progress: OnProgress) -> None:
        self.clip, self.total, self.on_progress, self.done = clip, total, on_progress, 0

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        for frame in self.clip:
            yield frame
            self.done += 1
            self.on_progress(Update("analysing", self.done, self.total))
