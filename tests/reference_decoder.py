"""A second decoder of .nerv360 files, from bytes to real numbers, written from docs/bitstream.md alone.

That of the model nerv360-motion is reference_motion_decoder.py.
"""

import math
import struct
import zlib
from bisect import bisect_right
from functools import cache
from itertools import accumulate
from typing import Any, NamedTuple
from zlib import crc32

import msgspec
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Contexts = dict[str, list[int]]
Grid = list[list[int]]  # rows of a channel of a key

DECAYS = [
    *(253857248, 398132550, 581260615, 799036310, 1044178424, 1307656790, 1580030169, 1852521207),
    *(2117713904, 2369882518, 2605029347, 2820730047, 3015876649, 3190386796, 3344923893, 3480652712),
    *(3599040369, 3701703250, 3790295335, 3866431115, 3931635878, 3987316692, 4034748382, 4075069962),
    *(4109287957, 4138284039, 4162825044, 4183574096, 4201101925, 4215897841, 4228380000, 4238904802),
    *(4247775344, 4255248918, 4261543595, 4266843974, 4271306145, 4275061981, 4278222805, 4280882540),
]


class Segment(NamedTuple):
    steps: list[int]  # tensor by tensor
    symbols: dict[str, Array]  # of the weights
    weights: dict[str, Array]
    contexts: Contexts
    symbols_of: list[Array]  # of each latent [keys, channels, rows, columns]
    latents: list[Array]
    angles: Array | None  # [frames, 3]


class Refusal(Exception):
    """What a decoder refuses."""


def check(condition: bool) -> None:
    if not condition:
        raise Refusal


def read_file(data: bytes) -> tuple[list[Any], list[Segment]]:
    header, parts = read_container(data)
    return header, [read_segment(header, *part) for part in parts]


def read_container(data: bytes) -> tuple[list[Any], list[tuple[int, list[Any], list[bytes]]]]:
    """The FileHeader; of every segment its frames, its header and its chunks."""
    magic, version, length, checksum = struct.unpack_from("<8sHII", data)
    check(magic == b"\x89NERV360" and version in (5, 10, 11, 12, 14))
    packed = data[18 : 18 + length]
    check(crc32(packed) == checksum)
    header, offset, parts = msgspec.msgpack.decode(packed), 18 + length, []
    check(len(header) == 7 or (len(header) in (8, 9) and version >= 11) or (len(header) == 10 and version >= 12))
    check(header[9:] in ([], [2]))
    sound = header[7][4] if header[7:] and header[7] else [[]] * len(header[6])
    for (frames, size, header_length, header_checksum), behind in zip(header[6], sound, strict=True):
        body = data[offset : offset + size]
        check(crc32(body[:header_length]) == header_checksum)
        segment = with_defaults(msgspec.msgpack.decode(body[:header_length]))
        check(version >= 10 or segment[0] != "nerv360-motion")
        two_eyes = segment[0] == "nerv360-motion" and segment[8:9] not in ([], [None])
        check(two_eyes == (len(header) == 10))
        check(version >= 14 or segment[0] != "nerv360-motion" or len(segment) < 10)
        table = segment[7 if segment[0] == "nerv360-motion" else 17]
        chunks = read_chunks([*table, *behind], body[header_length:])
        parts.append((frames, segment, chunks[: len(table)]))
        offset += size
    check(offset == len(data))
    return header, parts


def frame_starts(header: list[Any]) -> list[float]:
    """When frames begin, and the last ends, in seconds."""
    if len(header) < 9 or header[8] is None:
        return [frame * header[4] / header[3] for frame in range(header[2] + 1)]
    numerator, denominator, packed = header[8]
    ticks = struct.unpack(f"<{header[2]}I", zlib.decompress(packed))
    check(all(ticks))
    return [start * numerator / denominator for start in accumulate((0, *ticks))]


