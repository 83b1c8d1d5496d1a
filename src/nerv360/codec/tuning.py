"""What suits a clip, found by trying: the interval between P keys, and how steps grow from level to level."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from nerv360.codec.target_search import Outcome
from nerv360.motion.encoder import Tuning

__all__ = ["tune"]

LARGER_STEP = 1.25  # beside which quality and size are compared
INTERVALS = (8, 16, 2)
GROWTHS: dict[str, tuple[float, ...]] = {"growth_p": (1.4, 2.3), "growth_b": (1.35, 1.65)}

Attempt = Callable[[Tuning, float], Outcome]  # of a tuning, and a factor on the step


def tune(effort: int, attempt: Attempt) -> Tuning:
    """The best of what is tried: the fewest bytes at equal quality, the mean of views and panoramas.

    Without effort nothing is tried; with 1, intervals; with more, how steps grow, again and again.
    """
    best = Tuning()
    if not effort:
        return best
    plain, coarse = attempt(best, 1.0), attempt(best, LARGER_STEP)
    per_db = math.log(plain.size / coarse.size) / max(0.1, _quality(plain) - _quality(coarse))

    def cost(outcome: Outcome) -> float:
        return math.log(outcome.size) - per_db * _quality(outcome)

    least = cost(plain)
    for _ in range(max(1, effort - 1)):
        before = best
        changes: list[dict[str, Any]] = [{"interval": interval} for interval in INTERVALS]
        if effort > 1:
            changes += [{name: growth} for name, growths in GROWTHS.items() for growth in growths]
        for change in changes:
            tried = replace(best, **change)
            if tried != best and (found := cost(attempt(tried, 1.0))) < least:
                best, least = tried, found
        if best == before:
            break
    return best


def _quality(outcome: Outcome) -> float:
    return (outcome.psnr_db + outcome.panoramas_db) / 2
