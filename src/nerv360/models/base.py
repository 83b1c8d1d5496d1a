"""The contract that every network of this package keeps, and its making from settings."""

from collections.abc import Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn

from nerv360.config import EncodingConfig, ModelConfig
from nerv360.geometry.viewport import Viewport
from nerv360.geometry.window import Window
from nerv360.latents.grid import GRID_STEP, FrameTime
from nerv360.models.budget import decoder_size, solve_widths
from nerv360.models.hnerv import HNeRV
from nerv360.models.hnerv_boost import HNeRVBoost
from nerv360.models.nerv360 import NeRV360
from nerv360.models.nerv360_grid import NeRV360Grid

__all__ = ["Codec", "Network", "build", "channels_last", "configure", "decoder_tensors", "latents_of"]

Network = NeRV360 | NeRV360Grid | HNeRV | HNeRVBoost


class Codec(Protocol):
    """What training, the codec and players ask of a network. There is one decode path, and this is it."""

    config: ModelConfig

    def windows(self, view: Viewport) -> list[Window]:
        """The part of every latent that decoding `view` reads."""

    def decode(self, latents: Sequence[Tensor], moment: FrameTime, view: Viewport) -> Tensor:
        """Those parts, of the keys around that moment -> viewport [1, 3, h, w] in [0, 1]."""

    def draw(self, sampled: Sequence[Tensor], modulations: Sequence[Tensor]) -> Tensor:
        """The convolutions that `decode` ends in (models/viewport_decoder.py, models/panoramic.py)."""

    def training_inputs(
        self, panorama: Tensor, frame: int, views: Sequence[Viewport], noise: torch.Generator | None
    ) -> tuple[list[list[Tensor]], Tensor]:
        """While fitting: those parts for each view, and their bits per decoded pixel.

        With `noise`, it stands in for rounding.
        """

    def step_latents(self, rate: float) -> None:
        """While fitting: one step of what the optimiser does not hold."""


if TYPE_CHECKING:
    _all_keep_it: tuple[type[Codec], ...] = (NeRV360, NeRV360Grid, HNeRV, HNeRVBoost)


def build(config: ModelConfig, frames: int | None = None) -> Network:
    """A network with fresh weights, to be fitted to so many frames; without them, one that can only decode."""
    if config.model == "nerv360-grid":
        return NeRV360Grid(config, frames)
    if config.model == "hnerv":
        return HNeRV(config, with_encoder=frames is not None)
    if config.model == "hnerv-boost":
        return HNeRVBoost(config, with_encoder=frames is not None)
    return NeRV360(config, with_encoder=frames is not None)


def channels_last(model: Network) -> Network:
    """The network itself, its kernels in the order in memory that convolutions are fastest with."""
    for parameter in model.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return model


def latents_of(model: Network, panoramas: Iterable[Tensor]) -> list[Tensor]:
    """The fitted latents [keys, channels, rows, columns] of a clip, whose frames are [1, 3, H, W]."""
    if isinstance(model, NeRV360Grid):
        return [GRID_STEP * model.latents.values(index) for index in range(len(model.config.grids))]
    return [torch.cat([model.embed(panorama).float() for panorama in panoramas])]


def decoder_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Tensors that a file holds, by name and in its order: all but those of `training_only` modules."""
    kept = model.state_dict().items()
    return {name: tensor for name, tensor in kept if name.partition(".")[0] != model.training_only}


def configure(settings: EncodingConfig, width: int, height: int) -> ModelConfig:
    """The network for a panorama of this size: widths are solved for the decoder size that is asked for.

    Raises ArgumentError where no decoder comes near that size.
    """

    def with_widths(channels: tuple[int, ...]) -> ModelConfig:
        return ModelConfig(
            width=width,
            height=height,
            channels=channels,
            grids=settings.grids,
            model=settings.model,
            encoder_strides=settings.encoder_strides,
            decoder_strides=settings.decoder_strides,
            kernels=settings.kernels(),
            encoder_channels=settings.encoder_channels,
            embedding_channels=settings.embedding_channels,
            expand_first=settings.expand_first,
            last_block=settings.last_block,
            conditions=settings.learned_conditions(),
            group_size=settings.group_size,
        )

    @cache  # bisection comes back to the same rounded widths
    def size_of(channels: tuple[int, ...]) -> int:
        with torch.device("meta"):
            return decoder_size(build(with_widths(channels)))

    if settings.channels is not None:
        return with_widths(settings.channels)
    stages = len(settings.decoder_strides)
    widths = solve_widths(size_of, settings.decoder_size, stages, settings.reduction, settings.minimum_width)
    return with_widths(widths)
