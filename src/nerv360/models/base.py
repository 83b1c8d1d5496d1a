"""The contract that every network of this package keeps, and its making from settings."""

from typing import Protocol

import torch
from torch import Tensor, nn

from nerv360.config import EncodingConfig, ModelConfig
from nerv360.geometry.viewport import Viewport
from nerv360.geometry.window import Window
from nerv360.models.budget import decoder_size, solve_widths
from nerv360.models.nerv360 import NeRV360

__all__ = ["Codec", "build", "configure", "decoder_tensors"]


class Codec(Protocol):
    """What training, the codec and players ask of a network. There is one decode path, and this is it."""

    config: ModelConfig

    def window(self, view: Viewport) -> Window:
        """The part of the embedding that decoding `view` reads."""

    def embed(self, panorama: Tensor, window: Window | None = None) -> Tensor:
        """Panorama [1, 3, H, W] -> embedding [1, d, rows, columns], whole or the window."""

    def decode(self, embedding: Tensor, time: float, view: Viewport) -> Tensor:
        """That part of the embedding -> viewport [1, 3, h, w] in [0, 1]."""


def build(config: ModelConfig, with_encoder: bool = True) -> NeRV360:
    """A network with fresh weights; without its encoder it can only decode."""
    return NeRV360(config, with_encoder)


def decoder_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Name -> tensor of all but the encoder, in the order of the file."""
    return {name: tensor for name, tensor in model.state_dict().items() if not name.startswith("encoder.")}


def configure(settings: EncodingConfig, width: int, height: int) -> ModelConfig:
    """The network for a panorama of this size: widths are solved for the decoder size that is asked for.

    Raises ArgumentError where no decoder comes near that size.
    """

    def with_widths(channels: tuple[int, ...]) -> ModelConfig:
        return ModelConfig(
            width=width,
            height=height,
            channels=channels,
            model=settings.model,
            encoder_strides=settings.encoder_strides,
            decoder_strides=settings.decoder_strides,
            kernels=settings.kernels(),
            encoder_channels=settings.encoder_channels,
            embedding_channels=settings.embedding_channels,
            expand_first=settings.expand_first,
            conditions=settings.learned_conditions(),
        )

    def size_of(channels: tuple[int, ...]) -> int:
        with torch.device("meta"):
            return decoder_size(build(with_widths(channels), with_encoder=False))

    stages = len(settings.decoder_strides)
    widths = solve_widths(size_of, settings.decoder_size, stages, settings.reduction, settings.minimum_width)
    return with_widths(widths)
