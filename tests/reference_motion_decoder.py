"""A second decoder of segments of nerv360-motion, from bytes to pictures, written from docs/motion-bitstream.md alone.

Integers are NumPy's int32, which wrap, or Python's where bits are read.
"""

import math
import struct
import zlib
from bisect import bisect_left
from collections.abc import Iterator
from functools import cache
from itertools import accumulate, chain, repeat
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from reference_decoder import Refusal, check, read_container

import nerv360

Array = NDArray[Any]
Bands = dict[tuple[int, int], Array]  # by level and number: [rows, columns]; the average is number 0 of the last level
Node = tuple[int, int]  # row, column

LEVELS = (4, 3, 3)
CONTEXTS, MIXERS = 32496, 156
PRIORS = Path(nerv360.__file__).parent / "motion" / "priors.bin"


def decode(data: bytes) -> list[Array]:
    """The pictures of all frames, [height, width, 3]."""
    (width, height, *_), segments = read_container(data)
    pictures = []
    for frames, header, chunks in segments:
        for planes in read_segment(width, height, frames, header, chunks):
            pictures.append(colours(planes, width, height))
    return pictures


# Keys


class Key(NamedTuple):
    frame: int
    level: int
    references: tuple[int, ...]


class State(NamedTuple):
    probabilities: list[int]
    counts: list[int]
    weights: list[list[int]]

    def copy(self) -> "State":
        return State(self.probabilities[:], self.counts[:], [weights[:] for weights in self.weights])


class Known(NamedTuple):
    """What other keys need of a key."""

    key: Key
    state: State
    vectors: list[Array]  # of each reference: [rows, columns, 2], x and y in quarter pixels
    changes: dict[Node, int]  # magnitudes of what was coded of the vectors, of all references together
    bands: list[Bands]  # of each plane
    planes: list[Array]  # [rows, columns]


def key_order(frames: int, interval: int, first: int) -> list[Key]:
    """The keys of a group that begins with the frame `first`."""
    low = high = first + frames // 2
    keys = [Key(low, 0, ())]
    while low > first or high < first + frames - 1:
        if low > first:
            end = max(first, low - interval)
            keys += [Key(end, 1, (low,)), *keys_between(end, low, 2)]
            low = end
        if high < first + frames - 1:
            end = min(first + frames - 1, high + interval)
            keys += [Key(end, 1, (high,)), *keys_between(high, end, 2)]
            high = end
    return keys


def keys_between(a: int, b: int, level: int) -> list[Key]:
    if b - a < 2:
        return []
    c = (a + b) // 2
    return [Key(c, level, (a, b)), *keys_between(a, c, level + 1), *keys_between(c, b, level + 1)]


def read_segment(width: int, height: int, frames: int, header: list[Any], chunks: list[bytes]) -> list[list[Array]]:
    """The planes of all frames."""
    *_, interval, groups, steps, _ = header
    check(sum(groups) == frames == len(chunks))
    starts = accumulate(groups, initial=0)
    keys = [key for group, first in zip(groups, starts, strict=False) for key in key_order(group, interval, first)]
    known: dict[int, Known] = {}
    for key, chunk in zip(keys, chunks, strict=True):
        references = [known[frame] for frame in key.references]
        known[key.frame] = read_key(chunk, key, references, steps[key.level] / 16, width, height)
    return [known[frame].planes for frame in range(frames)]


def read_key(data: bytes, key: Key, references: list[Known], step: float, width: int, height: int) -> Known:
    rows, columns = math.ceil(height / 16), math.ceil(width / 16)
    bits = Bits(data, initial_state(references))
    changes: dict[Node, int] = {}
    added = [dict[Node, tuple[int, int]]() for _ in references]
    first: dict[Node, int] = {}
    for index, vectors in enumerate(added):
        context = Motion(index if len(references) == 1 else index + 1, first if index else {}, references)
        magnitudes = read_vectors(bits, context, vectors, rows, columns)
        first = first or magnitudes
        changes = {node: changes.get(node, 0) + magnitude for node, magnitude in magnitudes.items()}
    bands: list[Bands] = []
    for plane in range(3):
        size = (16 * rows, 16 * columns) if plane == 0 else (8 * rows, 8 * columns)
        bands.append(read_bands(bits, plane, size, bands, references))
    fields = fields_of(key, references, [to_array(each, rows, columns) for each in added])
    planes = []
    for plane in range(3):
        predicted = [
            compensated(each.planes[plane], field, plane, width, height)
            for each, field in zip(references, fields, strict=True)
        ]
        planes.append(painted(bands[plane], plane, step, predicted))
    return Known(key, bits.state, fields, changes, bands, planes)


