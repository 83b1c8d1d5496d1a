"""Order in which the integers of a grid are coded, and the causal context of each (docs/bitstream.md, "Contexts").

A grid is coded in ten passes, from coarse to fine: every eighth cell of every eighth row, then the cells between. All
cells of a pass are coded at once, whatever the key and the channel, for none is context of another.
"""

from dataclasses import dataclass
from itertools import product

__all__ = ["CODING_PASSES", "MARGIN", "CodingPass", "key_coding_order", "reference_keys"]

Offset = tuple[int, int]  # rows down, columns to the right


@dataclass(frozen=True)
class CodingPass:
    """The cells (row + i spacing, column + j spacing), and the offsets of their near and far context."""

    row: int
    column: int
    spacing: int
    near: tuple[Offset, ...]
    far: tuple[Offset, ...]


def _coding_passes() -> tuple[CodingPass, ...]:
    passes = [CodingPass(0, 0, 8, (), ())]
    for d in (4, 2, 1):
        corners = tuple(product((-d, d), (-d, d)))
        sides = ((0, -d), (0, d), (-d, 0), (d, 0))
        ring = tuple(product((-3 * d, 3 * d), (-d, d))) + tuple(product((-d, d), (-3 * d, 3 * d)))
        knights = tuple(product((-2 * d, 2 * d), (-d, d))) + tuple(product((-d, d), (-2 * d, 2 * d)))
        passes += [
            CodingPass(d, d, 2 * d, corners, ring),
            CodingPass(0, d, 2 * d, sides, knights),
            CodingPass(d, 0, 2 * d, sides, corners),
        ]
    return tuple(passes)


CODING_PASSES = _coding_passes()
MARGIN = max(abs(step) for each in CODING_PASSES for offset in each.near + each.far for step in offset)


def key_coding_order(keys: int) -> list[tuple[int, int | None, int | None]]:
    """Hierarchical order of the keys of a group: each key with its reference pair, the coded keys before and after it.

    The first key, then the one in the middle, then those in the middle between two, as far as there are any.
    """
    order: list[tuple[int, int | None, int | None]] = [(0, None, None)]
    step = 1 << max(0, keys - 1).bit_length() >> 1
    while step:
        order += [(key, key - step, key + step if key + step < keys else None) for key in range(step, keys, 2 * step)]
        step >>= 1
    return order


def reference_keys(before: int | None, after: int | None) -> list[int]:
    """The two keys that predict a key, given its reference pair: the same twice if there is one, none for the first."""
    return [] if before is None else [before, before if after is None else after]
