"""Vectors of nerv360-motion from bits, as docs/motion-bitstream.md has them: means, merges and what neither says."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from reference_motion_bits import Bits
from reference_motion_pictures import Array, limited

Node = tuple[int, int]  # row, column
Vector = tuple[int, int]  # x and y in quarter pixels


Part = Callable[[Node], bool]  # which nodes it has


class Field(NamedTuple):
    """What was read of the motion to a reference."""

    added: dict[Node, Vector]
    magnitudes: dict[Node, int]  # of added vectors beside their means


class Motion(NamedTuple):
    """What the vectors of a reference are read beside, and what was read of them."""

    use: int  # 0: the only reference, 1: the first of two, 2: the second
    first: dict[Node, int]  # magnitudes of the first reference
    along: dict[Node, int]  # of the key's references, each over its own references
    base: dict[Node, Vector]
    added: dict[Node, Vector]
    magnitudes: dict[Node, int]  # of added vectors beside their means


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
    """The predictors of a node, in their order, and the others at this distance."""
    i, j = node
    if kind == 0:
        return [(i, j - 8), (i - 8, j)], []
    corners = [(i - d, j - d), (i + d, j - d), (i - d, j + d), (i + d, j + d)]
    sides = [(i, j - d), (i, j + d), (i - d, j), (i + d, j)]
    return (corners, sides) if kind == 1 else (sides, corners)


def read_field(
    bits: Bits, use: int, first: dict[Node, int], along: dict[Node, int], base: Array, known: "Field", part: Part
) -> "Field":
    """The added vectors of a part to a reference, beside those of the base, and their magnitudes M."""
    rows, columns, _ = base.shape
    bases = {(i, j): (int(base[i, j, 0]), int(base[i, j, 1])) for i, j in np.ndindex(rows, columns)}
    motion = Motion(use, first, along, bases, dict(known.added), dict(known.magnitudes))
    for node, kind, d in nodes(rows, columns):
        if part(node):
            read_added(bits, motion, node, kind, d)
    return Field(motion.added, motion.magnitudes)


class Merge(NamedTuple):
    vector: Vector
    origin: int
    votes: int


class Place(NamedTuple):
    """What the contexts of a node depend on."""

    b: int
    mixer: int
    v: int
    near: int  # grades o of sums of M
    first: int
    wide: int
    along: int
    of_added: int  # merges of origin 0, at most 3

    @property
    def p(self) -> int:
        return min(3, self.near // 2)


def read_added(bits: Bits, motion: Motion, node: Node, kind: int, d: int) -> None:
    """Read the added vector of a node, and how far it is from the mean."""
    predictors, others = around(node, kind, d)
    there = [each for each in predictors if each in motion.added]
    mean = mean_of([motion.added[each] for each in there])
    merges = merges_of(motion, node, there, mean)
    near, far = (sum(motion.magnitudes.get(each, 0) for each in some) for some in (predictors, others))
    v = {8: 0, 4: 1, 2: 2, 1: 3}[d] if kind else 0
    grades = (octave(a) for a in (near, motion.first.get(node, 0), near + far, motion.along.get(node, 0)))
    of_added = min(3, sum(merge.origin == 0 for merge in merges))
    place = Place(29424 + 1216 * motion.use, 672 + 40 * motion.use, v, *grades, of_added)
    x, y = motion.added[node] = read_vector(bits, place, mean, merges)
    motion.magnitudes[node] = min(255, abs(x - mean[0]) + abs(y - mean[1]))


def octave(a: int) -> int:
    """The grade o(a)."""
    return a if a < 3 else 3 + sum(a >= limit for limit in (5, 9, 17, 40))


def mean_of(vectors: list[Vector]) -> Vector:
    count = len(vectors)
    if not count:
        return 0, 0
    x, y = ((2 * sum(vector[axis] for vector in vectors) + count) // (2 * count) for axis in (0, 1))
    return x, y


def merges_of(motion: Motion, node: Node, there: list[Node], mean: Vector) -> list[Merge]:
    base = motion.base[node]
    offers = [(0, motion.added[each]) for each in there]
    offers += [(1, less(plus(motion.base[each], motion.added[each]), base)) for each in there]
    offers += [(2, less((0, 0), base)), (3, (0, 0))]
    found: dict[Vector, Merge] = {}
    for origin, vector in offers:
        before = found.get(vector, Merge(vector, origin, 0))
        found[vector] = before._replace(votes=before.votes + 1)
    found.pop(mean, None)
    return list(found.values())


def plus(a: Vector, b: Vector) -> Vector:
    return int(limited(a[0] + b[0])), int(limited(a[1] + b[1]))


def less(a: Vector, b: Vector) -> Vector:
    return int(limited(a[0] - b[0])), int(limited(a[1] - b[1]))


def read_vector(bits: Bits, place: Place, mean: Vector, merges: list[Merge]) -> Vector:
    b, mixer, v, near, first, wide, along, r = place
    if not bits.mixed(
        mixer + v,
        mixer + 4 + 3 * r + min(2, near),
        b + 4 * (8 * v + near) + r,
        b + 128 + 4 * (4 * first + v) + r,
        b + 256 + 4 * (4 * wide + r) + min(3, along),
        b + 384 + 4 * (4 * along + v) + r,
    ):
        return mean
    if merges and bits.mixed(
        mixer + 16 + v,
        mixer + 20 + r,
        b + 512 + 4 * (4 * v + place.p) + min(3, len(merges) - 1),
        b + 576 + 4 * first + r,
        b + 608 + 4 * wide + min(3, along),
    ):
        return read_merge(bits, place, mean, merges).vector
    x = read_size(bits, place) if bits.simple(b + 944 + v) else 0
    y = read_size(bits, place) if x == 0 or bits.simple(b + 948 + 4 * min(2, abs(x)) + v) else 0
    return plus(mean, (x, y))


def read_merge(bits: Bits, place: Place, mean: Vector, merges: list[Merge]) -> Merge:
    for k, merge in enumerate(merges[:-1]):
        a, e = min(3, k), 3 * merge.origin + min(3, merge.votes) - 1
        off = sum(abs(merge.vector[axis] - mean[axis]) for axis in (0, 1))
        if bits.mixed(
            place.mixer + 24 + e,
            place.mixer + 36 + place.v,
            place.b + 640 + 4 * e + a,
            place.b + 688 + 4 * (4 * min(7, len(merges) - k - 1) + a) + place.v,
            place.b + 816 + 4 * (4 * octave(off // 4) + merge.origin) + a,
        ):
            return merge
    return merges[-1]


def read_size(bits: Bits, place: Place) -> int:
    negative = bits.plain()
    magnitude = 1 + bits.golomb(place.b + 960 + 16 * (4 * place.v + place.p))
    return -magnitude if negative else magnitude
