"""A segment of a file -> its network."""

import math
from dataclasses import dataclass

import torch

from nerv360.bitstream.container import Container, Segment
from nerv360.bitstream.latent_tables import read_angles, read_tables
from nerv360.bitstream.weights import dequantize, read_weights
from nerv360.errors import BitstreamError
from nerv360.latents.grid import key_count
from nerv360.latents.integer_context_model import IntegerContextModel
from nerv360.latents.key_groups import keys_per_group
from nerv360.latents.quantization import ChannelQuantizer
from nerv360.models.build import build, channels_last, decoder_tensors
from nerv360.models.decoder_network import DecoderNetwork
from nerv360.models.memory import check_bytes
from nerv360.models.network_config import NetworkConfig
from nerv360.video.camera_motion import Angles

__all__ = ["MAX_LATENT_VALUES", "SegmentNetwork", "latent_values", "load_network"]

MAX_PARAMETERS = 1 << 27
MAX_LATENT_VALUES = 1 << 27
MIN_BYTES_PER_PARAMETER = 1 / 64
FREE_LATENT_VALUES, LATENT_VALUES_PER_BYTE = 1 << 24, 1 << 12  # of a segment
BYTES_PER_PARAMETER, BYTES_PER_LATENT_VALUE = 24, 18  # of memory, while they are read


@dataclass
class SegmentNetwork:
    """A segment's network and what its latents are read with."""

    network: DecoderNetwork
    quantizers: list[list[ChannelQuantizer]]  # of every channel of every latent
    context_model: IntegerContextModel
    angles: Angles | None


def load_network(container: Container, segment: Segment, device: torch.device) -> SegmentNetwork:
    """Read a segment's decoder weights and latent tables into a network.

    Raises BitstreamError where the header and the chunks do not fit each other.
    """
    config = segment.network.network(container.header.width, container.header.height)
    weights, tables = container.chunk(segment, 0), container.chunk(segment, 1)
    try:
        network = _read_network(weights, segment, config, container.max_memory)
        read = _read_latent_tables(tables, segment, config)
    except BitstreamError as error:
        raise BitstreamError(f"{container.path}: {error}") from None
    return SegmentNetwork(channels_last(network.eval().to(device)), *read)


def latent_values(config: NetworkConfig, frames: int) -> int:
    """Numbers in the largest key groups of all latents: what showing one frame takes."""
    return sum(
        math.prod(latent.size(config.width, config.height))
        * latent.channels
        * min(key_count(latent.key_interval, frames), keys_per_group(latent.key_interval, config.group_size))
        for latent in config.latents
    )


def _read_network(data: bytes, segment: Segment, config: NetworkConfig, max_memory: int | None) -> DecoderNetwork:
    with torch.device("meta"):
        shapes = {name: tuple(tensor.shape) for name, tensor in decoder_tensors(build(config)).items()}
    parameters, values = sum(map(math.prod, shapes.values())), latent_values(config, segment.frames)
    if parameters > MAX_PARAMETERS or len(data) < parameters * MIN_BYTES_PER_PARAMETER:
        raise BitstreamError(f"{parameters} parameters in {len(data)} bytes: impossible")
    if values > MAX_LATENT_VALUES:
        raise BitstreamError(f"latents of {values} values; at most {MAX_LATENT_VALUES} are decoded")
    if values > FREE_LATENT_VALUES + LATENT_VALUES_PER_BYTE * segment.length:
        raise BitstreamError(f"latents of {values} values in {segment.length} bytes: impossible")
    check_bytes(BYTES_PER_PARAMETER * parameters + BYTES_PER_LATENT_VALUE * values, "decoding the network", max_memory)
    weights = read_weights(data, shapes)
    network = build(config)
    network.load_state_dict({name: torch.from_numpy(dequantize(tensor)) for name, tensor in weights.items()})
    return network


def _read_latent_tables(
    data: bytes, segment: Segment, config: NetworkConfig
) -> tuple[list[list[ChannelQuantizer]], IntegerContextModel, Angles | None]:
    kind, channels = config.spec.latents, sum(latent.channels for latent in config.latents)
    stored, context_model, rest = read_tables(data, kind.stored_quantizers(channels), channels)
    if rest and not segment.network.oriented:
        raise BitstreamError("latent tables go on behind the last")
    angles = read_angles(rest, segment.frames) if segment.network.oriented else None
    each = iter(kind.quantizers(stored, channels))
    quantizers = [[next(each) for _ in range(latent.channels)] for latent in config.latents]
    return quantizers, context_model, angles
