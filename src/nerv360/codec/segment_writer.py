"""A fitted network -> a .nerv360 file of one segment, which is read again before it gets its name."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from nerv360.bitstream.container import Container
from nerv360.bitstream.header import SegmentHeader
from nerv360.bitstream.latent_tables import write_angles, write_tables
from nerv360.bitstream.weights import QuantizedTensor, quantize, read_weights, step_code, write_weights
from nerv360.codec.encoder import write_clip
from nerv360.codec.load_network import load_network
from nerv360.config import EncodingConfig
from nerv360.entropy.range_coder import Integers
from nerv360.errors import BitstreamError
from nerv360.latents.context_model import fit_context_model
from nerv360.latents.grid import LatentGrid
from nerv360.latents.integer_context_model import IntegerContextModel, read_latent, write_latent
from nerv360.latents.key_groups import KeyGroups
from nerv360.latents.kinds import ROUNDING
from nerv360.latents.quantization import ChannelQuantizer
from nerv360.models.build import decoder_tensors
from nerv360.storage import Location, atomic_write
from nerv360.training.training_module import TrainingModule
from nerv360.video.camera_motion import Angles
from nerv360.video.clip import Clip

__all__ = ["Latents", "estimate_bytes", "min_file_bytes", "write_segment"]

MAX_DEAD_ZONE, BISECTIONS = 0.6, 3  # dead zones in steps of the quantiser

Latents = NDArray[np.float32]  # [keys, channels, rows, columns]


@dataclass(frozen=True)
class QuantizedSegment:
    """Everything of a network that is written, as integers."""

    weights: Mapping[str, QuantizedTensor]
    key_groups: Sequence[tuple[Integers, int]]  # keys [keys, channels, rows, columns], and the first of their channels
    quantizers: Sequence[ChannelQuantizer]  # those that the file holds
    context_model: IntegerContextModel

    def chunks(self, angles: Angles | None) -> list[bytes]:
        """Bytes of every chunk."""
        tables = write_tables(self.quantizers, self.context_model) + (b"" if angles is None else write_angles(angles))
        groups = (write_latent(symbols, self.context_model, channel) for symbols, channel in self.key_groups)
        return [write_weights(self.weights), tables, *groups]


def write_segment(
    module: TrainingModule,
    latents: Sequence[Latents],
    clip: Clip,
    config: EncodingConfig,
    output: Location,
    angles: Angles | None = None,
    sound: Sequence[bytes] = (),
) -> int:
    """Quantise, code and write one segment; read it again and compare every integer. Returns the file's size.

    Where the file would be larger than its limit, values are rounded to 0 from further away, if that suffices.
    """

    def coded(dead_zone: float) -> tuple[QuantizedSegment, bytes]:
        segment = quantize_segment(module, latents, clip.frames, config, dead_zone)
        return segment, _file(module, segment, clip, config, angles, sound)

    segment, data = coded(ROUNDING)
    limit = config.rate_target.max_bytes(clip.frames, float(clip.frame_rate))
    if limit is not None and len(data) > limit:
        segment, data = fit_size_limit(coded, limit) or (segment, data)
    with atomic_write(output) as partial:
        partial.write_bytes(data)
        verify_roundtrip(partial, segment, angles)
    return len(data)


def fit_size_limit(
    coded: Callable[[float], tuple[QuantizedSegment, bytes]], limit: int
) -> tuple[QuantizedSegment, bytes] | None:
    """Code with about the least dead zone that keeps the limit; None where the largest does not."""
    rejected, accepted = ROUNDING, MAX_DEAD_ZONE
    best = coded(accepted)
    if len(best[1]) > limit:
        return None
    for _ in range(BISECTIONS):
        tried = (rejected + accepted) / 2
        found = coded(tried)
        if len(found[1]) <= limit:
            accepted, best = tried, found
        else:
            rejected = tried
    return best


@torch.no_grad()
def estimate_bytes(module: TrainingModule, clip: Clip, config: EncodingConfig) -> int:
    """Size of a file written now, but for the camera's angles; latents not yet known count with their full bits."""
    network = module.network
    if network.config.spec.latents.fitted:
        latents = [latent.cpu().numpy() for latent in network.fitted_latents(())]
        return len(_file(module, quantize_segment(module, latents, clip.frames, config), clip, config, None))
    sizes = [(latent.channels, *latent.size(clip.width, clip.height)) for latent in network.config.latents]
    values = clip.frames * sum(map(int, map(np.prod, sizes)))
    return len(write_weights(_quantized_weights(module, config))) + values * config.storage.embedding_bits // 8


