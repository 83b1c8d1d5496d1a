"""Kinds of latents: how their numbers become integers, and what a file says of that (docs/bitstream.md, "Latents").

A new kind is a class here, named in the specification of the models that decode from it (models/registry.py).
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from nerv360.entropy.range_coder import Integers
from nerv360.latents.grid import GRID_STEP, LatentGrid
from nerv360.latents.quantization import ChannelQuantizer, quantize_embedding, quantize_grid

__all__ = ["EMBEDDINGS", "GRIDS", "ROUNDING", "LatentKind"]

ROUNDING = 0.5  # dead zone, in steps of the quantiser, that is plain rounding

Floats = NDArray[np.float32]


class LatentKind(ABC):
    """How latents [keys, channels, rows, columns] are stored."""

    fitted: ClassVar[bool]  # the values are known, and rounded, while the network is fitted

    @abstractmethod
    def quantize(
        self, latents: Sequence[Floats], bits: int, dead_zone: float
    ) -> tuple[list[Integers], list[ChannelQuantizer]]:
        """Integers of all latents, and the quantisers that a file has to hold."""

    @abstractmethod
    def stored_quantizers(self, channels: int) -> int:
        """Number of quantisers that a file holds, of latents of so many channels in all."""

    @abstractmethod
    def quantizers(self, stored: Sequence[ChannelQuantizer], channels: int) -> list[ChannelQuantizer]:
        """Quantiser of every channel, given those that the file holds."""

    @abstractmethod
    def describe(self, latent: LatentGrid) -> str:
        """What a latent is, in a few words."""


class _Embeddings(LatentKind):
    """Made by an encoder network and quantised after the fit: each channel is spread over its own range."""

    fitted = False

    def quantize(
        self, latents: Sequence[Floats], bits: int, dead_zone: float
    ) -> tuple[list[Integers], list[ChannelQuantizer]]:
        (embedding,) = latents
        pairs = [quantize_embedding(channel, bits) for channel in embedding.swapaxes(0, 1)]
        return [np.stack([symbols for symbols, _ in pairs], axis=1)], [quantizer for _, quantizer in pairs]

    def stored_quantizers(self, channels: int) -> int:
        return channels

    def quantizers(self, stored: Sequence[ChannelQuantizer], channels: int) -> list[ChannelQuantizer]:
        return list(stored)

    def describe(self, latent: LatentGrid) -> str:
        return "embeddings"


class _Grids(LatentKind):
    """Fitted themselves, as multiples of one step."""

    fitted = True

    def quantize(
        self, latents: Sequence[Floats], bits: int, dead_zone: float
    ) -> tuple[list[Integers], list[ChannelQuantizer]]:
        return [quantize_grid(latent, GRID_STEP, dead_zone) for latent in latents], []

    def stored_quantizers(self, channels: int) -> int:
        return 0

    def quantizers(self, stored: Sequence[ChannelQuantizer], channels: int) -> list[ChannelQuantizer]:
        return [ChannelQuantizer(0.0, GRID_STEP)] * channels

    def describe(self, latent: LatentGrid) -> str:
        when = "static" if latent.static else f"every {latent.key_interval} frames"
        if latent.motion:
            return f"motion 1/{latent.stride}, {when}"
        return f"grid 1/{latent.stride}, {latent.channels} channels, {when}"


EMBEDDINGS, GRIDS = _Embeddings(), _Grids()