# Bits


@cache
def squashed() -> list[int]:
    """S(-2048), ..., S(2047)."""
    odds = list(accumulate(repeat(1.003913889338348, 2047), lambda a, b: a * b, initial=1.0))
    above = [math.floor(e / (1 + e) * 65536 + 0.5) for e in odds]
    below = [math.floor(65536 / (1 + e) + 0.5) for e in odds]
    return [max(16, min(65520, p)) for p in (below[-1], *reversed(below[1:]), *above)]


@cache
def stretched() -> list[int]:
    """T(0), ..., T(4095)."""
    return [min(2047, bisect_left(squashed(), 16 * q + 8) - 2048) for q in range(4096)]


def initial_state(references: list[Known]) -> State:
    same = [known for known in references if len(known.key.references) == len(references)]
    if same:
        return max(same, key=lambda known: known.key.level).state.copy()  # the first of equal ones
    return priors()[len(references)].copy()


@cache
def priors() -> list[State]:
    """For keys with no, one and two references."""
    data, size = zlib.decompress(PRIORS.read_bytes()), 2 * CONTEXTS + 12 * MIXERS
    states = []
    for part in (data[i * size : (i + 1) * size] for i in range(3)):
        logits = struct.unpack(f"<{CONTEXTS}b", part[:CONTEXTS])
        weights = [256 * u for u in struct.unpack(f"<{6 * MIXERS}h", part[2 * CONTEXTS :])]
        states.append(
            State(
                [squashed()[2048 + 16 * logit] for logit in logits],
                list(part[CONTEXTS : 2 * CONTEXTS]),
                [weights[6 * mixer : 6 * mixer + 6] for mixer in range(MIXERS)],
            )
        )
    return states


class Bits:
    def __init__(self, data: bytes, state: State) -> None:
        self.bytes = chain(data, bytes(64))
        self.low, self.high, self.code = 0, 2**32 - 1, 0
        for _ in range(4):
            self.code = self.code << 8 | self.next_byte()
        self.state = state

    def next_byte(self) -> int:
        byte = next(self.bytes, None)
        if byte is None:
            raise Refusal
        return byte

    def bit(self, p: int) -> int:
        d = self.high - self.low
        middle = self.low + (d >> 16) * p + ((d & 65535) * p >> 16)
        bit = int(self.code <= middle)
        if bit:
            self.high = middle
        else:
            self.low = middle + 1
        while self.low >> 24 == self.high >> 24:
            self.low = self.low << 8 & 0xFFFFFFFF
            self.high = (self.high << 8 & 0xFFFFFFFF) + 255
            self.code = (self.code << 8 & 0xFFFFFFFF) + self.next_byte()
        return bit

    def learn(self, context: int, bit: int) -> None:
        p, n = self.state.probabilities, self.state.counts
        p[context] += (65535 * bit - p[context]) * math.floor(65536 / (n[context] + 1.6)) >> 16
        n[context] = min(120, n[context] + 1)

    def simple(self, context: int) -> int:
        bit = self.bit(max(64, min(65471, self.state.probabilities[context])))
        self.learn(context, bit)
        return bit

    def mixed(self, mixer: int, *contexts: int) -> int:
        weights = self.state.weights[mixer]
        inputs = [stretched()[self.state.probabilities[context] >> 4] for context in contexts]
        t = sum(weight * value for weight, value in zip(weights, inputs, strict=False)) >> 16
        p = squashed()[2048 + max(-2047, min(2047, t))]
        bit = self.bit(p)
        for i, value in enumerate(inputs):
            change = 3 * value * (65536 * bit - p) + 2**17 >> 18
            weights[i] = max(-(2**20), min(2**20, weights[i] + change))
        for context in contexts:
            self.learn(context, bit)
        return bit

    def plain(self) -> int:
        return self.bit(32768)

    def golomb(self, context: int) -> int:
        k, value = 0, 1
        while k < 19 and self.simple(context + min(k, 15)):
            k += 1
        for _ in range(k):
            value = 2 * value + self.plain()
        return value - 1


