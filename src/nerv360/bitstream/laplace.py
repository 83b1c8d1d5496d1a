"""Laplace distributions with wide tails, as tables of integers (docs/bitstream.md, "Classes").

A class is a scale and the place of the mean between two integers. Its table is made with nothing but products of
doubles in a fixed order, so it is the same on every machine.
"""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "FRACTIONS",
    "REACH",
    "SCALES",
    "SCALES_PER_OCTAVE",
    "TOTAL_BITS",
    "UNIT_SCALE",
    "WIDE",
    "WIDE_PART",
    "best_scale",
    "class_of",
    "counts",
]

SCALES, SCALES_PER_OCTAVE, UNIT_SCALE = 40, 4, 18  # scale b = 2^((s - 18) / 4)
FRACTIONS = 8  # the mean lies (f - 4) / 8 beside the middle symbol
REACH = 255  # symbols -REACH..REACH; the outermost stand for all beyond
TOTAL_BITS = 24
WIDE, WIDE_PART = 8, 32  # one in so many follows the distribution of the scale that is so many greater

# round(2^32 exp(-1 / (8 b))) of every scale: numbers, for exponentials differ between machines
# fmt: off
_DECAYS = (
    253857248, 398132550, 581260615, 799036310, 1044178424, 1307656790, 1580030169, 1852521207,
    2117713904, 2369882518, 2605029347, 2820730047, 3015876649, 3190386796, 3344923893, 3480652712,
    3599040369, 3701703250, 3790295335, 3866431115, 3931635878, 3987316692, 4034748382, 4075069962,
    4109287957, 4138284039, 4162825044, 4183574096, 4201101925, 4215897841, 4228380000, 4238904802,
    4247775344, 4255248918, 4261543595, 4266843974, 4271306145, 4275061981, 4278222805, 4280882540,
)
# fmt: on


def class_of(scale: Any, fraction: Any = FRACTIONS // 2) -> Any:
    """The number of a class, or an array of numbers; by default the mean is 0."""
    return scale * FRACTIONS + fraction


def best_scale(symbols: NDArray[np.int32]) -> int:
    """The scale at which these symbols, with the mean 0, take the fewest bits."""
    occurrences = np.bincount(np.clip(symbols, -REACH, REACH).ravel() + REACH, minlength=2 * REACH + 1)
    return int(np.argmax([occurrences @ np.log2(counts(class_of(scale))) for scale in range(SCALES)]))


def counts(number: int) -> NDArray[np.int64]:
    """How often each symbol -REACH..REACH of a class occurs, out of 2^TOTAL_BITS; every count is at least 1."""
    return _tables()[number]


@cache
def _tables() -> NDArray[np.int64]:
    """The counts of all classes [SCALES * FRACTIONS, 2 * REACH + 1]."""
    decay = np.array(_DECAYS)[:, None] / 2**32  # over an eighth
    ratio = decay * decay
    ratio *= ratio
    ratio *= ratio  # over a whole step
    spare = float((1 << TOTAL_BITS) - (2 * REACH + 1))
    nearest = _powers(np.full((SCALES, 1), 0.5 * spare), decay, FRACTIONS)  # at 0..FRACTIONS eighths
    tails = _powers(nearest[..., None], ratio[..., None], REACH - 1)
    tails[..., :-1] *= 1 - ratio[..., None]
    narrow = tails.astype(np.int64)  # [SCALES, FRACTIONS + 1, REACH]
    wide = narrow[[0, *np.minimum(np.arange(1, SCALES) + WIDE, SCALES - 1)]]  # the least is for what is certain
    sides = 1 + ((WIDE_PART - 1) * narrow + wide) // WIDE_PART
    below, above = sides[:, :-1, ::-1], sides[:, :0:-1]
    middle = (1 << TOTAL_BITS) - below.sum(axis=-1, keepdims=True) - above.sum(axis=-1, keepdims=True)
    return np.concatenate((below, middle, above), axis=-1).reshape(-1, 2 * REACH + 1)


def _powers(start: NDArray[np.float64], factor: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """A number [..., 1], and what it becomes by so many multiplications with a factor, one by one [..., 1 + count]."""
    factors = np.broadcast_to(factor, (*start.shape[:-1], count))
    return np.multiply.accumulate(np.concatenate((start, factors), axis=-1), axis=-1)
