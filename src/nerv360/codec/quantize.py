"""Real numbers <-> small integers (docs/bitstream.md, "Weights" and "Embeddings")."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nerv360.bitstream.entropy import Integers

__all__ = [
    "QuantizedTensor",
    "Scaling",
    "dequantize",
    "dequantize_latent",
    "quantize",
    "quantize_embedding",
    "quantize_grid",
]

STEP_ZERO, STEPS_PER_OCTAVE, STEP_CODES = 224, 8, 256

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class QuantizedTensor:
    """A weight tensor as integers, and the code of the step of each of its channels."""

    symbols: Integers  # the shape of the tensor
    steps: Integers  # [channels]


def quantize(tensor: Floats, bits: int) -> QuantizedTensor:
    """Round to multiples of a step per output channel (axis 0); a vector has one step.

    A channel's step is the least of 2^((code - 224) / 8) at which its largest value fits `bits` signed bits.
    """
    rows = tensor.reshape(tensor.shape[0] if tensor.ndim > 1 else 1, -1).astype(np.float64)
    largest = np.abs(rows).max(axis=1) / (2 ** (bits - 1) - 1)
    with np.errstate(divide="ignore"):
        codes = np.ceil(np.log2(largest) * STEPS_PER_OCTAVE) + STEP_ZERO
    steps = np.clip(codes, 0, STEP_CODES - 1).astype(np.int32)
    bound = 2 ** (bits - 1) - 1
    symbols = np.clip(np.rint(rows / _step(steps)[:, None]), -bound, bound).astype(np.int32)
    return QuantizedTensor(symbols.reshape(tensor.shape), steps)


def dequantize(quantized: QuantizedTensor) -> Floats:
    """Inverse of `quantize`, to half a step."""
    symbols = quantized.symbols
    rows = symbols.reshape(len(quantized.steps), -1) * _step(quantized.steps)[:, None]
    return rows.reshape(symbols.shape).astype(np.float32)


def _step(codes: Integers) -> NDArray[np.float64]:
    return np.exp2((codes.astype(np.float64) - STEP_ZERO) / STEPS_PER_OCTAVE)


@dataclass(frozen=True)
class Scaling:
    """Least value and step of a latent channel over a segment; both are exactly representable in float32."""

    least: float
    step: float


def quantize_embedding(channel: Floats, bits: int) -> tuple[Integers, Scaling]:
    """One channel of a segment's embeddings -> integers 0 .. 2^bits - 1, spread evenly over its range."""
    least = float(channel.min())
    step = float(np.float32((float(channel.max()) - least) / (2**bits - 1))) or 1.0
    symbols = np.clip(np.rint((channel.astype(np.float64) - least) / step), 0, 2**bits - 1)
    return symbols.astype(np.int32), Scaling(least, step)


def quantize_grid(channel: Floats, step: float) -> tuple[Integers, Scaling]:
    """One channel of a latent grid -> the nearest multiples of a step that float32 holds exactly."""
    return np.rint(channel / step).astype(np.int32), Scaling(0.0, step)


def dequantize_latent(symbols: Integers, scaling: Scaling) -> Floats:
    """Inverse of `quantize_embedding` and of `quantize_grid`, to half a step."""
    if scaling.least == 0:  # one rounding: single precision gives the same
        return symbols.astype(np.float32) * np.float32(scaling.step)
    return (scaling.least + scaling.step * symbols.astype(np.float64)).astype(np.float32)