def min_file_bytes(module: TrainingModule, clip: Clip, config: EncodingConfig) -> int:
    """Size of a file whose weights and latents are all zero, of a network whose latents are fitted."""
    network, latents = module.network, module.network.config.latents
    zeros = [np.zeros(latent.shape, dtype=np.int32) for latent in network.fitted_latents(())]
    tensors = decoder_tensors(network).items()
    weights = {name: quantize(np.zeros(tensor.shape, np.float32), 8) for name, tensor in tensors}
    channels = sum(latent.channels for latent in latents)
    context_model = IntegerContextModel.of(np.zeros(IntegerContextModel.size(channels), dtype=np.int32), channels)
    groups = _key_groups(latents, zeros, clip.frames, config.storage.group_size)
    return len(_file(module, QuantizedSegment(weights, groups, [], context_model), clip, config, None))


def quantize_segment(
    module: TrainingModule,
    latents: Sequence[Latents],
    frames: int,
    config: EncodingConfig,
    dead_zone: float = ROUNDING,
) -> QuantizedSegment:
    """Quantise weights and latents, and fit the context model to the integers."""
    shape = module.network.config
    symbols, quantizers = shape.spec.latents.quantize(latents, config.storage.embedding_bits, dead_zone)
    groups = _key_groups(shape.latents, symbols, frames, config.storage.group_size)
    context_model = fit_context_model(groups, module.network.context_model(), config.optimisation.context_steps)
    return QuantizedSegment(_quantized_weights(module, config), groups, quantizers, context_model)


def _key_groups(
    latents: Sequence[LatentGrid], symbols: Sequence[Integers], frames: int, group_size: int
) -> list[tuple[Integers, int]]:
    """The keys of every key group, and the index of their first channel."""
    first = np.cumsum([0, *(latent.channels for latent in latents)]).tolist()
    groups = KeyGroups(latents, frames, group_size)
    return [(symbols[g.latent][g.first_key : g.first_key + g.keys], first[g.latent]) for g in groups]


def _quantized_weights(module: TrainingModule, config: EncodingConfig) -> dict[str, QuantizedTensor]:
    tensors = {name: tensor.float().cpu().numpy() for name, tensor in decoder_tensors(module.network).items()}
    if module.quantizer is None:
        return {name: quantize(tensor, config.storage.weight_bits) for name, tensor in tensors.items()}
    steps = zip(module.quantizer.names, module.quantizer.log2_step.tolist(), strict=True)
    return {name: quantize(tensors[name], step=step_code(step)) for name, step in steps}


def _file(
    module: TrainingModule,
    segment: QuantizedSegment,
    clip: Clip,
    config: EncodingConfig,
    angles: Angles | None,
    sound: Sequence[bytes] = (),
) -> bytes:
    view_width, view_height = config.training_view(clip.width)
    segment_header = SegmentHeader.of_network(
        module.network.config,
        view_width=view_width,
        view_height=view_height,
        hfov_deg=config.view_sampling.hfov_deg,
        roll_deg=config.view_sampling.roll_deg,
        oriented=angles is not None,
    )
    return write_clip(clip, segment_header, segment.chunks(angles), sound)


def verify_roundtrip(path: Path, written: QuantizedSegment, angles: Angles | None) -> None:
    """Parse what was written and compare integers. Raises BitstreamError: never seen, and never let through."""
    with Container(path) as container:
        (segment,) = container.segments
        loaded = load_network(container, segment, torch.device("cpu"))
        same = np.array_equal(loaded.context_model.parameters(), written.context_model.parameters())
        if written.quantizers:
            same &= [quantizer for channels in loaded.quantizers for quantizer in channels] == written.quantizers
        if angles is None or loaded.angles is None:
            same &= angles is loaded.angles
        else:
            same &= np.array_equal(loaded.angles, angles)
        shapes = {name: tensor.symbols.shape for name, tensor in written.weights.items()}
        for name, tensor in read_weights(container.chunk(segment, 0), shapes).items():
            same &= np.array_equal(tensor.symbols, written.weights[name].symbols)
            same &= tensor.step == written.weights[name].step
        for index, (symbols, channel) in enumerate(written.key_groups):
            chunk = container.chunk(segment, 2 + index)
            same &= np.array_equal(read_latent(chunk, loaded.context_model, channel, symbols.shape), symbols)
    if not same:
        raise BitstreamError(f"{path}: what was written does not read back")
