"""Real numbers <-> small integers (docs/bitstream.md, "Weights" and "Latents")."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nerv360.bitstream.entropy import LARGEST, Integers
from nerv360.bitstream.laplace import best_scale
from nerv360.bitstream.layout import STEPS_PER_OCTAVE

__all__ = [
    "STEP_CODES",
    "QuantizedTensor",
    "Scaling",
    "dequantize",
    "dequantize_latent",
    "quantize",
    "quantize_embedding",
    "quantize_grid",
    "step_code",
]

STEP_ZERO, STEP_CODES = 224, 256

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class QuantizedTensor:
    """A weight tensor as integers times a step, and the scale with which they are coded."""

    symbols: Integers  # the shape of the tensor
    step: int  # 2^((step - 224) / 8)
    scale: int  # bitstream/laplace.py


def step_code(log2_step: float) -> int:
    """The code of the step that is nearest to one given by its logarithm."""
    return max(0, min(STEP_CODES - 1, round(log2_step * STEPS_PER_OCTAVE) + STEP_ZERO))


def quantize(tensor: Floats, bits: int | None = None, step: int = STEP_ZERO) -> QuantizedTensor:
    """Round to multiples of a step: of the given one, or of the least at which the largest value fits `bits` signed
    bits."""
    bound = LARGEST
    if bits is not None:
        bound = 2 ** (bits - 1) - 1
        largest = float(np.abs(tensor).max(initial=0)) / bound
        step = max(0, min(STEP_CODES - 1, int(np.ceil(np.log2(largest or 2.0**-64) * STEPS_PER_OCTAVE)) + STEP_ZERO))
    symbols = np.clip(np.rint(tensor.astype(np.float64) / _step(step)), -bound, bound).astype(np.int32)
    return QuantizedTensor(symbols, step, best_scale(symbols))


def dequantize(quantized: QuantizedTensor) -> Floats:
    """Inverse of `quantize`, to half a step."""
    return (quantized.symbols * _step(quantized.step)).astype(np.float32)


def _step(code: int) -> float:
    return float(2.0 ** ((code - STEP_ZERO) / STEPS_PER_OCTAVE))


@dataclass(frozen=True)
class Scaling:
    """Offset and step of a latent channel over a segment; both are exactly representable in float32."""

    offset: float
    step: float


def quantize_embedding(channel: Floats, bits: int) -> tuple[Integers, Scaling]:
    """One channel of a segment's embeddings -> 2^bits integers, spread evenly over its range; 0 is their mean."""
    least = float(channel.min())
    step = float(np.float32((float(channel.max()) - least) / (2**bits - 1))) or 1.0
    symbols = np.clip(np.rint((channel.astype(np.float64) - least) / step), 0, 2**bits - 1)
    mean = round(float(symbols.mean()))
    return symbols.astype(np.int32) - mean, Scaling(float(np.float32(least + mean * step)), step)


def quantize_grid(grid: Floats, step: float, dead_zone: float = 0.5) -> Integers:
    """A latent grid -> the nearest multiples of a step that float32 holds exactly; 0 within so many steps of it."""
    steps = np.clip(np.rint(grid / step), -LARGEST, LARGEST).astype(np.int32)
    steps[np.abs(grid) < dead_zone * step] = 0
    return steps


def dequantize_latent(symbols: Integers, scaling: Scaling) -> Floats:
    """Inverse of `quantize_embedding` and of `quantize_grid`, to half a step."""
    if scaling.offset == 0:  # one rounding: single precision gives the same
        return symbols.astype(np.float32) * np.float32(scaling.step)
    return (scaling.offset + scaling.step * symbols.astype(np.float64)).astype(np.float32)
