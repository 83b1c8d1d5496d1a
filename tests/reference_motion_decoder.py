"""A second decoder of segments of nerv360-motion, from bytes to pictures, written from docs/motion-bitstream.md alone.

What bits are: reference_motion_bits.py; vectors: reference_motion_vectors.py; what becomes of bands and vectors:
reference_motion_pictures.py.
"""

import math
from collections import Counter
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
from reference_decoder import check, read_container
from reference_motion_bits import FILTERS_AT, Bits, State, priors
from reference_motion_filters import FILTERS, TILE, filtered, filters
from reference_motion_pictures import LEVELS, Array, Bands, colours, compensated, limited, painted
from reference_motion_vectors import Field, Node, Part, read_field


def decode(data: bytes) -> list[Array]:
    """The pictures of all frames, [height, width, 3], of two eyes in turn."""
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


class Known(NamedTuple):
    """What other keys need of a key."""

    key: Key
    state: State
    vectors: list[Array]  # of each reference: [rows, columns, 2], x and y in quarter pixels
    changes: dict[Node, int]  # M of the vectors, over all references
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


def of_eye(eye: int, key: Key, inter_view_levels: int) -> Key:
    """The key of an eye's picture, from that of its frame."""
    from_left = eye and key.level < inter_view_levels
    references = (2 * key.frame,) if from_left else tuple(2 * frame + eye for frame in key.references)
    return Key(2 * key.frame + eye, key.level, references)


def read_segment(width: int, height: int, frames: int, header: list[Any], chunks: list[bytes]) -> list[list[Array]]:
    """The planes of all pictures."""
    interval, groups, steps, _, levels, side = (*header[4:], None, None)[:6]
    pictures = 2 * frames if levels else frames
    check(sum(groups) == frames)
    keys: list[Key] = []
    for group, first in zip(groups, accumulate(groups, initial=0), strict=False):
        of_frames = key_order(group, interval, first)
        keys += [of_eye(eye, key, levels) for eye in (0, 1) for key in of_frames] if levels else of_frames
    sectors = sectors_of(width, height, side) if side else []
    check(sectors or len(chunks) == pictures)
    known: dict[int, Known] = {}
    for key, chunk, parts in zip(keys, *split_chunks(keys, chunks, sectors), strict=True):
        references = [known[frame] for frame in key.references]
        known[key.frame] = read_key(chunk, parts, sectors, key, references, steps[key.level], width, height)
    return [known[picture].planes for picture in range(pictures)]


class Sector(NamedTuple):
    """Pixels from top to bottom and from left to right, without the last."""

    top: int
    left: int
    bottom: int
    right: int

    def has(self, node: Node) -> bool:
        within = self.top <= 16 * node[0] < self.bottom and self.left <= 16 * node[1] < self.right
        return within and not on_base(node)

    def cut(self, band: Array, halvings: int) -> Array:
        rows, columns = (
            slice(self.top >> halvings, self.bottom >> halvings),
            slice(self.left >> halvings, self.right >> halvings),
        )
        return band[rows, columns]


def sectors_of(width: int, height: int, side: int) -> list[Sector]:
    check(side % 64 == 0)
    rows, columns = 16 * math.ceil(height / 16), 16 * math.ceil(width / 16)
    return [
        Sector(top, left, min(rows, top + side), min(columns, left + side))
        for top in range(0, rows, side)
        for left in range(0, columns, side)
    ]


def split_chunks(keys: list[Key], chunks: list[bytes], sectors: list[Sector]) -> tuple[list[bytes], list[list[bytes]]]:
    """The bytes of every key, and of its sectors."""
    if not sectors:
        return chunks, [[] for _ in keys]
    bases: list[bytes] = []
    parts: list[list[bytes]] = []
    rest = iter(chunks)
    spans: list[list[Key]] = []
    for key in keys:
        if not spans or key.level < 2 or spans[-1][-1].level < 2:
            spans.append([])
        spans[-1].append(key)
    for span in spans:
        bases += [next(rest) for _ in span]
        lengths, data = read_lengths(next(rest), span, sectors), next(rest)
        found: list[list[bytes]] = [[] for _ in span]
        for column in zip(*lengths, strict=True):
            together, data = data[: sum(column)], data[sum(column) :]
            for part, length in zip(found, column, strict=True):
                part.append(together[:length])
                together = together[length:]
        check(not data)
        parts += found
    check(next(rest, None) is None)
    return bases, parts


