"""A segment of a file -> its network."""

import math
from dataclasses import dataclass

import torch

from nerv360.bitstream.container import Container, Segment
from nerv360.bitstream.header import SegmentHeader
from nerv360.bitstream.latent_tables import read_angles, read_tables
from nerv360.bitstream.weights import dequantize, read_weights
from nerv360.config import MODELS, ModelConfig
from nerv360.errors import BitstreamError
from nerv360.latents.grid import GRID_STEP, key_count
from nerv360.latents.integer_context_model import IntegerContextModel
from nerv360.latents.key_groups import keys_per_group
from nerv360.latents.quantization import ChannelQuantizer
from nerv360.models.base import Network, build, channels_last, decoder_tensors
from nerv360.video.camera_motion import Angles

__all__ = ["MAX_LATENT_VALUES", "SegmentNetwork", "latent_values", "load_network"]

MAX_PARAMETERS = 1 << 27
MAX_LATENT_VALUES = 1 << 27
LEAST_BYTES_PER_PARAMETER = 1 / 64


@dataclass
class SegmentNetwork:
    """A segment's network and what its latents are read with."""

    model: Network
    quantizers: list[list[ChannelQuantizer]]  # of every channel of every latent
    contexts: IntegerContextModel
    angles: Angles | None


def load_network(container: Container, segment: Segment, device: torch.device) -> SegmentNetwork:
    """Read a segment's decoder weights and latent tables into a network.

    Raises BitstreamError where the header and the chunks do not fit each other.
    """
    config = _model_config(container, segment.header)
    values = latent_values(config, segment.frames, segment.header.group_size)
    with torch.device("meta"):
        shapes = {name: tuple(tensor.shape) for name, tensor in decoder_tensors(build(config)).items()}
    parameters = sum(math.prod(shape) for shape in shapes.values())
    data = container.chunk(segment, 0)
    if parameters > MAX_PARAMETERS or len(data) < parameters * LEAST_BYTES_PER_PARAMETER:
        raise BitstreamError(f"{container.path}: {parameters} parameters in {len(data)} bytes: impossible")
    if values > MAX_LATENT_VALUES:
        raise BitstreamError(f"{container.path}: latents of {values} values; at most {MAX_LATENT_VALUES} are decoded")
    try:
        weights = read_weights(data, shapes)
        channels = sum(latent.channels for latent in segment.latents)
        spread = 0 if segment.header.grids else channels
        found, contexts, rest = read_tables(container.chunk(segment, 1), spread, channels)
        if rest and not segment.header.oriented:
            raise BitstreamError("latent tables go on behind the last")
        angles = read_angles(rest, segment.frames) if segment.header.oriented else None
    except BitstreamError as error:
        raise BitstreamError(f"{container.path}: {error}") from None
    each = iter(found or [ChannelQuantizer(0.0, GRID_STEP)] * channels)
    quantizers = [[next(each) for _ in range(latent.channels)] for latent in segment.latents]
    model = build(config)
    model.load_state_dict({name: torch.from_numpy(dequantize(tensor)) for name, tensor in weights.items()})
    return SegmentNetwork(channels_last(model.eval().to(device)), quantizers, contexts, angles)


def latent_values(config: ModelConfig, frames: int, group_size: int) -> int:
    """Numbers in the largest parts of all latents: what showing one frame takes."""
    return sum(
        math.prod(latent.size(config.width, config.height))
        * latent.channels
        * min(key_count(latent.key_interval, frames), keys_per_group(latent.key_interval, group_size))
        for latent in config.latents
    )


def _model_config(container: Container, header: SegmentHeader) -> ModelConfig:
    if header.model not in MODELS or (header.model == "nerv360-grid") != bool(header.grids):
        raise BitstreamError(
            f"{container.path}: model {header.model!r} is not known to this version, or not with these grids"
        )
    if header.model.startswith("hnerv") and math.prod(header.encoder_strides) != math.prod(header.decoder_strides):
        raise BitstreamError(f"{container.path}: model {header.model!r} must draw as many pixels as it was made from")
    return ModelConfig(
        width=container.header.width,
        height=container.header.height,
        channels=tuple(header.channels),
        model=header.model,
        encoder_strides=tuple(header.encoder_strides),
        decoder_strides=tuple(header.decoder_strides),
        kernels=tuple(header.kernels),
        embedding_channels=header.embedding_channels,
        expand_first=header.expand_first,
        last_block=header.last_block,
        conditions=tuple(header.conditions),
        pe_base=header.pe_base,
        pe_frequencies=header.pe_frequencies,
        grids=tuple(header.latents()) if header.grids else (),
        group_size=header.group_size,
    )
