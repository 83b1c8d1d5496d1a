"""Making of networks."""

from dataclasses import replace
from functools import cache

import torch
from torch import Tensor

from nerv360.models.budget import solve_widths
from nerv360.models.decoder_network import DecoderNetwork
from nerv360.models.network_config import NetworkConfig

__all__ = ["build", "channels_last", "decoder_size", "decoder_tensors", "with_decoder_size"]


def build(config: NetworkConfig, frames: int | None = None) -> DecoderNetwork:
    """A network with fresh weights, to be fitted to so many frames; without them, one that can only decode."""
    network: type[DecoderNetwork] = config.spec.load_network()
    return network(config, frames)


def channels_last(network: DecoderNetwork) -> DecoderNetwork:
    """The network itself, its kernels in the order in memory that convolutions are fastest with."""
    for parameter in network.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return network


def decoder_tensors(network: DecoderNetwork) -> dict[str, Tensor]:
    """Tensors that a file holds, by name and in its order: all but those of the module `training_only`."""
    tensors = network.state_dict().items()
    return {name: tensor for name, tensor in tensors if name.partition(".")[0] != network.training_only}


def decoder_size(network: DecoderNetwork) -> int:
    """Number of parameters that a file holds."""
    return sum(tensor.numel() for tensor in decoder_tensors(network).values())


def with_decoder_size(config: NetworkConfig, target: int, reduction: float, minimum: int) -> NetworkConfig:
    """The same network with widths for a decoder of `target` parameters; each stage is narrower by `reduction`.

    Raises NoSuchDecoder where no decoder comes near that size.
    """

    @cache  # bisection comes back to the same rounded widths
    def size_of(channels: tuple[int, ...]) -> int:
        with torch.device("meta"):
            return decoder_size(build(replace(config, channels=channels)))

    stages = len(config.decoder_strides)
    return replace(config, channels=solve_widths(size_of, target, stages, reduction, minimum))
