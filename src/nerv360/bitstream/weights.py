"""Decoder weights as integers times a step, and their chunk (docs/bitstream.md, "Weights")."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nerv360.entropy.laplace import SCALES, best_scale, model_index
from nerv360.entropy.range_coder import MAX_ABS_VALUE, Integers, SymbolDecoder, SymbolEncoder
from nerv360.errors import BitstreamError

__all__ = [
    "STEPS_PER_OCTAVE",
    "STEP_CODES",
    "QuantizedTensor",
    "dequantize",
    "quantize",
    "read_weights",
    "step_code",
    "write_weights",
]

STEPS_PER_OCTAVE, STEP_ZERO, STEP_CODES = 8, 224, 256  # a step is 2^((code - 224) / 8)

Floats = NDArray[np.float32]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class QuantizedTensor:
    """A weight tensor as integers times a step, and the scale of their distribution."""

    symbols: Integers  # the shape of the tensor
    step: int  # code of the step
    scale: int  # index of the scale (entropy/laplace.py)


def quantize(tensor: Floats, bits: int | None = None, step: int = STEP_ZERO) -> QuantizedTensor:
    """Round to multiples of a step: the given one, or the least at which the largest value fits `bits` signed bits."""
    bound = MAX_ABS_VALUE
    if bits is not None:
        bound = 2 ** (bits - 1) - 1
        largest = float(np.abs(tensor).max(initial=0)) / bound
        step = max(0, min(STEP_CODES - 1, int(np.ceil(np.log2(largest or 2.0**-64) * STEPS_PER_OCTAVE)) + STEP_ZERO))
    symbols = np.clip(np.rint(tensor.astype(np.float64) / _step(step)), -bound, bound).astype(np.int32)
    return QuantizedTensor(symbols, step, best_scale(symbols))


def dequantize(quantized: QuantizedTensor) -> Floats:
    """Inverse of `quantize`, to half a step."""
    return (quantized.symbols * _step(quantized.step)).astype(np.float32)


def step_code(log2_step: float) -> int:
    """Code of the step that is nearest to one given by its logarithm."""
    return max(0, min(STEP_CODES - 1, round(log2_step * STEPS_PER_OCTAVE) + STEP_ZERO))


def _step(code: int) -> float:
    return float(2.0 ** ((code - STEP_ZERO) / STEPS_PER_OCTAVE))


def write_weights(tensors: Mapping[str, QuantizedTensor]) -> bytes:
    """Steps and scales of all tensors, a byte each, then their integers as one stream."""
    encoder = SymbolEncoder()
    for tensor in tensors.values():
        encoder.encode(tensor.symbols.ravel(), np.full(tensor.symbols.size, model_index(tensor.scale)))
    sides = ([tensor.step for tensor in tensors.values()], [tensor.scale for tensor in tensors.values()])
    return b"".join(map(bytes, sides)) + encoder.finish()


def read_weights(data: bytes, shapes: Mapping[str, Shape]) -> dict[str, QuantizedTensor]:
    """Inverse of `write_weights`, given the tensors' shapes in the same order. Raises BitstreamError."""
    count = len(shapes)
    if len(data) < 2 * count:
        raise BitstreamError("truncated weights")
    steps, scales = data[:count], data[count : 2 * count]
    decoder = SymbolDecoder(data[2 * count :], sum(map(math.prod, shapes.values())))
    if max(scales) >= SCALES:
        raise BitstreamError("impossible scale of weights")
    tensors = {
        name: QuantizedTensor(decoder.decode(np.full(math.prod(shape), model_index(scale))).reshape(shape), step, scale)
        for (name, shape), step, scale in zip(shapes.items(), steps, scales, strict=True)
    }
    decoder.finish()
    return tensors
