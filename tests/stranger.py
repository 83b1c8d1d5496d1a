"""A second decoder of .nerv360 files, from bytes to real numbers, written from docs/bitstream.md alone."""

import math
import struct
import zlib
from bisect import bisect_right
from itertools import accumulate
from typing import Any, NamedTuple
from zlib import crc32

import msgspec
import numpy as np
from numpy.typing import NDArray

Table = tuple[int, list[int]]  # lowest symbol, counts
Array = NDArray[Any]


class Segment(NamedTuple):
    steps: list[Array]  # codes, tensor by tensor
    symbols: dict[str, Array]  # of the weights
    weights: dict[str, Array]
    symbols_of: list[Array]  # of each latent [keys, channels, rows, columns]
    latents: list[Array]
    angles: Array | None  # [frames, 3]


def read_file(data: bytes) -> tuple[list[Any], list[Segment]]:
    magic, version, length, checksum = struct.unpack_from("<8sHII", data)
    assert (magic, version) == (b"\x89NERV360", 1)
    packed = data[18 : 18 + length]
    assert crc32(packed) == checksum
    header, offset, segments = msgspec.msgpack.decode(packed), 18 + length, []
    for frames, size, header_length, header_checksum in header[6]:
        body = data[offset : offset + size]
        assert crc32(body[:header_length]) == header_checksum
        segments.append(
            read_segment(header, frames, msgspec.msgpack.decode(body[:header_length]), body[header_length:])
        )
        offset += size
    assert offset == len(data)
    return header, segments


