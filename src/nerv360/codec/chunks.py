"""The chunks of a segment: weights, latent tables, parts of latents. Each writer has its reader beneath."""

import math
import struct
import zlib
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from nerv360.bitstream import entropy
from nerv360.bitstream.entropy import FrequencyTable, Integers
from nerv360.codec.quantize import STEP_CODES, QuantizedTensor, Scaling
from nerv360.errors import BitstreamError

__all__ = [
    "LatentTables",
    "read_angles",
    "read_part",
    "read_tables",
    "read_weights",
    "write_angles",
    "write_part",
    "write_tables",
    "write_weights",
]

Shape = tuple[int, ...]
LatentTables = list[tuple[Scaling, FrequencyTable]]  # one for each channel
SCALING = struct.Struct("<ff")


def write_weights(tensors: Mapping[str, QuantizedTensor]) -> bytes:
    """Three tables (steps, vectors, larger tensors), then the integers of all tensors as one stream."""
    steps = np.concatenate([tensor.steps for tensor in tensors.values()])
    values = {
        flat: [t.symbols.ravel() for t in tensors.values() if (t.symbols.ndim == 1) == flat] for flat in (True, False)
    }
    parts = [steps, *(np.concatenate(values[flat]) for flat in (True, False))]
    tables = [FrequencyTable.of(part) for part in parts]
    return b"".join(t.write() for t in tables) + entropy.encode(list(zip(parts, tables, strict=True)))


def read_weights(data: bytes, shapes: Mapping[str, Shape]) -> dict[str, QuantizedTensor]:
    """Inverse of `write_weights`, given the tensors' shapes in the same order."""
    tables, offset = [], 0
    for _ in range(3):
        table, offset = FrequencyTable.read(data, offset)
        tables.append(table)
    channels = [shape[0] if len(shape) > 1 else 1 for shape in shapes.values()]
    sizes = {flat: sum(math.prod(s) for s in shapes.values() if (len(s) == 1) == flat) for flat in (True, False)}
    counts = (sum(channels), sizes[True], sizes[False])
    steps, *rest = entropy.decode(data[offset:], list(zip(counts, tables, strict=True)))
    if steps.size and not 0 <= steps.min() <= steps.max() < STEP_CODES:
        raise BitstreamError("impossible step of a weight")
    values = {
        flat: _split(part, [math.prod(s) for s in shapes.values() if (len(s) == 1) == flat])
        for flat, part in zip((True, False), rest, strict=True)
    }
    step = _split(steps, channels)
    return {
        name: QuantizedTensor(next(values[len(shape) == 1]).reshape(shape), next(step))
        for name, shape in shapes.items()
    }


def _split(values: Integers, sizes: list[int]) -> Iterator[Integers]:
    return iter(np.split(values, np.cumsum(sizes)[:-1])) if sizes else iter(())


def write_tables(tables: LatentTables) -> bytes:
    """Least value, step and frequency table of every channel of every latent."""
    return b"".join(SCALING.pack(scaling.least, scaling.step) + table.write() for scaling, table in tables)


def read_tables(data: bytes, channels: int) -> tuple[LatentTables, bytes]:
    """Inverse of `write_tables`; also the bytes behind them."""
    tables, offset = [], 0
    for _ in range(channels):
        if offset + SCALING.size > len(data):
            raise BitstreamError("truncated latent table")
        scaling = Scaling(*SCALING.unpack_from(data, offset))
        if not (math.isfinite(scaling.least) and math.isfinite(scaling.step)):
            raise BitstreamError("impossible latent table")
        table, offset = FrequencyTable.read(data, offset + SCALING.size)
        tables.append((scaling, table))
    return tables, data[offset:]


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


def write_part(symbols: Integers, tables: LatentTables) -> bytes:
    """Keys [keys, channels, rows, columns] of a latent: channel by channel, in each key by key."""
    return entropy.encode([(symbols[:, channel], table) for channel, (_, table) in enumerate(tables)])


def read_part(data: bytes, tables: LatentTables, keys: int, rows: int, columns: int) -> Integers:
    """Inverse of `write_part`."""
    parts = entropy.decode(data, [(keys * rows * columns, table) for _, table in tables])
    return np.stack([part.reshape(keys, rows, columns) for part in parts], axis=1)
