"""What suits a clip, found by trying: the interval between P keys, how steps grow, how strongly frames are filtered."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from nerv360.codec.target_search import DB_PER_E, Outcome
from nerv360.motion.encoder import Tuning

__all__ = ["WIDEST_INTERVAL", "tune"]

LARGER_STEP = 1.25  # beside which quality and size are compared
LEAST_DB = 0.1  # by which quality differs then, at least
MOST_LOST = 0.01  # of the bytes, for views or for panoramas, where the other gains
WAYS: dict[str, tuple[tuple[Any, ...], tuple[Any, ...]]] = {  # up, and down where that gains nothing
    "interval": ((8, 16), (2,)),
    "growth_p": ((2.3,), (1.4,)),
    "growth_b": ((1.65,), (1.35,)),
    "filtering": ((2.0,), (0.0,)),
}
WAYS_OF_TWO_EYES: dict[str, tuple[tuple[Any, ...], tuple[Any, ...]]] = {"inter_view_levels": ((2, 16), ())}
TRIED_FIRST = ("inter_view_levels", "interval")  # and alone, with little effort
WIDEST_INTERVAL = max(WAYS["interval"][0])

Attempt = Callable[[Tuning, float], Outcome]  # of a tuning, and a factor on the step


def tune(effort: int, attempt: Attempt, eyes: int = 1) -> tuple[Tuning, float]:
    """The best of what is tried, and the factor on the step with which quality stays what it is without tuning.

    Best are the fewest bytes at equal quality, the mean of views and panoramas, neither of which may lose. Without
    effort nothing is tried; with 1, intervals, and of two eyes prediction from one to the other; with more, the rest
    too, again and again. Each way is gone as far as it gains.
    """
    best = Tuning()
    if not effort:
        return best, 1.0
    plain, coarse = attempt(best, 1.0), attempt(best, LARGER_STEP)
    saved = max(0.0, math.log(plain.size / coarse.size))
    per_db = [saved / max(LEAST_DB, lost) for lost in _gains(coarse, plain)]

    def costs(outcome: Outcome) -> list[float]:
        """Logarithms of bytes at equal quality, of views and of panoramas, beside those without tuning."""
        gains = zip(per_db, _gains(plain, outcome), strict=True)
        return [math.log(outcome.size / plain.size) - each * gain for each, gain in gains]

    def better(tried: Outcome, best: Outcome) -> bool:
        return sum(costs(tried)) < sum(costs(best)) and max(costs(tried)) <= MOST_LOST

    found = plain

    def climb(name: str, values: tuple[Any, ...]) -> None:
        nonlocal best, found
        for value in values:
            tried = replace(best, **{name: value})
            outcome = attempt(tried, 1.0)
            if tried != best and not better(outcome, found):
                return
            best, found = tried, outcome

    ways = WAYS if eyes == 1 else WAYS_OF_TWO_EYES | WAYS
    for _ in range(max(1, effort - 1)):
        before = best
        for name in ways if effort > 1 else filter(ways.__contains__, TRIED_FIRST):
            usual, (up, down) = best, ways[name]
            climb(name, up)
            if best == usual:
                climb(name, down)
        if best == before:
            break
    return best, math.exp(sum(_gains(plain, found)) / 2 / DB_PER_E)


def _gains(before: Outcome, after: Outcome) -> tuple[float, float]:
    """Decibels by which views and panoramas are better."""
    return after.psnr_db - before.psnr_db, after.panoramas_db - before.panoramas_db
