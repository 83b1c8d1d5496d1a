"""The order in which a grid's integers are coded, and the neighbours known by then (docs/bitstream.md, "Contexts").

A grid is coded in ten turns: every eighth cell of every eighth row, then what lies between, ever finer. All cells of a
turn are coded at once, whatever the key and the channel, for none of them looks at another.
"""

from dataclasses import dataclass
from itertools import product

__all__ = ["MARGIN", "PLACES", "Place", "other_keys", "references"]

Offset = tuple[int, int]  # rows down, columns to the right


@dataclass(frozen=True)
class Place:
    """The cells (row + i spacing, column + j spacing), and where their neighbours lie."""

    row: int
    column: int
    spacing: int
    near: tuple[Offset, ...]
    far: tuple[Offset, ...]


def _places() -> tuple[Place, ...]:
    places = [Place(0, 0, 8, (), ())]
    for d in (4, 2, 1):
        corners = tuple(product((-d, d), (-d, d)))
        sides = ((0, -d), (0, d), (-d, 0), (d, 0))
        ring = tuple(product((-3 * d, 3 * d), (-d, d))) + tuple(product((-d, d), (-3 * d, 3 * d)))
        knights = tuple(product((-2 * d, 2 * d), (-d, d))) + tuple(product((-d, d), (-2 * d, 2 * d)))
        places += [
            Place(d, d, 2 * d, corners, ring),
            Place(0, d, 2 * d, sides, knights),
            Place(d, 0, 2 * d, sides, corners),
        ]
    return tuple(places)


PLACES = _places()
MARGIN = max(abs(step) for place in PLACES for offset in place.near + place.far for step in offset)


def references(keys: int) -> list[tuple[int, int | None, int | None]]:
    """The order of a chunk's keys: each with the keys before and behind it that are known by then.

    The first key, then the one in the middle, then those in the middle between two, as far as there are any.
    """
    order: list[tuple[int, int | None, int | None]] = [(0, None, None)]
    step = 1 << max(0, keys - 1).bit_length() >> 1
    while step:
        order += [(key, key - step, key + step if key + step < keys else None) for key in range(step, keys, 2 * step)]
        step >>= 1
    return order


def other_keys(before: int | None, behind: int | None) -> list[int]:
    """The two keys that foretell one of `references`: the same twice where there is but one, none for the first."""
    return [] if before is None else [before, before if behind is None else behind]
