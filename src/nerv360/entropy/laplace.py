"""Probability tables: Laplace distributions with heavy tails, as integer frequencies (docs/bitstream.md, "Classes").

A model is a scale and the position of the mean between two integers. Its table takes only products of doubles in a
fixed order, so it is the same on every machine.
"""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "FRACTIONS",
    "INVERSE_TAIL_WEIGHT",
    "MAX_SYMBOL",
    "SCALES",
    "SCALES_PER_OCTAVE",
    "TAIL_SCALE_STEPS",
    "TOTAL_BITS",
    "UNIT_SCALE",
    "best_scale",
    "frequencies",
    "model_index",
]

SCALES, SCALES_PER_OCTAVE, UNIT_SCALE = 40, 4, 18  # scale b = 2^((s - 18) / 4)
FRACTIONS = 8  # positions of the mean: (f - 4) / 8 from the middle symbol
MAX_SYMBOL = 255  # symbols -MAX_SYMBOL..MAX_SYMBOL; the outermost are escapes
TOTAL_BITS = 24
# a mixture: 1 / 32 of the mass follows the distribution whose scale index is 8 greater
TAIL_SCALE_STEPS, INVERSE_TAIL_WEIGHT = 8, 32

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


def model_index(scale: Any, fraction: Any = FRACTIONS // 2) -> Any:
    """Index of a model, or an array of indices; by default the mean is 0."""
    return scale * FRACTIONS + fraction


def best_scale(symbols: NDArray[np.int32]) -> int:
    """Scale index at which these symbols, of mean 0, take the fewest bits."""
    clipped = np.clip(symbols, -MAX_SYMBOL, MAX_SYMBOL).ravel() + MAX_SYMBOL
    occurrences = np.bincount(clipped, minlength=2 * MAX_SYMBOL + 1)
    return int(np.argmax([occurrences @ np.log2(frequencies(model_index(scale))) for scale in range(SCALES)]))


def frequencies(model: int) -> NDArray[np.int64]:
    """Frequencies of the symbols -MAX_SYMBOL..MAX_SYMBOL under a model: at least 1 each, 2^TOTAL_BITS in all."""
    return _tables()[model]


@cache
def _tables() -> NDArray[np.int64]:
    """Frequencies of all models [SCALES * FRACTIONS, 2 * MAX_SYMBOL + 1]."""
    decay = np.array(_DECAYS)[:, None] / 2**32  # over an eighth
    ratio = decay * decay
    ratio *= ratio
    ratio *= ratio  # over a whole step
    spare = float((1 << TOTAL_BITS) - (2 * MAX_SYMBOL + 1))
    nearest = _powers(np.full((SCALES, 1), 0.5 * spare), decay, FRACTIONS)  # at 0..FRACTIONS eighths
    tails = _powers(nearest[..., None], ratio[..., None], MAX_SYMBOL - 1)
    tails[..., :-1] *= 1 - ratio[..., None]
    narrow = tails.astype(np.int64)  # [SCALES, FRACTIONS + 1, MAX_SYMBOL]
    tail_scales = np.minimum(np.arange(1, SCALES) + TAIL_SCALE_STEPS, SCALES - 1)
    wide = narrow[[0, *tail_scales]]  # the least scale, for what is certain, has no heavy tail
    sides = 1 + ((INVERSE_TAIL_WEIGHT - 1) * narrow + wide) // INVERSE_TAIL_WEIGHT
    below, above = sides[:, :-1, ::-1], sides[:, :0:-1]
    middle = (1 << TOTAL_BITS) - below.sum(axis=-1, keepdims=True) - above.sum(axis=-1, keepdims=True)
    return np.concatenate((below, middle, above), axis=-1).reshape(-1, 2 * MAX_SYMBOL + 1)


def _powers(start: NDArray[np.float64], factor: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """start * factor^n for n in 0..count, multiplied one by one [..., 1 + count]."""
    factors = np.broadcast_to(factor, (*start.shape[:-1], count))
    return np.multiply.accumulate(np.concatenate((start, factors), axis=-1), axis=-1)