def read_segment(file: list[Any], frames: int, header: list[Any], body: bytes) -> Segment:
    chunks = []
    for length, checksum in header[17]:
        chunks.append(body[:length])
        assert crc32(body[:length]) == checksum
        body = body[length:]
    steps, symbols = read_weights(chunks[0], tensor_shapes(header))
    weights = {name: dequantize(tensor, codes) for (name, tensor), codes in zip(symbols.items(), steps, strict=True)}
    latents = header[15] or [(math.prod(header[2]), header[5], 1)]
    scalings: list[list[Any]] = [[] for _ in latents]
    tables: list[list[Table]] = [[] for _ in latents]
    offset, order = 0, []
    for index, (_, channels, period) in enumerate(latents):
        for _ in range(channels):
            scalings[index].append(struct.unpack_from("<ff", chunks[1], offset))
            table, offset = read_table(chunks[1], offset + 8)
            tables[index].append(table)
        keys, step = (1, 1) if period == 0 else (math.ceil((frames - 1) / period) + 1, max(1, header[14] // period))
        for first in range(0, keys, step):
            order.append(((first - 1) * period + 1 if first else 0, index, first, min(step, keys - first)))
    found: list[list[Array]] = [[] for _ in latents]
    for chunk, (_, index, _, count) in zip(chunks[2:], sorted(order), strict=True):
        stride = latents[index][0]
        rows, columns = math.ceil(file[1] / stride), 2 * math.ceil(file[0] / (2 * stride))
        parts = ans_decode(chunk, [(count * rows * columns, table) for table in tables[index]])
        found[index].append(np.stack([np.reshape(part, (count, rows, columns)) for part in parts], axis=1))
    integers = [np.concatenate(parts) for parts in found]
    reals = []
    for scaling, values in zip(scalings, integers, strict=True):
        least, step = (np.array(column, np.float64)[:, None, None] for column in zip(*scaling, strict=True))
        reals.append((least + step * values).astype(np.float32))
    angles = None
    if header[16]:
        raw = struct.unpack(f"<{3 * frames}H", zlib.decompress(chunks[1][offset:]))
        angles = (np.cumsum(np.reshape(raw, (frames, 3)), axis=0) + 32768) % 65536 - 32768
    return Segment(steps, symbols, weights, integers, reals, angles)


def tensor_shapes(header: list[Any]) -> dict[str, tuple[int, ...]]:
    _, channels, _, strides, kernels, d, _, conditions, _, frequencies, *_ = header
    shapes: dict[str, tuple[int, ...]] = {}

    def layer(name: str, *shape: int) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = shape, shape[:1]

    def residual(name: str, c: int) -> None:
        for half in (0, 1):
            for branch in ("scale", "shift"):
                layer(f"{name}.affine{half}.{branch}.0", 32, 32)
                layer(f"{name}.affine{half}.{branch}.2", c, 32)
            layer(f"{name}.conv{half}", c, c, 3, 3)

    if header[0] == "nerv360-grid":
        grids, remaining = header[15], math.prod(strides)
        layer("expand", channels[0], sum(c for s, c, _ in grids if s == remaining), 1, 1)
        for i, (stride, kernel) in enumerate(zip(strides, kernels, strict=True)):
            remaining //= stride
            layer(f"stages.{i}.conv", channels[i + 1] * stride**2, channels[i], kernel, kernel)
            if here := sum(c for s, c, _ in grids if s == remaining):
                shapes[f"stages.{i}.project.weight"] = (channels[i + 1], here, 1, 1)
        layer("head", 3, channels[-1], 3, 3)
        return shapes
    if header[0] == "hnerv":
        layer("expand.conv", channels[0], d, 1, 1)
        for i, (stride, kernel) in enumerate(zip(strides, kernels, strict=True)):
            layer(f"stages.{i}.conv", channels[i + 1] * stride**2, channels[i], kernel, kernel)
        layer("head", 3, channels[-1], 3, 3)
        return shapes
    stems = {"time_stem": 1} if header[0] == "hnerv-boost" else {"time_stem": 1, "view_stem": 1 + len(conditions)}
    for stem, inputs in stems.items():
        layer(f"{stem}.hidden", 64, 2 * frequencies * inputs)
        layer(f"{stem}.output", 32, 64)
    layer("expand.block.conv", channels[0], d, 1, 1)
    residual("expand.residual", channels[0])
    for i, (stride, kernel) in enumerate(zip(strides, kernels, strict=True)):
        layer(f"stages.{i}.block.conv", channels[i + 1] * stride**2, channels[i], kernel, kernel)
        if header[18] != "none" or i < len(strides) - 1:
            early = header[18] == "half" and i == len(strides) - 1
            residual(f"stages.{i}.residual", channels[i] if early else channels[i + 1])
    layer("head", 3, channels[-1], 3, 3)
    return shapes


def read_weights(data: bytes, shapes: dict[str, tuple[int, ...]]) -> tuple[list[Array], dict[str, Array]]:
    tables, offset = [], 0
    for _ in range(3):
        table, offset = read_table(data, offset)
        tables.append(table)
    rows = [1 if len(shape) == 1 else shape[0] for shape in shapes.values()]
    vectors = sum(math.prod(shape) for shape in shapes.values() if len(shape) == 1)
    others = sum(math.prod(shape) for shape in shapes.values() if len(shape) > 1)
    codes, *rest = ans_decode(data[offset:], list(zip((sum(rows), vectors, others), tables, strict=True)))
    steps, symbols = [], {}
    for (name, shape), count in zip(shapes.items(), rows, strict=True):
        stream = rest[0 if len(shape) == 1 else 1]
        symbols[name] = np.reshape([stream.pop(0) for _ in range(math.prod(shape))], shape)
        steps.append(np.array([codes.pop(0) for _ in range(count)]))
    return steps, symbols


def dequantize(symbols: Array, codes: Array) -> Array:
    rows = symbols.reshape(len(codes), -1) * 2.0 ** ((codes[:, None] - 224) / 8)
    return rows.reshape(symbols.shape).astype(np.float32)


def read_table(data: bytes, offset: int) -> tuple[Table, int]:
    zigzag, offset = read_varint(data, offset)
    length, offset = read_varint(data, offset)
    counts = []
    for _ in range(length):
        count, offset = read_varint(data, offset)
        counts.append(count)
    assert min(counts) >= 1
    assert sum(counts) == 65536
    return (zigzag // 2 if zigzag % 2 == 0 else -(zigzag + 1) // 2, counts), offset


def read_varint(data: bytes, offset: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (data[offset] & 127) << shift
        offset, shift = offset + 1, shift + 7
        if data[offset - 1] < 128:
            return value, offset


def ans_decode(data: bytes, parts: list[tuple[int, Table]]) -> list[list[int]]:
    words = list(struct.unpack(f"<{len(data) // 4}I", data))
    assert not words or words[-1] != 0
    state, decoded = 0, []
    for _ in range(2):
        state = state << 32 | words.pop() if words else state
    for count, (lowest, counts) in parts:
        starts = [0, *accumulate(256 * c for c in counts)]
        symbols = []
        for _ in range(count):
            slot = state % 2**24
            index = bisect_right(starts, slot) - 1
            state = 256 * counts[index] * (state >> 24) + slot - starts[index]
            if state < 2**32 and words:
                state = state << 32 | words.pop()
            symbols.append(lowest + index)
        decoded.append(symbols)
    assert state == 0
    assert not words
    return decoded
