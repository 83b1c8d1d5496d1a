"""Fit a model to a clip: one readable loop. Deterministic, resumable, watches over its loss."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from nerv360.config import EncodingConfig
from nerv360.errors import TrainingError
from nerv360.geometry.footprint import Footprint
from nerv360.geometry.viewport import Viewport
from nerv360.latents.grid import FrameTime
from nerv360.models.base import Network, channels_last, decoder_tensors
from nerv360.models.panoramic import PanoramaDecoder
from nerv360.storage import Location
from nerv360.training import checkpoint
from nerv360.training.checkpoint import Progress, Tensors
from nerv360.training.losses import distortion, squared_error
from nerv360.training.optimisers import create_optimiser, learning_rate
from nerv360.training.weight_quantizer import WeightQuantizer
from nerv360.video.camera_motion import Angles, camera_to_world, to_world_view
from nerv360.video.clip import Clip
from nerv360.video.shuffle import shuffled

__all__ = ["NOISE_FRACTION", "TrainingModule", "TrainingSample", "fit", "sample_view", "train_step"]

SAVE_SECONDS, MOST_SECONDS = 20.0, 50.0  # between checkpoints; large ones, slow to write, are rarer
FRAME_MEMORY = 2 << 30
SNAPSHOT_STEPS = 100
SMOOTHING = 0.98
DIVERGENCE = 1.5  # times the best running loss; the last one that was kept where the rate is fitted
MAX_RECOVERIES, MAX_SKIPPED = 5, 20
NOISE_FRACTION = 0.75  # of the steps; then the values of grids are rounded
RATE_WARMUP_FRACTION = 0.25  # of the steps, over which the weight of the rate rises
R2 = np.array([0.7548776662466927, 0.5698402909980532])  # 1 / g, 1 / g^2 with g^3 = g + 1


@dataclass(frozen=True)
class TrainingSample:
    """What one step sees."""

    panorama: Tensor  # [1, 3, H, W] uint8
    frame: int
    frames: int  # of the clip
    views: Sequence[Viewport]  # in the panorama
    world_views: Sequence[Viewport]  # the same on the model's sphere

    @property
    def moment(self) -> FrameTime:
        return FrameTime(self.frame, self.frames)


class TrainingModule(nn.Module):
    """A network while it is fitted, with the steps of its weights where their rate is fitted too."""

    def __init__(self, model: Network, config: EncodingConfig) -> None:
        super().__init__()
        self.model = model
        self.quantiser = WeightQuantizer(decoder_tensors(model)) if config.rate_weight else None

    def forward(
        self, example: TrainingSample, noise: torch.Generator | None
    ) -> tuple[Tensor, Tensor, Tensor]:  # [N, 3, h, w] drawn and wanted, in [0, 1]; bits per drawn pixel
        """What a step draws. With a generator, noise stands in for rounding."""
        if self.quantiser is None:
            return _Rendering(self.model)(example, noise)
        parameters = {name: self.model.get_parameter(name) for name in self.quantiser.names}
        weights, bits = self.quantiser(parameters, noise)
        drawn, wanted, latent_bits = functional_call(
            _Rendering(self.model), {f"model.{name}": tensor for name, tensor in weights.items()}, (example, noise)
        )
        share = 1.0 if isinstance(self.model, PanoramaDecoder) else example.views[0].share
        return drawn, wanted, latent_bits + bits * share / (example.frames * math.prod(drawn.shape[-2:]))


def fit(
    fitting: TrainingModule,
    clip: Clip,
    config: EncodingConfig,
    checkpoint_path: Location,
    report: Callable[[Progress, int], None],
    look: Callable[[], Angles | None] = lambda: None,
    steer: Callable[[Progress, int], None] = lambda progress, steps: None,
) -> tuple[Progress, Angles | None]:
    """Minimise the loss over random viewports of the clip's frames, on the network's device; `report` sees every step.

    A network that decodes whole panoramas is fitted to those. `steer` may change the weight of the rate after every
    step, and go back to an earlier progress_fraction of the schedule.

    `look` is called once, before the first step: it may prepare the network, and gives the camera's angles, which the
    checkpoint keeps. With them, the model's sphere is the world's, not the camera's.

    Goes on from the checkpoint where there is one of this very fit, with the same result as one that was never
    interrupted. Raises TrainingError where the loss cannot be kept finite.
    """
    steps = config.epochs * clip.frames
    device = next(fitting.parameters()).device
    channels_last(fitting.model)
    optimiser = create_optimiser(fitting, config)
    identity = f"{clip.fingerprint()} {config}"
    if resumed := checkpoint.load(checkpoint_path, identity):
        progress, now, last_good_state = resumed
        checkpoint.restore(now, fitting, optimiser)
        angles = now["angles"].numpy() if "angles" in now else None
    else:
        angles = look()
        progress, last_good_state = Progress(rate_weight=config.rate_weight), checkpoint.capture(fitting, optimiser)
    frames = shuffled(clip, config.seed, progress.step, FRAME_MEMORY)
    saved, pause, started = time.monotonic(), SAVE_SECONDS, time.monotonic() - progress.seconds

    def save() -> None:
        progress.seconds = time.monotonic() - started
        now = checkpoint.capture(fitting, optimiser)
        if angles is not None:
            now["angles"] = torch.from_numpy(angles)
        checkpoint.save(checkpoint_path, progress, now, last_good_state, identity)

    if resumed is None:
        save()
    try:
        while progress.step - progress.rewound_steps < steps:
            index, frame = next(frames)
            panorama = torch.from_numpy(frame).permute(2, 0, 1)[None].to(device)
            first = progress.step // clip.frames * config.views
            views = [sample_view(config, clip.width, index, first + k) for k in range(config.views)]
            world_views = (
                views if angles is None else [to_world_view(view, camera_to_world(angles[index])) for view in views]
            )
            example = TrainingSample(panorama, index, clip.frames, views, world_views)
            step = progress.step - progress.rewound_steps
            rate = progress.rate_scale * learning_rate(step, steps, config)
            train_step(fitting, optimiser, example, rate, step / steps, config, progress)
            last_good_state = recover_from_divergence(fitting, optimiser, progress, last_good_state)
            progress.step += 1
            steer(progress, steps)
            report(progress, steps + progress.rewound_steps)
            if time.monotonic() - saved > pause:
                began = time.monotonic()
                save()
                saved = time.monotonic()
                pause = min(MOST_SECONDS, max(SAVE_SECONDS, 10 * (saved - began)))
    finally:
        frames.close()
    save()
    return progress, angles


def train_step(
    fitting: TrainingModule,
    optimiser: torch.optim.Optimizer,
    example: TrainingSample,
    rate: float,
    progress_fraction: float,  # of all steps that are done
    config: EncodingConfig,
    progress: Progress,
) -> None:
    """One step of the optimiser; none where the loss or its gradient is not finite."""
    panorama, noise = example.panorama, None
    if progress_fraction < NOISE_FRACTION:
        noise = torch.Generator(panorama.device).manual_seed(config.seed << 32 | progress.step)
    with torch.autocast(panorama.device.type, torch.bfloat16, enabled=panorama.is_cuda):
        decoded, source, bits = fitting(example, noise)
    side = math.sqrt(example.views[0].width * example.views[0].height)  # the Fourier term grows with it
    rate_weight = progress.rate_weight * side * min(1.0, progress_fraction / RATE_WARMUP_FRACTION)
    if config.loss == "l2":
        error = squared_error(decoded.float(), source)
    else:
        error = distortion(decoded.float(), source, config.loss_lambda, config.loss_alpha)
    loss = error + rate_weight * bits
    optimiser.zero_grad()
    loss.backward()
    gradient = torch.nn.utils.get_total_norm([p.grad for p in fitting.parameters() if p.grad is not None])
    with torch.no_grad():
        mean_square = squared_error(decoded.float(), source)
    told = torch.stack((gradient + loss, error, mean_square))
    finite, error_now, mean_square_now = told.tolist()  # the one wait for the device
    if not math.isfinite(finite):
        progress.skipped += 1
        return
    progress.skipped = 0
    optimiser.param_groups[0]["lr"] = rate
    optimiser.step()
    fitting.model.step_latents(rate / config.learning_rate * config.grid_learning_rate)
    progress.loss = _smoothed(progress.loss, error_now, progress.step)
    progress.psnr_db = _smoothed(progress.psnr_db, -10 * math.log10(max(1e-10, mean_square_now)), progress.step)


class _Rendering(nn.Module):
    """What a network draws of an example while it is fitted."""

    def __init__(self, model: Network) -> None:
        super().__init__()
        self.model = model

    def forward(self, example: TrainingSample, noise: torch.Generator | None) -> tuple[Tensor, Tensor, Tensor]:
        model, panorama = self.model, example.panorama
        latents, bits = model.training_inputs(panorama, example.frame, example.world_views, noise)
        if isinstance(model, PanoramaDecoder):
            return model.panorama(latents[0], example.moment.time), panorama.float() / 255, bits
        pairs = zip(latents, example.world_views, strict=True)
        drawn = torch.cat([model.decode(latent, example.moment, world) for latent, world in pairs])
        return drawn, torch.cat([_cut(panorama, view) for view in example.views]) / 255, bits


def _cut(panorama: Tensor, view: Viewport) -> Tensor:
    """The view [1, 3, h, w] of a panorama, in 0..255: its window is known without the device."""
    rows, columns = panorama.shape[-2:]
    footprint = Footprint.of(view, 1, rows, columns, 1, panorama)
    return footprint.sample(footprint.window.crop(panorama).float())


def _smoothed(mean: float, value: float, step: int) -> float:
    """A running mean that begins as the plain one."""
    weight = max(1 - SMOOTHING, 1 / (step + 1))
    return value if not math.isfinite(mean) else mean + weight * (value - mean)


def recover_from_divergence(
    fitting: TrainingModule, optimiser: torch.optim.Optimizer, progress: Progress, last_good_state: Tensors
) -> Tensors:
    """Keep a last_good_state state every so often; return to it, at half the rate, when the loss has collapsed."""
    collapsed = progress.loss > DIVERGENCE * progress.best_loss or progress.skipped > MAX_SKIPPED
    if collapsed:
        progress.recoveries += 1
        if progress.recoveries > MAX_RECOVERIES:
            raise TrainingError(
                f"the loss collapsed {progress.recoveries} times (now {progress.loss:.3g}, best "
                f"{progress.best_loss:.3g}); encode with a lower learning rate"
            )
        checkpoint.restore(last_good_state, fitting, optimiser)
        progress.rate_scale, progress.loss, progress.skipped = progress.rate_scale / 2, progress.best_loss, 0
        return last_good_state
    if progress.step % SNAPSHOT_STEPS == SNAPSHOT_STEPS - 1:
        saving = fitting.quantiser is not None  # bits: quality may fall slowly
        progress.best_loss = progress.loss if saving else min(progress.best_loss, progress.loss)
        return checkpoint.capture(fitting, optimiser)
    return last_good_state


def sample_view(config: EncodingConfig, panorama_width: int, frame: int, number: int) -> Viewport:
    """The training viewport of a frame, by number: its centre uniform on the sphere.

    Uniform on the sphere means that pitch is the arcsine of a uniform number, so the poles are not seen more often
    than their area. A frame's centres follow an additive recurrence (R2) from a random start: they cover the sphere
    evenly, not by chance.
    """
    width, height = config.training_view(panorama_width)
    random = np.random.default_rng((config.seed, frame, number))
    start = np.random.default_rng((config.seed, frame)).uniform(size=2)
    across, up = (start + number * R2) % 1
    return Viewport(
        yaw_deg=float(360 * across - 180),
        pitch_deg=float(np.degrees(np.arcsin(2 * up - 1))),
        roll_deg=float(random.uniform(*config.roll_deg)),
        hfov_deg=float(random.uniform(*config.hfov_deg)),
        width=width,
        height=height,
    )