def read_sound(data: bytes) -> list[tuple[float, bytes]]:
    """The packets of sound, with their times in seconds of the video."""
    header, parts = read_container(data)
    _, sample_rate, _, _, tables = header[7]
    end, first_frame, found = len(data) - sum(entry[1] for entry in header[6]), 0, []
    for (frames, size, _, _), (_, _, _), table in zip(header[6], parts, tables, strict=True):
        end += size
        chunks = read_chunks(table, data[end - sum(length for length, _ in table) : end])
        for second, chunk in enumerate(chunks):
            for time, packet in msgspec.msgpack.decode(chunk):
                check(max(0, time // sample_rate) == second)
                start = math.floor(frame_starts(header)[first_frame] * sample_rate + 1e-6)
                found.append(((start + time) / sample_rate, packet))
        first_frame += frames
    return found


def with_defaults(header: list[Any]) -> list[Any]:
    """A segment's header with the values that may be missing."""
    if header[0] != "nerv360-motion":
        header[15] = [(*grid, False)[:4] for grid in header[15]]
        header[18:] = header[18:] or ["full"]
    return header


def read_chunks(table: list[list[int]], body: bytes) -> list[bytes]:
    chunks = []
    for length, checksum in table:
        chunks.append(body[:length])
        check(crc32(body[:length]) == checksum)
        body = body[length:]
    check(not body)
    return chunks


def read_segment(file: list[Any], frames: int, header: list[Any], chunks: list[bytes]) -> Segment:
    shapes = tensor_shapes(header)
    steps, symbols = read_weights(chunks[0], shapes)
    weights = {
        name: (tensor * 2.0 ** ((step - 224) / 8)).astype(np.float32)
        for (name, tensor), step in zip(symbols.items(), steps, strict=True)
    }
    latents = header[15] or [(math.prod(header[2]), header[5], 1, False)]
    channels_before = [0, *accumulate(channels for _, channels, *_ in latents)]
    scalings, offset = [], 0
    for _, channels, *_ in latents:
        if header[0] == "nerv360-grid":
            scalings.append([(0.0, 1 / 16)] * channels)
        else:
            scalings.append([struct.unpack_from("<ff", chunks[1], offset + 8 * i) for i in range(channels)])
            offset += 8 * channels
    length, offset = read_varint(chunks[1], offset)
    check(offset + length <= len(chunks[1]))
    contexts = read_contexts(chunks[1][offset : offset + length], channels_before[-1])
    rest = chunks[1][offset + length :]

    order = []
    for index, (_, _, period, _) in enumerate(latents):
        keys = 1 if period == 0 else math.ceil(frames / period)
        step = max(1, header[14] // max(1, period))
        for first in range(0, keys, step):
            needed = (2 * first - 1) * frames // (2 * keys) + 1 if first else 0
            order.append((needed, index, first, min(step, keys - first)))
    found: list[list[Array]] = [[] for _ in latents]
    for chunk, (_, index, _, count) in zip(chunks[2:], sorted(order), strict=True):
        stride, channels, *_ = latents[index]
        size = math.ceil(file[1] / stride), 2 * math.ceil(file[0] / (2 * stride))
        found[index].append(np.array(read_latent(chunk, contexts, channels_before[index], count, channels, *size)))
    integers = [np.concatenate(parts) for parts in found]
    reals = []
    for scaling, values in zip(scalings, integers, strict=True):
        least, step = (np.array(column, np.float64)[:, None, None] for column in zip(*scaling, strict=True))
        reals.append((least + step * values).astype(np.float32))
    angles = None
    if header[16]:
        raw = struct.unpack(f"<{3 * frames}H", zlib.decompress(rest))
        angles = (np.cumsum(np.reshape(raw, (frames, 3)), axis=0) + 32768) % 65536 - 32768
    else:
        check(not rest)
    return Segment(steps, symbols, weights, contexts, integers, reals, angles)


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
        layer("expand", channels[0], sum(c for s, c, _, moves in grids if s == remaining and not moves), 1, 1)
        shapes["to_rgb.weight"] = (3, *shapes["expand.weight"][1:])
        for i, (stride, kernel) in enumerate(zip(strides, kernels, strict=True)):
            remaining //= stride
            layer(f"stages.{i}.conv", channels[i + 1] * stride**2, channels[i], kernel, kernel)
            if here := sum(c for s, c, _, moves in grids if s == remaining and not moves):
                shapes[f"stages.{i}.project.weight"] = (channels[i + 1], here, 1, 1)
                shapes[f"stages.{i}.to_rgb.weight"] = (3, here, 1, 1)
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
    blocks, late_blocks = [], (*header[19:], 1)[0]
    for stage, (stride, kernel) in enumerate(zip(strides, kernels, strict=True)):
        blocks.append((channels[stage], channels[stage + 1], stride, kernel))
        if stage >= len(strides) - 3:
            blocks += [(channels[stage + 1], channels[stage + 1], 1, kernel)] * (late_blocks - 1)
    for i, (inputs, outputs, stride, kernel) in enumerate(blocks):
        layer(f"stages.{i}.block.conv", outputs * stride**2, inputs, kernel, kernel)
        if header[18] != "none" or i < len(blocks) - 1:
            early = header[18] == "half" and i == len(blocks) - 1
            residual(f"stages.{i}.residual", inputs if early else outputs)
    layer("head", 3, channels[-1], 3, 3)
    return shapes


def read_weights(data: bytes, shapes: dict[str, tuple[int, ...]]) -> tuple[list[int], dict[str, Array]]:
    count = len(shapes)
    steps, scales = list(data[:count]), list(data[count : 2 * count])
    check(len(scales) == count)
    check(all(scale < 40 for scale in scales))
    stream, symbols = Stream(data[2 * count :]), {}
    for (name, shape), scale in zip(shapes.items(), scales, strict=True):
        symbols[name] = np.reshape(stream.piece([8 * scale + 4] * math.prod(shape)), shape)
    stream.end()
    return steps, symbols


def read_contexts(data: bytes, channels: int) -> Contexts:
    sizes = {"input_weight": 4 * 8, "pass_bias": 10 * 8, "scale_weight": 8}
    sizes |= {"scale_bias": channels, "mean_weight": channels, "temporal_mean_weight": 2}
    stream = Stream(data)
    integers = stream.piece([276] * sum(sizes.values()))
    stream.end()
    contexts = {}
    for name, size in sizes.items():
        contexts[name], integers = integers[:size], integers[size:]
    return contexts


# Latent


def read_latent(
    data: bytes, contexts: Contexts, first_channel: int, keys: int, channels: int, rows: int, columns: int
) -> list[list[Grid]]:
    """[keys, channels, rows, columns]"""
    stream = Stream(data)
    group: list[list[Grid]] = [[[[0] * columns for _ in range(rows)] for _ in range(channels)] for _ in range(keys)]
    read_key(stream, contexts, first_channel, group[0], None)
    step = 1
    while 2 * step < keys:
        step *= 2
    while step:
        for key in range(step, keys, 2 * step):
            after = key + step if key + step < keys else key - step
            read_key(stream, contexts, first_channel, group[key], (group[key - step], group[after]))
        step //= 2
    stream.end()
    return group


def read_key(
    stream: "Stream", contexts: Contexts, first_channel: int, key: list[Grid], others: tuple[list[Grid], ...] | None
) -> None:
    rows, columns = len(key[0]), len(key[0][0])
    for coding_pass, (row, column, spacing, near, far) in enumerate(coding_passes()):
        cells = [
            (channel, i, j)
            for channel in range(len(key))
            for i in range(row, rows, spacing)
            for j in range(column, columns, spacing)
        ]
        shifts, classes = [], []
        for channel, i, j in cells:
            around = [
                [cell(key[channel], i + down, j + right) for down, right in neighbours] for neighbours in (near, far)
            ]
            reference_keys = None if others is None else [grids[channel][i][j] for grids in others]
            shift, class_of = class_of_cell(contexts, coding_pass, first_channel + channel, *around, reference_keys)
            shifts.append(shift)
            classes.append(class_of)
        for (channel, i, j), shift, coded in zip(cells, shifts, stream.piece(classes), strict=True):
            check(abs(shift + coded) <= 32767)
            key[channel][i][j] = shift + coded


def coding_passes() -> list[tuple[int, int, int, list[tuple[int, int]], list[tuple[int, int]]]]:
    """Row, column, spacing, near, far."""
    found: list[Any] = [(0, 0, 8, [], [])]
    for d in (4, 2, 1):
        corners, plus = signs(d, d), [*signs(0, d), *signs(d, 0)]
        found.append((d, d, 2 * d, corners, [*signs(3 * d, d), *signs(d, 3 * d)]))
        found.append((0, d, 2 * d, plus, [*signs(2 * d, d), *signs(d, 2 * d)]))
        found.append((d, 0, 2 * d, plus, corners))
    return found


def signs(down: int, right: int) -> list[tuple[int, int]]:
    return sorted({(a * down, b * right) for a in (-1, 1) for b in (-1, 1)})


def cell(grid: Grid, row: int, column: int) -> int:
    return grid[row][column] if 0 <= row < len(grid) and 0 <= column < len(grid[0]) else 0


def class_of_cell(
    contexts: Contexts,
    coding_pass: int,
    channel: int,
    near: list[int],
    far: list[int],
    reference_keys: list[int] | None,
) -> tuple[int, int]:
    """m and the class."""
    input_weight, pass_bias = contexts["input_weight"], contexts["pass_bias"]
    levels = [level(sum(map(abs, values))) for values in (near, far, reference_keys or [])]
    total = 256 * contexts["scale_bias"][channel] + 2048
    for i in range(8):
        h = 16 * (pass_bias[8 * coding_pass + i] + (0 if reference_keys is None else input_weight[24 + i]))
        h += sum(value * input_weight[8 * row + i] for row, value in enumerate(levels))
        total += max(0, h) * contexts["scale_weight"][i]
    scale = min(39, max(0, total // 4096))
    if reference_keys is None:
        e = (2 * sum(near) * contexts["mean_weight"][channel] + 128) // 256
    else:
        together, beside = contexts["temporal_mean_weight"]
        e = (2 * sum(near) * together + 4 * sum(reference_keys) * beside + 128) // 256
    m = (e + 4) // 8
    return m, 8 * scale + e - 8 * m + 4


def level(x: int) -> int:
    return round(16 * math.log2(1 + min(x, 255)))


# Coded integers


@cache
def counts_of(class_of: int) -> list[int]:
    """n_-255, ..., n_255."""
    scale, fraction = divmod(class_of, 8)
    narrow, wide = sides_of(scale, fraction), sides_of(min(scale + 8, 39) if scale else 0, fraction)
    counts = {symbol: 1 + (31 * narrow[symbol] + wide[symbol]) // 32 for symbol in narrow}
    counts[0] = 2**24 - sum(counts.values())
    return [counts[symbol] for symbol in range(-255, 256)]


def sides_of(scale: int, fraction: int) -> dict[int, int]:
    """a_k of all symbols but 0."""
    decay = DECAYS[scale] / 2**32
    ratio = decay * decay
    ratio = ratio * ratio
    ratio = ratio * ratio
    counts = {}
    for side, eighths in ((1, 8 - fraction), (-1, fraction)):
        tail = 0.5 * (2**24 - 511)
        for _ in range(eighths):
            tail = tail * decay
        for k in range(1, 255):
            counts[side * k] = math.floor(tail * (1 - ratio))
            tail = tail * ratio
        counts[side * 255] = math.floor(tail)
    return counts


@cache
def starts_of(class_of: int) -> list[int]:
    return [0, *accumulate(counts_of(class_of))]


class Stream:
    """Coded integers, read piece by piece."""

    def __init__(self, data: bytes) -> None:
        count, offset = read_varint(data, 0)
        self.excesses = []
        for _ in range(count):
            excess, offset = read_varint(data, offset)
            check(excess <= 2**20)
            self.excesses.append(excess)
        check((len(data) - offset) % 4 == 0)
        self.words = list(struct.unpack(f"<{(len(data) - offset) // 4}I", data[offset:]))
        check(not self.words or self.words[-1] != 0)
        self.state = 0
        for _ in range(2):
            if self.words:
                self.state = self.state << 32 | self.words.pop()

    def piece(self, classes: list[int]) -> list[int]:
        symbols = [0] * len(classes)
        for index in sorted(range(len(classes)), key=lambda index: (classes[index], index)):
            symbols[index] = self.symbol(classes[index])
        for index, symbol in enumerate(symbols):
            if abs(symbol) == 255:
                check(bool(self.excesses))
                excess = self.excesses.pop(0)
                symbols[index] += excess if symbol > 0 else -excess
        return symbols

    def symbol(self, class_of: int) -> int:
        starts = starts_of(class_of)
        slot = self.state % 2**24
        index = bisect_right(starts, slot) - 1
        self.state = (starts[index + 1] - starts[index]) * (self.state >> 24) + slot - starts[index]
        if self.state < 2**32 and self.words:
            self.state = self.state << 32 | self.words.pop()
        return index - 255

    def end(self) -> None:
        check(self.state == 0)
        check(not self.words)
        check(not self.excesses)


def read_varint(data: bytes, offset: int) -> tuple[int, int]:
    value = 0
    for i in range(5):
        check(offset + i < len(data))
        value |= (data[offset + i] & 127) << 7 * i
        if data[offset + i] < 128:
            return value, offset + i + 1
    raise Refusal