def read_lengths(data: bytes, span: list[Key], sectors: list[Sector]) -> list[list[int]]:
    """The bytes of the sectors of each key."""
    bits = Bits(data, State([32768] * 156, [0] * 156, []))
    lengths: list[list[int]] = []
    for index, key in enumerate(span):
        kind, here = len(key.references), list[int]()
        alike = [k for k in range(index) if len(span[k].references) == kind]
        for number, sector in enumerate(sectors):
            last = lengths[alike[-1]][number] if alike else 0
            west = sector.left > 0 and here[-1] > 0
            size = 0 if last == 0 else 1 if last < 32 else 2
            used = bits.simple(4 * kind + 2 * (last > 0) + west)
            here.append(1 + bits.golomb(12 + 16 * (3 * kind + size)) if used else 0)
        lengths.append(here)
    return lengths


def read_key(
    data: bytes,
    parts: list[bytes],
    sectors: list[Sector],
    key: Key,
    references: list[Known],
    step: int,
    width: int,
    height: int,
) -> Known:
    rows, columns = math.ceil(height / 16), math.ceil(width / 16)
    bits = Bits(data, initial_state(references))
    bases = inherited(key, references, np.zeros((rows, columns, 2), np.int64), sectors)
    nowhere = [Field({}, {}) for _ in references]
    motion = read_motion(bits, key, references, bases, nowhere, on_base if sectors else everywhere)
    bands: list[Bands] = []
    for plane in range(3):
        size = (16 * rows, 16 * columns) if plane == 0 else (8 * rows, 8 * columns)
        fields = vectors_of(key, references, bases, motion)
        if sectors:  # the motion of the base
            fields = [field[np.arange(rows)[:, None] // 4 * 4, np.arange(columns) // 4 * 4] for field in fields]
        bands.append(read_bands(bits, plane, size, bands, references, fields, 4 - (plane > 0) if sectors else 1))
    used = read_filters(bits, (16 * rows, 16 * columns))
    for part, sector in zip(parts, sectors, strict=True):
        apart = Bits(part, bits.state.of_sector()) if part else Nothing()
        found = read_motion(apart, key, references, bases, motion, sector.has)
        motion = [
            Field(field.added | more.added, field.magnitudes | more.magnitudes)
            for field, more in zip(motion, found, strict=True)
        ]
        read_fine_bands(apart, sector, bands, references, vectors_of(key, references, bases, motion))
        apart.check_end()
    fields = vectors_of(key, references, bases, motion)
    planes = []
    for plane in range(3):
        predicted = [
            compensated(each.planes[plane], field, plane, width, height)
            for each, field in zip(references, fields, strict=True)
        ]
        planes.append(painted(bands[plane], plane, step / 16, predicted))
    planes[0] = filtered(planes[0], used, filters()[len(references)], step)
    changes = sum((Counter(field.magnitudes) for field in motion), Counter[Node]())
    return Known(key, bits.state, fields, {node: min(255, change) for node, change in changes.items()}, bands, planes)


class Nothing(Bits):
    """What an empty sector is read from: every bit is 0."""

    def __init__(self) -> None:
        self.state = priors()[0].copy()

    def bit(self, p: int) -> int:
        return 0

    def check_end(self) -> None:
        """There is none."""


def everywhere(node: Node) -> bool:
    return True


def on_base(node: Node) -> bool:
    return node[0] % 4 == node[1] % 4 == 0


def read_filters(bits: Bits, size: tuple[int, ...]) -> Array:
    """The filter of each tile, 0 for none."""
    rows, columns = (math.ceil(side / TILE) for side in size)
    found = np.zeros((1 + rows, 1 + columns), int)  # with what is not there, north and west
    for y, x in np.ndindex(rows, columns):
        place = (1 + y, 1 + x)
        first = FILTERS_AT + 20 * found[1 + y, x] + 4 * found[y, 1 + x]
        while found[place] < FILTERS and bits.simple(first + found[place]):
            found[place] += 1
    return found[1:, 1:]


def read_motion(
    bits: Bits, key: Key, references: list[Known], bases: list[Array], known: list[Field], part: Part
) -> list[Field]:
    """The added vectors of a part to each reference, beside those that are known."""
    found: list[Field] = []
    along = Counter[Node]()
    for reference in references:
        along.update(reference.changes)
    for index, field in enumerate(known):
        base = bases[index]
        if index:
            base = limited(base + mirrored(key, references, dense(found[0], base)))
        use = index if len(references) == 1 else index + 1
        first = found[0].magnitudes if index else {}
        beside = field if part is everywhere else Field(*({n: each[n] for n in each if on_base(n)} for each in field))
        found.append(read_field(bits, use, first, along, base, beside, part))
    return found


def dense(field: Field, base: Array) -> Array:
    """Added vectors [rows, columns, 2], 0 where they are not read."""
    found = np.zeros_like(base)
    for node, vector in field.added.items():
        found[node] = vector
    return found


def vectors_of(key: Key, references: list[Known], bases: list[Array], motion: list[Field]) -> list[Array]:
    """The vectors to each reference, where they are read."""
    fields: list[Array] = []
    for index, (base, field) in enumerate(zip(bases, motion, strict=True)):
        if index:
            base = limited(base + mirrored(key, references, dense(motion[0], base)))
        fields.append(limited(base + dense(field, base)))
    return fields


def initial_state(references: list[Known]) -> State:
    same = [known for known in references if len(known.key.references) == len(references)]
    if same:
        return max(same, key=lambda known: known.key.level).state.copy()  # the first of equal ones
    return priors()[len(references)].copy()


# Motion


def scaled(a: Array, b: int, c: int) -> Array:
    """s(a, b, c)."""
    return (2 * a * b + c) // (2 * c) if c > 0 else (-2 * a * b - c) // (-2 * c)


def mirrored(key: Key, references: list[Known], added: Array) -> Array:
    """What the vectors added for the first reference say of the second's."""
    first, second = (each.key.frame - key.frame for each in references)
    return added * round(256 * second / first) + 128 >> 8


def inherited(key: Key, references: list[Known], nothing: Array, sectors: list[Sector]) -> list[Array]:
    if len(references) == 1:
        g = references[0].key
        if len(g.references) == 1 and (key.frame - g.frame) * (g.frame - g.references[0]) > 0:
            return [limited(scaled(references[0].vectors[0], g.frame - key.frame, g.references[0] - g.frame))]
    if len(references) == 2:
        a, b = references
        if a.key.frame in b.key.references:
            return from_reference(key, b, a, sectors)[::-1]
        if b.key.frame in a.key.references:
            return from_reference(key, a, b, sectors)
    return [nothing for _ in references]


def from_reference(key: Key, e: Known, g: Known, sectors: list[Sector]) -> list[Array]:
    """The vectors to e and to g, by those from e to g."""
    vectors = e.vectors[e.key.references.index(g.key.frame)]
    now, whole = key.frame - g.key.frame, e.key.frame - g.key.frame
    rows, columns, _ = vectors.shape
    i, j = np.indices((rows, columns))
    n = scaled(vectors, now, whole) - vectors
    moved = (n + 32) // 64
    row, column = np.clip(i + moved[..., 1], 0, rows - 1), (j + moved[..., 0]) % columns
    if sectors:
        part = np.zeros((rows, columns), int)
        for number, sector in enumerate(sectors, start=1):
            part[sector.top // 16 : sector.bottom // 16, sector.left // 16 : sector.right // 16] = number
        part[::4, ::4] = 0
        far = 4 * ((n + 128) // 256)
        coarse = np.clip(i + far[..., 1], 0, (rows - 1) // 4 * 4), (j + far[..., 0]) % columns // 4 * 4
        row, column = (np.where(part == 0, wide, near) for wide, near in zip(coarse, (row, column), strict=True))
        strange = (part[row, column] > 0) & (part[row, column] != part)
        row, column = np.where(strange, i, row), np.where(strange, j, column)
    there = vectors[row, column]
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


def read_bands(
    bits: Bits,
    plane: int,
    size: tuple[int, int],
    planes: list[Bands],
    references: list[Known],
    fields: list[Array],
    finest: int,
) -> Bands:
    """The bands of a plane down to a level; finer ones are 0."""
    bands: Bands = {}
    for level, number, shape in shapes(size, LEVELS[plane]):
        if level < finest:
            bands[level, number] = np.zeros(shape, np.int32)
            continue
        if number == 0 and not references:
            bands[level, 0] = read_average(bits, 29184 + 80 * plane, shape)
            continue
        times = [
            (known.bands[plane][level, number], field)
            for known, field in zip(references, fields, strict=True)
            if known.key.references
        ]
        neighbours = Neighbours(
            bands.get((level + 1, number)) if number else None,
            [bands[level, sibling] for sibling in range(1, number)],
            colour_of(plane, level, number, planes),
            [band for band, _ in times],
            [moved(band, field, level + (plane > 0)) for band, field in times],
        )
        bands[level, number] = read_band(bits, kind_of(plane, level, number), number, shape, neighbours, shape[0] >= 16)
    return bands


def kind_of(plane: int, level: int, number: int) -> int:
    return 16 * plane + (3 * (level - 1) + number - 1 if number else 15)


def read_fine_bands(
    bits: Bits, sector: Sector, planes: list[Bands], references: list[Known], fields: list[Array]
) -> None:
    """The bands of a sector, which knows of nothing beyond it."""
    for plane, bands in enumerate(planes):
        for level in range(3 - (plane > 0), 0, -1):
            for number in (1, 2, 3):
                k = level + (plane > 0)
                times = [
                    (sector.cut(known.bands[plane][level, number], k), field)
                    for known, field in zip(references, fields, strict=True)
                    if known.key.references
                ]
                neighbours = Neighbours(
                    sector.cut(bands[level + 1, number], k + 1),
                    [sector.cut(bands[level, sibling], k) for sibling in range(1, number)],
                    [sector.cut(each, k) for each in colour_of(plane, level, number, planes)],
                    [band for band, _ in times],
                    [moved(band, field, k, sector) for band, field in times],
                )
                here, in_blocks = sector.cut(bands[level, number], k), len(bands[level, number]) >= 16
                kind = kind_of(plane, level, number)
                here[:] = read_band(bits, kind, number, here.shape, neighbours, in_blocks, goes_round=False)


class Neighbours(NamedTuple):
    parent: Array | None
    siblings: list[Array]
    colour: list[Array]  # none or one
    times: list[Array]  # before and behind
    moved: list[Array]  # X of these where vectors lead

    def for_signs(self) -> tuple[Array | None, ...]:
        """Colour, parent, band 1, band 2."""
        colour, first, second = (*self.colour, None)[0], *(*self.siblings, None, None)[:2]
        return colour, self.parent, first, second


def colour_of(plane: int, level: int, number: int, planes: list[Bands]) -> list[Array]:
    """What a plane's bands see of the plane before."""
    if plane == 0 or (plane == 1 and number == 0):
        return []
    return [planes[plane - 1][level + (plane == 1), number]]


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


def read_band(
    bits: Bits,
    kind: int,
    number: int,
    shape: tuple[int, ...],
    neighbours: Neighbours,
    in_blocks: bool,
    goes_round: bool = True,
) -> Array:
    rows, columns = shape
    coded = np.ones(shape, bool)
    if in_blocks:
        coded = np.kron(read_blocks(bits, kind, shape, neighbours), np.ones((8, 8), bool))[:rows, :columns]
    nothing = np.zeros(shape, np.int32)
    parent = nothing if neighbours.parent is None else neighbours.parent
    above, wide = (
        np.kron(each, np.ones((2, 2), np.int32))[:rows, :columns] for each in (abs(parent), crossed(parent, goes_round))
    )
    other = sum((crossed(each, goes_round) for each in neighbours.siblings + neighbours.colour), nothing)
    time = sum(neighbours.moved, nothing)
    signs = Signs(*(signs_of(each, shape) for each in neighbours.for_signs()))
    known = (each.tolist() for each in (above, wide, other, time))
    band = Band(kind, number, goes_round, coded.tolist(), signs, *known)
    return np.array(band.read(bits, rows, columns), np.int32)


def signs_of(band: Array | None, shape: tuple[int, ...]) -> list[list[int]]:
    """Signs of a neighbour at all places of a band, which may be twice as large."""
    if band is None:
        return []
    scale = shape[0] // band.shape[0]
    found: list[list[int]] = np.kron(np.sign(band) + 1, np.ones((scale, scale), np.int32)).tolist()
    return found


def crossed(band: Array, goes_round: bool = True) -> Array:
    """X of a whole band, or of a sector."""
    if not goes_round:
        return crossed(np.pad(band, ((0, 0), (1, 1))))[:, 1:-1]
    m = abs(band)
    beyond = np.pad(m, ((1, 1), (0, 0)))
    return 2 * m + np.roll(m, 1, axis=1) + np.roll(m, -1, axis=1) + beyond[:-2] + beyond[2:]


def moved(band: Array, field: Array, s: int, sector: Sector | None = None) -> Array:
    """X of a reference's band at where the vectors of the nodes around the middles of blocks lead."""
    rows, columns = band.shape
    y, x = np.indices(band.shape)
    top, left = (sector.top >> s, sector.left >> s) if sector else (0, 0)
    i, j = ((8 * (each // 8) + 4 + first << s) // 16 for each, first in ((y, top), (x, left)))
    v = field[np.minimum(i, len(field) - 1), np.minimum(j, len(field[0]) - 1)]
    right, down = (v[..., axis] + 2 ** (s + 1) >> s + 2 for axis in (0, 1))
    if sector:  # two columns more on either side
        wide = np.pad(crossed(np.pad(band, 1)), 1)
        return np.asarray(wide[np.clip(y + down + 2, 0, rows + 3), np.clip(x + right + 2, 0, columns + 3)])
    beyond = np.pad(crossed(np.pad(band, ((1, 1), (0, 0)))), ((1, 1), (0, 0)))  # two rows more on either side
    return np.asarray(beyond[np.clip(y + down + 2, 0, rows + 3), (x + right) % columns])


def block_sums(bands: list[Array], side: int, shape: tuple[int, ...]) -> list[list[int]]:
    """Sums of magnitudes over blocks of so many rows and columns."""
    sums = np.zeros((math.ceil(shape[0] / 8), math.ceil(shape[1] / 8)), np.int64)
    for band in bands:
        down = np.add.reduceat(abs(band), range(0, band.shape[0], side), axis=0)
        sums += np.add.reduceat(down, range(0, band.shape[1], side), axis=1)
    return sums.tolist()


def read_blocks(bits: Bits, kind: int, shape: tuple[int, ...], neighbours: Neighbours) -> Array:
    above = block_sums([] if neighbours.parent is None else [neighbours.parent], 4, shape)
    other = block_sums(neighbours.siblings[:1] + neighbours.colour, 8, shape)
    time = block_sums(neighbours.times, 8, shape)
    flags = np.zeros((len(above), len(above[0])), bool)
    for i, j in np.ndindex(flags.shape):
        beside = np.pad(flags, 1).astype(int)
        w, n, e = int(beside[i + 1, j]), int(beside[i, j + 1]), int(beside[i, j + 2])
        f_above, f_other, f_time = (few(a[i][j]) for a in (above, other, time))
        g = 26112 + 64 * kind
        flags[i, j] = bits.mixed(
            480 + kind,
            528 + (kind & ~15) + 4 * f_time + f_above,
            g + (w + 2 * n + e) * 4 + f_above,
            g + 20 + 4 * f_time + f_above,
            g + 40 + 4 * f_other + w + n + e,
        )
    return flags


class Signs(NamedTuple):
    """0, 1 or 2 at every place of the neighbours of a band; empty where there is none."""

    colour: list[list[int]]
    parent: list[list[int]]
    first: list[list[int]]  # band 1, where it is a sibling
    second: list[list[int]]


class Band(NamedTuple):
    """What is known of a band before its coefficients; all of [rows][columns]."""

    kind: int
    number: int
    goes_round: bool
    coded: list[list[bool]]
    signs: Signs
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
            if not self.goes_round:
                return abs(row[x + right]) if 0 <= x + right < len(row) else 0
            return abs(row[(x + right) % len(row)]) if abs(right) <= len(row) else 0

        west, west2 = m(0, -1) if x > 0 else 0, m(0, -2) if x > 1 else 0
        north, north2, corners = m(1, 0), m(2, 0), m(1, -1) + m(1, 1)
        near = 2 * (west + north) + corners
        along = (west + north + corners, west + 2 * north + north2, 2 * west + north + west2)[self.number % 3]
        far = north2 + west2 + corners + m(2, -1) + m(2, 1) + m(1, -2) + m(1, 2)
        above, wide, other, time = (each[y][x] for each in (self.above, self.wide, self.other, self.time))
        total = near + along + wide + other + time
        z, y_context, u = 384 * self.kind, 18432 + 96 * self.kind, 23040 + 64 * self.kind
        if not bits.mixed(
            8 * self.kind + few(near),
            8 * self.kind + 4 + few((time + wide) // 2),
            z + 5 * g(near) + min(4, above),
            z + 64 + 8 * min(6, g(other)) + h(along),
            z + 128 + 8 * h(time) + h(west + north),
            z + 192 + 8 * h(far) + h(near),
            z + 256 + min(63, total if total < 24 else 24 + (total - 24) // 4),
            z + 320 + 8 * h(wide) + h(other),
        ):
            return 0
        negative, magnitude = self.read_sign(bits, found, y, x), 1
        if bits.mixed(
            384 + self.kind,
            432 + (self.kind & ~15) + min(15, near // 2),
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

    def read_sign(self, bits: Bits, found: list[list[int]], y: int, x: int) -> int:
        def s(up: int, left: int) -> int:
            row = found[y - up]
            return sign(row[x - left]) if 0 <= x - left < len(row) else 1

        colour, above, first, second = (each[y][x] if each else 1 for each in self.signs)
        colour = colour if self.signs.colour else s(0, 2)
        j = 33072 + 144 * (self.kind - 16 * (self.kind >= 32))
        return bits.mixed(
            576 + self.kind,
            624 + (self.kind & ~15) + 3 * colour + above,
            j + 9 * colour + 3 * s(1, 0) + s(0, 1),
            j + 36 + 9 * s(1, 0) + 3 * s(1, 1) + s(1, -1),
            j + 72 + 18 * (y & 1) + 9 * (x & 1) + 3 * above + s(0, 1),
            j + 108 + 9 * first + 3 * second + s(2, 0),
        )


def sign(value: int) -> int:
    return (value > 0) - (value < 0) + 1


def few(a: int) -> int:
    return min(a, 2) if a < 4 else 3


def g(a: int) -> int:
    return a if a < 5 else 5 + sum(a >= limit for limit in (7, 9, 13, 19, 29))


def h(a: int) -> int:
    return min(7, g(a))
