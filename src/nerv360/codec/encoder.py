"""A video -> a fitted model -> a .nerv360 file, which is read again before it gets its name."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from nerv360.bitstream import header
from nerv360.bitstream.container import Container, write_container
from nerv360.bitstream.latent_tables import write_angles, write_tables
from nerv360.bitstream.weights import QuantizedTensor, quantize, read_weights, step_code, write_weights
from nerv360.codec.load_network import MAX_LATENT_VALUES, latent_values, load_network
from nerv360.config import EncodingConfig
from nerv360.entropy.range_coder import Integers
from nerv360.errors import ArgumentError, BitstreamError
from nerv360.latents.context_model import ContextModel, fit_context_model
from nerv360.latents.grid import GRID_STEP, LatentGrid
from nerv360.latents.integer_context_model import IntegerContextModel, read_latent, write_latent
from nerv360.latents.key_groups import key_groups
from nerv360.latents.quantization import ChannelQuantizer, quantize_embedding, quantize_grid
from nerv360.models.base import Network, build, configure, decoder_tensors, latents_of
from nerv360.models.memory import enough_memory
from nerv360.models.nerv360_grid import NeRV360Grid
from nerv360.progress import FitUpdate, OnProgress, Update
from nerv360.storage import Location, atomic_write, name_of, remove, sibling
from nerv360.training.checkpoint import Progress
from nerv360.training.fit import TrainingModule, fit
from nerv360.training.initialization import initialize_from_clip
from nerv360.training.rate_control import RateController
from nerv360.video.camera_motion import Angles, estimate_rotations
from nerv360.video.clip import Clip

__all__ = ["Encoded", "checkpoint_path", "encode_clip", "estimate_bytes", "size_limit", "write_model"]

ROUNDING, LARGEST_DEAD_ZONE, BISECTIONS = 0.5, 0.6, 3  # dead zones in steps of the quantiser

Latents = NDArray[np.float32]  # [keys, channels, rows, columns]


@dataclass(frozen=True)
class Encoded:
    """What an encoding came to."""

    path: Location
    size: int  # bytes on disk
    frames: int
    bitrate: float  # bits per second
    decoder_size: int  # parameters
    training_psnr_db: float  # running mean over the last training viewports
    seconds: float  # of fitting, over all runs
    limit: int | None  # of its bytes
    missed: str  # how it misses its target, in words; empty where it does not


def encode_clip(
    clip: Clip,
    output: Location,
    config: EncodingConfig,
    device: torch.device,
    on_progress: OnProgress,
) -> Encoded:
    """Fit the configured network to the clip and write the file.

    Interrupted at any moment, the same call goes on from the checkpoint beside the output (`checkpoint_path`),
    and ends with the same bytes. Stages are `analysing` the clip and `fitting`
    (`FitUpdate`). Raises TrainingError, OutputError, ArgumentError, OutOfMemory.
    """
    torch.manual_seed(config.seed)
    config = config.for_frames(clip.frames)
    shape = configure(config, clip.width, clip.height)
    values = latent_values(shape, clip.frames, config.group_size)
    if values > MAX_LATENT_VALUES:
        raise ArgumentError(
            f"{clip.width}x{clip.height}: its latents would have {values} values, at most {MAX_LATENT_VALUES} can be "
            "decoded; scale the panorama with --size"
        )
    model = build(shape, clip.frames).to(device)
    fitting = TrainingModule(model, config).to(device)
    limit = size_limit(config, clip)
    if limit is not None and limit < (least := min_file_bytes(fitting, clip, config)):
        raise ArgumentError(
            f"a limit of {limit:,} bytes: the smallest file of these {clip.frames} frames takes {least:,}; allow more"
        )
    rate_controller = RateController(limit, config.quality_db, lambda: estimate_bytes(fitting, clip, config))
    checkpoint = checkpoint_path(output)
    with enough_memory(shape, "training", device, config.views):
        progress, angles = fit(
            fitting,
            clip,
            config,
            checkpoint,
            lambda state, steps: on_progress(_fit_update(state, steps, fitting, clip, config)),
            lambda: _analyse(model, clip, on_progress),
            rate_controller.update,
        )
    size = write_model(fitting, fitted_latents(model, clip), clip, config, output, angles)
    remove(checkpoint)
    parameters = sum(tensor.numel() for tensor in decoder_tensors(model).values())
    bitrate = 8 * size * float(clip.frame_rate) / clip.frames
    miss = rate_controller.describe_miss(size, progress.psnr_db)
    return Encoded(output, size, clip.frames, bitrate, parameters, progress.psnr_db, progress.seconds, limit, miss)


def _fit_update(state: Progress, steps: int, fitting: TrainingModule, clip: Clip, config: EncodingConfig) -> FitUpdate:
    def estimate_bitrate() -> float:
        return 8 * estimate_bytes(fitting, clip, config) * float(clip.frame_rate) / clip.frames

    return FitUpdate(
        stage="fitting",
        done=state.step,
        total=steps,
        loss=state.loss,
        psnr_db=state.psnr_db,
        seconds=state.seconds,
        skipped=state.skipped,
        recoveries=state.recoveries,
        rate_scale=state.rate_scale,
        estimate_bitrate=estimate_bitrate,
    )


def _analyse(model: Network, clip: Clip, on_progress: OnProgress) -> Angles | None:
    """The camera's angles; grids begin as the clip itself."""
    if not isinstance(model, NeRV360Grid):
        return None
    passes = 2 + any(grid.motion for grid in model.config.grids)  # for its camera, its colours, its motion
    frames = _TrackedPasses(clip, passes * clip.frames, on_progress)
    angles = estimate_rotations(frames)
    initialize_from_clip(model, frames, angles)
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