# Motion


class Motion(NamedTuple):
    use: int  # 0: the only reference, 1: the first of two, 2: the second
    first: dict[Node, int]  # magnitudes of the first reference
    references: list[Known]


def nodes(rows: int, columns: int) -> Iterator[tuple[Node, int, int]]:
    """Nodes with their kind and distance, in the order of coding."""
    passes = [(0, 8, 0, 0, 8)]
    for d in (4, 2, 1):
        passes += [(1, d, d, d, 2 * d), (2, d, 0, d, 2 * d), (3, d, d, 0, 2 * d)]
    for kind, d, row, column, spacing in passes:
        for i in range(row, rows, spacing):
            for j in range(column, columns, spacing):
                yield (i, j), kind, d


def around(node: Node, kind: int, d: int) -> tuple[list[Node], list[Node]]:
    """The predictors of a node, and the others at this distance."""
    i, j = node
    if kind == 0:
        return [(i, j - 8), (i - 8, j)], []
    corners = [(i - d, j - d), (i - d, j + d), (i + d, j - d), (i + d, j + d)]
    sides = [(i, j - d), (i, j + d), (i - d, j), (i + d, j)]
    return (corners, sides) if kind == 1 else (sides, corners)


def read_vectors(
    bits: Bits, motion: Motion, vectors: dict[Node, tuple[int, int]], rows: int, columns: int
) -> dict[Node, int]:
    """Fill in the added vectors of a reference; return the magnitudes of what was coded."""
    magnitudes: dict[Node, int] = {}
    for node, kind, d in nodes(rows, columns):
        predictors, others = around(node, kind, d)
        near, far = (sum(magnitudes.get(each, 0) for each in some) for some in (predictors, others))
        along = sum(known.changes.get(node, 0) for known in motion.references)
        levels = [size_level(a) for a in (near, motion.first.get(node, 0), near + far, along)]
        v = {8: 0, 4: 1, 2: 2, 1: 3}[d] if kind else 0
        x = read_change(bits, motion.use, v, levels, 0)
        y = read_change(bits, motion.use, v, levels, 1 + min(2, abs(x)))
        there = [vectors[each] for each in predictors if each in vectors]
        means = [mean([vector[axis] for vector in there]) for axis in (0, 1)]
        vectors[node] = limited(means[0] + x), limited(means[1] + y)
        magnitudes[node] = abs(x) + abs(y)
    return magnitudes


def size_level(a: int) -> int:
    return a if a < 3 else 3 + sum(a >= limit for limit in (5, 9, 17, 40))


def mean(values: list[int]) -> int:
    return (2 * sum(values) + len(values)) // (2 * len(values)) if values else 0


