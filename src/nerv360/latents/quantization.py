"""Latents as real numbers <-> small integers (docs/bitstream.md, "Latents")."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nerv360.entropy.range_coder import MAX_ABS_VALUE, Integers

__all__ = ["ChannelQuantizer", "dequantize_latent", "quantize_embedding", "quantize_grid"]

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class ChannelQuantizer:
    """Offset and step of a latent channel over a segment; float32 holds both exactly."""

    offset: float
    step: float


def quantize_embedding(channel: Floats, bits: int) -> tuple[Integers, ChannelQuantizer]:
    """One channel of a segment's embeddings -> 2^bits integers, spread evenly over its range; 0 is their mean."""
    low = float(channel.min())
    step = float(np.float32((float(channel.max()) - low) / (2**bits - 1))) or 1.0
    symbols = np.clip(np.rint((channel.astype(np.float64) - low) / step), 0, 2**bits - 1)
    mean = round(float(symbols.mean()))
    return symbols.astype(np.int32) - mean, ChannelQuantizer(float(np.float32(low + mean * step)), step)


def quantize_grid(grid: Floats, step: float, dead_zone: float = 0.5) -> Integers:
    """A fitted grid -> the nearest multiples of a step that float32 holds exactly; 0 within `dead_zone` steps of 0."""
    symbols = np.clip(np.rint(grid / step), -MAX_ABS_VALUE, MAX_ABS_VALUE).astype(np.int32)
    symbols[np.abs(grid) < dead_zone * step] = 0
    return symbols


def dequantize_latent(symbols: Integers, quantizer: ChannelQuantizer) -> Floats:
    """Inverse of `quantize_embedding` and of `quantize_grid`, to half a step."""
    if quantizer.offset == 0:  # one rounding: single precision gives the same
        return symbols.astype(np.float32) * np.float32(quantizer.step)
    return (quantizer.offset + quantizer.step * symbols.astype(np.float64)).astype(np.float32)