def checkpoint_path(output: Location) -> Location:
    """Where an unfinished encoding of `output` is kept."""
    return sibling(output, name_of(output) + ".checkpoint")


@torch.inference_mode()
def fitted_latents(model: Network, clip: Clip) -> list[Latents]:
    """The latents of a clip [keys, channels, rows, columns]."""
    device = next(model.parameters()).device
    panoramas = (torch.from_numpy(frame).permute(2, 0, 1)[None].to(device) for frame in clip)
    return [latent.cpu().numpy() for latent in latents_of(model, panoramas)]


@dataclass(frozen=True)
class _Coded:
    """Everything of a network that is written, as integers."""

    weights: Mapping[str, QuantizedTensor]
    key_groups: Sequence[tuple[Integers, int]]  # keys [keys, channels, rows, columns], and the first of their channels
    quantizers: Sequence[ChannelQuantizer]  # of channels that are spread over their range
    contexts: IntegerContextModel

    def chunks(self, side: bytes) -> list[bytes]:
        tables = write_tables(self.quantizers, self.contexts) + side
        groups = (write_latent(symbols, self.contexts, channel) for symbols, channel in self.key_groups)
        return [write_weights(self.weights), tables, *groups]


def write_model(
    fitting: TrainingModule,
    latents: Sequence[Latents],
    clip: Clip,
    config: EncodingConfig,
    output: Location,
    angles: Angles | None = None,
) -> int:
    """Quantise, code and write one segment; read it again and compare every integer. Returns the file's size.

    Where the file would be larger than its limit, values are rounded to 0 from further away, if that suffices.
    """

    def made(dead_zone: float) -> tuple[_Coded, bytes]:
        coded = quantize_segment(fitting, latents, clip.frames, config, dead_zone)
        return coded, _file(fitting, coded, clip, config, angles)

    coded, data = made(ROUNDING)
    limit = size_limit(config, clip)
    if limit is not None and len(data) > limit:
        coded, data = fit_size_limit(made, limit) or (coded, data)
    with atomic_write(output) as partial:
        partial.write_bytes(data)
        verify_roundtrip(partial, coded, angles)
    return len(data)


def fit_size_limit(made: Callable[[float], tuple[_Coded, bytes]], limit: int) -> tuple[_Coded, bytes] | None:
    """What is made with about the least dead zone that keeps the limit; None where the largest does not."""
    rejected, accepted = ROUNDING, LARGEST_DEAD_ZONE
    best = made(accepted)
    if len(best[1]) > limit:
        return None
    for _ in range(BISECTIONS):
        tried = (rejected + accepted) / 2
        found = made(tried)
        if len(found[1]) <= limit:
            accepted, best = tried, found
        else:
            rejected = tried
    return best


def size_limit(config: EncodingConfig, clip: Clip) -> int | None:
    """The bytes that the clip's file may have."""
    return None if config.bitrate is None else int(config.bitrate * clip.frames / float(clip.frame_rate) / 8)


@torch.no_grad()
def estimate_bytes(fitting: TrainingModule, clip: Clip, config: EncodingConfig) -> int:
    """What a file would weigh now, but for the camera's angles; embeddings, not yet known, at their full bits."""
    model = fitting.model
    if config.grids:
        latents = [latent.cpu().numpy() for latent in latents_of(model, ())]
        return len(_file(fitting, quantize_segment(fitting, latents, clip.frames, config), clip, config, None))
    embedding = model.config.embedding
    rows, columns = embedding.size(model.config.width, model.config.height)
    values = clip.frames * rows * columns * embedding.channels
    return len(write_weights(_quantized_weights(fitting, config))) + values * config.embedding_bits // 8


def min_file_bytes(fitting: TrainingModule, clip: Clip, config: EncodingConfig) -> int:
    """Of a file whose weights and grids are all zero."""
    latents = fitting.model.config.latents
    zeros = [np.zeros_like(latent.cpu().numpy(), dtype=np.int32) for latent in latents_of(fitting.model, ())]
    tensors = decoder_tensors(fitting.model).items()
    weights = {name: quantize(np.zeros(tensor.shape, np.float32), 8) for name, tensor in tensors}
    channels = sum(latent.channels for latent in latents)
    contexts = IntegerContextModel.of(np.zeros(IntegerContextModel.size(channels), dtype=np.int32), channels)
    coded = _Coded(weights, _groups(latents, zeros, clip.frames, config), [], contexts)
    return len(_file(fitting, coded, clip, config, None))


