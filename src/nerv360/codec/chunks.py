"""The first two chunks of a segment: weights, and what the latents are read with. Each writer has its reader beneath.

Parts of latents, the other chunks, are written and read by bitstream/contexts.py.
"""

import math
import struct
import zlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from nerv360.bitstream.contexts import Contexts, read_contexts, write_contexts
from nerv360.bitstream.entropy import Reader, Writer, read_varint, write_varint
from nerv360.bitstream.laplace import SCALES, class_of
from nerv360.codec.quantize import QuantizedTensor, Scaling
from nerv360.errors import BitstreamError

__all__ = [
    "read_angles",
    "read_tables",
    "read_weights",
    "write_angles",
    "write_tables",
    "write_weights",
]

Shape = tuple[int, ...]
SCALING = struct.Struct("<ff")


def write_weights(tensors: Mapping[str, QuantizedTensor]) -> bytes:
    """Steps and scales of all tensors, a byte each, then their integers as one stream."""
    writer = Writer()
    for tensor in tensors.values():
        writer.write(tensor.symbols.ravel(), np.full(tensor.symbols.size, class_of(tensor.scale)))
    sides = ([tensor.step for tensor in tensors.values()], [tensor.scale for tensor in tensors.values()])
    return b"".join(map(bytes, sides)) + writer.finish()


def read_weights(data: bytes, shapes: Mapping[str, Shape]) -> dict[str, QuantizedTensor]:
    """Inverse of `write_weights`, given the tensors' shapes in the same order."""
    count = len(shapes)
    if len(data) < 2 * count:
        raise BitstreamError("truncated weights")
    steps, scales = data[:count], data[count : 2 * count]
    reader = Reader(data[2 * count :], sum(map(math.prod, shapes.values())))
    if max(scales) >= SCALES:
        raise BitstreamError("impossible scale of weights")
    tensors = {
        name: QuantizedTensor(reader.read(np.full(math.prod(shape), class_of(scale))).reshape(shape), step, scale)
        for (name, shape), step, scale in zip(shapes.items(), steps, scales, strict=True)
    }
    reader.finish()
    return tensors


def write_tables(scalings: Sequence[Scaling], contexts: Contexts) -> bytes:
    """Offset and step of every channel that is spread over its range; then the contexts of all channels."""
    coded = write_contexts(contexts)
    spread = b"".join(SCALING.pack(scaling.offset, scaling.step) for scaling in scalings)
    return spread + write_varint(len(coded)) + coded


def read_tables(data: bytes, spread: int, channels: int) -> tuple[list[Scaling], Contexts, bytes]:
    """Inverse of `write_tables`, given the number of channels, and of those that are spread; also the bytes behind."""
    start = SCALING.size * spread
    if start > len(data):
        raise BitstreamError("truncated latent tables")
    scalings = [Scaling(*pair) for pair in SCALING.iter_unpack(data[:start])]
    if not all(math.isfinite(scaling.offset) and math.isfinite(scaling.step) for scaling in scalings):
        raise BitstreamError("impossible latent tables")
    length, start = read_varint(data, start)
    if start + length > len(data):
        raise BitstreamError("truncated latent tables")
    return scalings, read_contexts(data[start : start + length], channels), data[start + length :]


def write_angles(angles: NDArray[np.int32]) -> bytes:
    """The camera's angles [frames, 3]: the first, and the difference to the one before, modulo 2^16, deflated."""
    differences = np.diff(angles, axis=0, prepend=np.zeros((1, 3), dtype=np.int32))
    return zlib.compress((differences & 0xFFFF).astype("<u2").tobytes(), 9)


def read_angles(data: bytes, frames: int) -> NDArray[np.int32]:
    """Inverse of `write_angles`, for angles of less than 2^15 steps."""
    inflate = zlib.decompressobj()
    try:
        raw = inflate.decompress(data, 6 * frames + 1)
    except zlib.error:
        raise BitstreamError("impossible camera angles") from None
    if len(raw) != 6 * frames or not inflate.eof or inflate.unused_data:
        raise BitstreamError("impossible camera angles")
    differences = np.frombuffer(raw, dtype="<u2").reshape(frames, 3).astype(np.int64)
    return (((differences.cumsum(axis=0) + (1 << 15)) & 0xFFFF) - (1 << 15)).astype(np.int32)
