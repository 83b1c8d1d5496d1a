"""What suits a clip, found by trying: the interval between P keys, and how steps grow from level to level."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from nerv360.codec.target_search import Outcome
from nerv360.motion.encoder import Tuning

__all__ = ["tune"]

LARGER_STEP = 1.25  # beside which quality and size are compared
CHOICES: dict[str, tuple[Any, ...]] = {"interval": (4, 16), "growth_b": (1.35, 1.65), "growth_p": (1.0, 1.25)}

Attempt = Callable[[Tuning, float], Outcome]  # of a tuning, and a factor on the step


def tune(effort: int, attempt: Attempt) -> Tuning:
    """The best of what is tried: at equal quality of panoramas, the fewest bytes. Without effort, nothing is tried."""
    best = Tuning()
    if not effort:
        return best
    plain, coarse = attempt(best, 1.0), attempt(best, LARGER_STEP)
    per_db = math.log(plain.size / coarse.size) / max(0.1, plain.panoramas_db - coarse.panoramas_db)

    def cost(outcome: Outcome) -> float:
        return math.log(outcome.size) - per_db * outcome.panoramas_db

    least = cost(plain)
    chosen = {"interval": CHOICES["interval"]} if effort == 1 else CHOICES
    for _ in range(max(1, effort - 1)):
        before = best
        for name, values in chosen.items():
            for value in values:
                tried = replace(best, **{name: value})
                if tried != best and (found := cost(attempt(tried, 1.0))) < least:
                    best, least = tried, found
        if best == before:
            break
    return best