def _file(fitting: TrainingModule, coded: _Coded, clip: Clip, config: EncodingConfig, angles: Angles | None) -> bytes:
    chunks = coded.chunks(b"" if angles is None else write_angles(angles))
    segment = _segment_header(fitting.model, clip, config, oriented=angles is not None)
    return write_container(_file_header(clip), iter([(segment, chunks)]))


def quantize_segment(
    fitting: TrainingModule,
    latents: Sequence[Latents],
    frames: int,
    config: EncodingConfig,
    dead_zone: float = ROUNDING,
) -> _Coded:
    """Grids are multiples of their step; embeddings, fitted without regard to rate, are spread over their range."""
    quantizers: list[ChannelQuantizer] = []
    if config.grids:
        symbols = [quantize_grid(latent, GRID_STEP, dead_zone) for latent in latents]
    else:
        (embedding,) = latents
        pairs = [quantize_embedding(channel, config.embedding_bits) for channel in embedding.swapaxes(0, 1)]
        symbols, quantizers = [np.stack([integers for integers, _ in pairs], axis=1)], [scaling for _, scaling in pairs]
    latent_shapes = fitting.model.config.latents
    groups = _groups(latent_shapes, symbols, frames, config)
    if isinstance(fitting.model, NeRV360Grid):
        known = fitting.model.latents.context_model
    else:
        known = ContextModel(sum(latent.channels for latent in latent_shapes))
    return _Coded(
        _quantized_weights(fitting, config), groups, quantizers, fit_context_model(groups, known, config.context_steps)
    )


def _groups(
    latents: Sequence[LatentGrid], symbols: Sequence[Integers], frames: int, config: EncodingConfig
) -> list[tuple[Integers, int]]:
    """The keys of every chunk, and the number of their first channel."""
    first = np.cumsum([0, *(latent.channels for latent in latents)]).tolist()
    layout = key_groups(latents, frames, config.group_size)
    return [(symbols[p.latent][p.first_key : p.first_key + p.keys], first[p.latent]) for p in layout]


def _quantized_weights(fitting: TrainingModule, config: EncodingConfig) -> dict[str, QuantizedTensor]:
    tensors = {name: tensor.float().cpu().numpy() for name, tensor in decoder_tensors(fitting.model).items()}
    if fitting.quantiser is None:
        return {name: quantize(tensor, config.weight_bits) for name, tensor in tensors.items()}
    steps = zip(fitting.quantiser.names, fitting.quantiser.log2_step.tolist(), strict=True)
    return {name: quantize(tensors[name], step=step_code(step)) for name, step in steps}


def _file_header(clip: Clip) -> header.FileHeader:
    return header.FileHeader(
        width=clip.width,
        height=clip.height,
        frames=clip.frames,
        rate_numerator=clip.frame_rate.numerator,
        rate_denominator=clip.frame_rate.denominator,
        colour=clip.colour,
        segments=[header.SegmentEntry(clip.frames, 1, 1, 0)],
    )


def _segment_header(model: Network, clip: Clip, config: EncodingConfig, oriented: bool) -> header.SegmentHeader:
    shape, (view_width, view_height) = model.config, config.training_view(clip.width)
    return header.SegmentHeader(
        model=shape.model,
        channels=list(shape.channels),
        encoder_strides=list(shape.encoder_strides),
        decoder_strides=list(shape.decoder_strides),
        kernels=list(shape.kernels),
        embedding_channels=shape.embedding_channels,
        expand_first=shape.expand_first,
        last_block=shape.last_block,
        conditions=list(shape.conditions),
        pe_base=shape.pe_base,
        pe_frequencies=shape.pe_frequencies,
        view_width=view_width,
        view_height=view_height,
        hfov_deg=config.hfov_deg,
        roll_deg=config.roll_deg,
        group_size=config.group_size,
        oriented=oriented,
        grids=list(shape.grids),
        chunks=[],
    )


def verify_roundtrip(path: Path, coded: _Coded, angles: Angles | None) -> None:
    """Parse what was written and compare integers. Raises BitstreamError: never seen, and never let through."""
    with Container(path) as container:
        (segment,) = container.segments
        network = load_network(container, segment, torch.device("cpu"))
        same = np.array_equal(network.contexts.parameters(), coded.contexts.parameters())
        if coded.quantizers:
            same &= [scaling for channels in network.quantizers for scaling in channels] == coded.quantizers
        if angles is None or network.angles is None:
            same &= angles is network.angles
        else:
            same &= np.array_equal(network.angles, angles)
        shapes = {name: tensor.symbols.shape for name, tensor in coded.weights.items()}
        for name, tensor in read_weights(container.chunk(segment, 0), shapes).items():
            same &= np.array_equal(tensor.symbols, coded.weights[name].symbols)
            same &= tensor.step == coded.weights[name].step
        for index, (symbols, channel) in enumerate(coded.key_groups):
            chunk = container.chunk(segment, 2 + index)
            same &= np.array_equal(read_latent(chunk, network.contexts, channel, symbols.shape), symbols)
    if not same:
        raise BitstreamError(f"{path}: what was written does not read back")