def read_change(bits: Bits, use: int, v: int, levels: list[int], f: int) -> int:
    near, first, wide, along = levels
    b = 29424 + 1024 * use
    moves = bits.mixed(
        144 + 4 * use + v,
        b + (8 * v + near) * 4 + f,
        b + 128 + (4 * first + v) * 4 + f,
        b + 256 + (4 * wide + f) * 4 + min(3, along),
        b + 384 + (4 * along + v) * 4 + f,
    )
    if not moves:
        return 0
    negative = bits.plain()
    magnitude = 1 + bits.golomb(b + 512 + (4 * v + min(3, near // 2)) * 16)
    return -magnitude if negative else magnitude


def limited(x: Any) -> Any:
    return np.clip(x, -32768, 32767)


def to_array(vectors: dict[Node, tuple[int, int]], rows: int, columns: int) -> Array:
    return np.array([[vectors[i, j] for j in range(columns)] for i in range(rows)], np.int64)


def scaled(a: Array, b: int, c: int) -> Array:
    """s(a, b, c)."""
    return (2 * a * b + c) // (2 * c) if c > 0 else (-2 * a * b - c) // (-2 * c)


def fields_of(key: Key, references: list[Known], added: list[Array]) -> list[Array]:
    """The vectors to each reference."""
    fields = inherited(key, references, added)
    if len(fields) == 2:
        first, second = (each.key.frame - key.frame for each in references)
        fields[1] = limited(fields[1] + (added[0] * round(256 * second / first) + 128 >> 8))
    return [limited(field + each) for field, each in zip(fields, added, strict=True)]


def inherited(key: Key, references: list[Known], added: list[Array]) -> list[Array]:
    nothing = [np.zeros_like(each) for each in added]
    if len(references) == 1:
        g = references[0].key
        if len(g.references) == 1 and (key.frame - g.frame) * (g.frame - g.references[0]) > 0:
            return [limited(scaled(references[0].vectors[0], g.frame - key.frame, g.references[0] - g.frame))]
    if len(references) == 2:
        a, b = references
        if a.key.frame in b.key.references:
            return from_reference(key, b, a)[::-1]
        if b.key.frame in a.key.references:
            return from_reference(key, a, b)
    return nothing


def from_reference(key: Key, e: Known, g: Known) -> list[Array]:
    """The vectors to e and to g, by those from e to g."""
    vectors = e.vectors[e.key.references.index(g.key.frame)]
    now, whole = key.frame - g.key.frame, e.key.frame - g.key.frame
    rows, columns, _ = vectors.shape
    i, j = np.indices((rows, columns))
    moved = (scaled(vectors, now, whole) - vectors + 32) // 64
    there = vectors[np.clip(i + moved[..., 1], 0, rows - 1), (j + moved[..., 0]) % columns]
    to_g = limited(scaled(there, now, whole))
    return [limited(to_g - there), to_g]


# Bands


def shapes(size: tuple[int, int], levels: int) -> list[tuple[int, int, tuple[int, int]]]:
    """Level, number and size of each band in the order of coding."""
    rows, columns = size
    found = [(levels, 0, (rows >> levels, columns >> levels))]
    for level in range(levels, 0, -1):
        found += [(level, number, (rows >> level, columns >> level)) for number in (1, 2, 3)]
    return found


def read_bands(bits: Bits, plane: int, size: tuple[int, int], planes: list[Bands], references: list[Known]) -> Bands:
    bands: Bands = {}
    for level, number, shape in shapes(size, LEVELS[plane]):
        if number == 0 and not references:
            bands[level, 0] = read_average(bits, 29184 + 80 * plane, shape)
            continue
        times = [known.bands[plane][level, number] for known in references if known.key.references]
        neighbours = Neighbours(
            bands.get((level + 1, number)) if number else None,
            [bands[level, sibling] for sibling in range(1, number)],
            colour_of(plane, level, number, planes),
            times,
        )
        kind = 16 * plane + (3 * (level - 1) + number - 1 if number else 15)
        bands[level, number] = read_band(bits, kind, number, shape, neighbours)
    return bands


class Neighbours(NamedTuple):
    parent: Array | None
    siblings: list[Array]
    colour: list[Array]  # none or one
    times: list[Array]  # before and behind


def colour_of(plane: int, level: int, number: int, planes: list[Bands]) -> list[Array]:
    """What a plane's bands see of the plane before."""
    if plane == 0 or (plane == 1 and number == 0):
        return []
    if plane == 2:
        return [planes[1][level, number]]
    whole = laid_out(planes[0])
    whole = whole.reshape(-1, whole.shape[1] // 2)
    rows, columns = len(whole) // 4 >> level, whole.shape[1] >> level
    top, left = rows * (number > 1), columns * (number != 2)
    return [whole[top : top + rows, left : left + columns]]


def laid_out(bands: Bands) -> Array:
    """All bands of a plane in one array."""
    levels = max(level for level, _ in bands)
    whole = bands[levels, 0]
    for level in range(levels, 0, -1):
        whole = np.block([[whole, bands[level, 1]], [bands[level, 2], bands[level, 3]]])
    return whole


def read_average(bits: Bits, q: int, shape: tuple[int, int]) -> Array:
    band = np.zeros(shape, np.int32)
    for y, x in np.ndindex(shape):
        west = int(band[y, x - 1]) if x else 0
        north = int(band[y - 1, x]) if y else west
        west = west if x else north
        corner = int(band[y - 1, x - 1]) if x and y else north
        least, most = sorted((west, north))
        predicted = least if corner >= most else most if corner <= least else west + north - corner
        k = sum(abs(west - corner) + abs(north - corner) >= limit for limit in (2, 5, 12))
        if bits.simple(q + k):
            negative = bits.plain()
            magnitude = 1 + bits.golomb(q + 4 + 15 * k)
            predicted += -magnitude if negative else magnitude
        band[y, x] = limited(predicted)
    return band


def read_band(bits: Bits, kind: int, number: int, shape: tuple[int, int], neighbours: Neighbours) -> Array:
    rows, columns = shape
    coded = np.ones(shape, bool)
    if rows >= 16:
        coded = np.kron(read_blocks(bits, kind, shape, neighbours), np.ones((8, 8), bool))[:rows, :columns]
    nothing = np.zeros(shape, np.int32)
    parent = nothing if neighbours.parent is None else neighbours.parent
    above, wide = (np.kron(each, np.ones((2, 2), np.int32)) for each in (abs(parent), crossed(parent)))
    other = sum(map(crossed, neighbours.siblings + neighbours.colour), nothing)
    time = sum(map(crossed, neighbours.times), nothing)
    band = Band(kind, number, *(each.tolist() for each in (coded, above, wide, other, time)))
    return np.array(band.read(bits, rows, columns), np.int32)


def crossed(band: Array) -> Array:
    """X of a whole band."""
    m = abs(band)
    beyond = np.pad(m, ((1, 1), (0, 0)))
    return 2 * m + np.roll(m, 1, axis=1) + np.roll(m, -1, axis=1) + beyond[:-2] + beyond[2:]


def block_sums(bands: list[Array], side: int, shape: tuple[int, int]) -> list[list[int]]:
    """Sums of magnitudes over blocks of so many rows and columns."""
    sums = np.zeros((math.ceil(shape[0] / 8), math.ceil(shape[1] / 8)), np.int64)
    for band in bands:
        down = np.add.reduceat(abs(band), range(0, band.shape[0], side), axis=0)
        sums += np.add.reduceat(down, range(0, band.shape[1], side), axis=1)
    return sums.tolist()


def read_blocks(bits: Bits, kind: int, shape: tuple[int, int], neighbours: Neighbours) -> Array:
    above = block_sums([] if neighbours.parent is None else [neighbours.parent], 4, shape)
    other = block_sums(neighbours.siblings[:1] + neighbours.colour, 8, shape)
    time = block_sums(neighbours.times, 8, shape)
    flags = np.zeros((len(above), len(above[0])), bool)
    for i, j in np.ndindex(flags.shape):
        beside = np.pad(flags, 1).astype(int)
        w, n, e = int(beside[i + 1, j]), int(beside[i, j + 1]), int(beside[i, j + 2])
        f_above, f_other, f_time = (min(a[i][j], 2) if a[i][j] < 4 else 3 for a in (above, other, time))
        g = 26112 + 64 * kind
        flags[i, j] = bits.mixed(
            96 + kind,
            g + (w + 2 * n + e) * 4 + f_above,
            g + 20 + 4 * f_time + f_above,
            g + 40 + 4 * f_other + w + n + e,
        )
    return flags


class Band(NamedTuple):
    """What is known of a band before its coefficients; all of [rows][columns]."""

    kind: int
    number: int
    coded: list[list[bool]]
    above: list[list[int]]
    wide: list[list[int]]
    other: list[list[int]]
    time: list[list[int]]

    def read(self, bits: Bits, rows: int, columns: int) -> list[list[int]]:
        found = [[0] * columns for _ in range(rows + 2)]  # two rows of nothing, which are also those at -2 and -1
        for y in range(rows):
            for x in range(columns):
                if self.coded[y][x]:
                    found[y][x] = self.read_coefficient(bits, found, y, x)
        return found[:rows]

    def read_coefficient(self, bits: Bits, found: list[list[int]], y: int, x: int) -> int:
        def m(up: int, right: int) -> int:
            row = found[y - up]
            return abs(row[(x + right) % len(row)])

        west, west2 = m(0, -1) if x > 0 else 0, m(0, -2) if x > 1 else 0
        north, north2, corners = m(1, 0), m(2, 0), m(1, -1) + m(1, 1)
        near = 2 * (west + north) + corners
        along = (west + north + corners, west + 2 * north + north2, 2 * west + north + west2)[self.number % 3]
        far = north2 + west2 + corners + m(2, -1) + m(2, 1) + m(1, -2) + m(1, 2)
        above, wide, other, time = (each[y][x] for each in (self.above, self.wide, self.other, self.time))
        total = near + along + wide + other + time
        z, y_context, u = 384 * self.kind, 18432 + 96 * self.kind, 23040 + 64 * self.kind
        if not bits.mixed(
            self.kind,
            z + 5 * g(near) + min(4, above),
            z + 64 + 8 * min(6, g(other)) + h(along),
            z + 128 + 8 * h(time) + h(west + north),
            z + 192 + 8 * h(far) + h(near),
            z + 256 + min(63, total if total < 24 else 24 + (total - 24) // 4),
            z + 320 + 8 * h(wide) + h(other),
        ):
            return 0
        negative, magnitude = bits.plain(), 1
        if bits.mixed(
            48 + self.kind,
            y_context + min(31, near),
            y_context + 32 + min(31, total // 2),
            y_context + 64 + 8 * min(3, west) + h(time + above),
        ):
            magnitude = 2
            while magnitude < 15 and bits.simple(u + 14 * min(2, near // 6) + magnitude - 2):
                magnitude += 1
            if magnitude == 15:
                magnitude = min(32767, 15 + bits.golomb(u + 44))
        return -magnitude if negative else magnitude


def g(a: int) -> int:
    return a if a < 5 else 5 + sum(a >= limit for limit in (7, 9, 13, 19, 29))


def h(a: int) -> int:
    return min(7, g(a))


# Pictures


def painted(bands: Bands, plane: int, step: float, predicted: list[Array]) -> Array:
    """The inverse wavelet, on top of the predictions by the references."""
    levels = LEVELS[plane]
    low = dequantized(bands[levels, 0], plane, step, levels, 0)
    for level in range(levels, 0, -1):
        right, below, both = (
            dequantized(bands[level, number], plane, step, level, 1 + number // 3) for number in (1, 2, 3)
        )
        left, right = merged(low, below, turns=False), merged(right, both, turns=False)
        low = merged(left.T, right.T, turns=True).T
    return limited(low + sum(predicted, len(predicted) // 2) // max(1, len(predicted)))


def dequantized(band: Array, plane: int, step: float, level: int, e: int) -> Array:
    factors = []
    for row in range(len(band)):
        u = (row + 0.5) / len(band)
        area = max(4 * u * (1 - u), 1 / 16)
        gain = 1.149604398860241 ** (2 * level - 2 * e)
        factors.append(round(step * (0.6 if plane else 1) / math.sqrt(area) / gain * 256))
    scaled = band * np.array(factors, np.int32)[:, None]
    return np.where(abs(band) == 1, scaled - (scaled * np.int32(12) >> 8), scaled) + 8 >> 4


def merged(low: Array, high: Array, turns: bool) -> Array:
    """The samples [2 n, ...] of two halves [n, ...], which go round or end."""

    def lift(k: int, a: Array, b: Array) -> Array:
        return np.int32(k) * (a + b) + np.int32(2048) >> 12

    def before(a: Array) -> Array:
        return np.concatenate((a[-1:] if turns else a[:1], a[:-1]))

    def after(a: Array) -> Array:
        return np.concatenate((a[1:], a[:1] if turns else a[-1:]))

    low = low - lift(1817, high, before(high))
    high = high - lift(3616, low, after(low))
    low = low - lift(-217, high, before(high))
    high = high - lift(-6497, low, after(low))
    return np.stack((low, high), axis=1).reshape(2 * len(low), *low.shape[1:])


@cache
def taps() -> Array:
    """[phase, tap]"""
    table = np.zeros((64, 4), np.int32)
    s = -0.6
    for p, k in np.ndindex(table.shape):
        z = abs(p + 64 - 64 * k) / 64
        inner = (s + 2) * z**3 - (s + 3) * z**2 + 1
        table[p, k] = round(64 * (inner if z <= 1 else s * (z**3 - 5 * z**2 + 8 * z - 4)))
    table[:32, 1] += 64 - table[:32].sum(axis=1)
    table[32:, 2] += 64 - table[32:].sum(axis=1)
    return table


def compensated(reference: Array, field: Array, plane: int, width: int, height: int) -> Array:
    n, per_quarter, shift = (16, 16, 13) if plane == 0 else (8, 8, 11)
    if plane:
        width, height = width // 2, height // 2
    total = np.int32(1 << shift - 1)
    for i, row_weight in windows(reference.shape[0], n):
        for j, column_weight in windows(reference.shape[1], n):
            vectors = field[np.clip(i, 0, len(field) - 1)[:, None], j % field.shape[1]] * per_quarter
            values = fractional(reference, vectors.astype(np.int32), width, height)
            total = total + values * row_weight[:, None] * column_weight
    return (total >> shift).astype(np.int16).astype(np.int32)


def windows(size: int, n: int) -> list[tuple[Array, Array]]:
    """The two nodes whose windows hold each row or column, which may lie beyond the ends; their weights."""
    place = np.arange(size, dtype=np.int32)
    first = (place - n // 2) // n
    c = place - n * (first + 1) + n // 2  # in the second one's window
    return [(first, 2 * n - 2 * c - 1), (first + 1, 2 * c + 1)]


def fractional(reference: Array, vectors: Array, width: int, height: int) -> Array:
    x, y = vectors[..., 0], vectors[..., 1]
    rows, columns = np.indices(reference.shape)
    value = np.int32(32)
    for k in range(4):
        along = np.int32(4)
        for tap in range(4):
            pixel = on_sphere(reference, rows + (y >> 6) + k - 1, columns + (x >> 6) + tap - 1, width, height)
            along = along + taps()[x & 63, tap] * pixel
        value = value + taps()[y & 63, k] * (along >> 3)
    return value >> 6


def on_sphere(reference: Array, rows: Array, columns: Array, width: int, height: int) -> Array:
    rows = rows % (2 * height)
    beyond = rows >= height
    rows = np.where(beyond, 2 * height - 1 - rows, rows)
    return reference[rows, (columns + beyond * (width // 2)) % width]


def colours(planes: list[Array], width: int, height: int) -> Array:
    y, u, v = planes[0][:height, :width], *(enlarged(plane)[:height, :width] for plane in planes[1:])
    grey = y / (16 * math.sqrt(3)) + 128
    across, down = u / (256 * math.sqrt(2)), v / (256 * math.sqrt(6))
    picture = np.stack((grey + across + down, grey - 2 * down, grey - across + down), axis=-1)
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def enlarged(plane: Array) -> Array:
    """Twice the rows and columns, times 16."""
    rows, columns = plane.shape
    y, x = np.indices((2 * rows, 2 * columns))
    r, c = y // 2, x // 2
    beside_r, beside_c = np.clip(r + y % 2 * 2 - 1, 0, rows - 1), (c + x % 2 * 2 - 1) % columns
    return 9 * plane[r, c] + 3 * (plane[r, beside_c] + plane[beside_r, c]) + plane[beside_r, beside_c]
