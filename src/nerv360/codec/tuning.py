"""What suits a clip, found by trying: the interval between P keys, and how steps grow from level to level."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

from nerv360.codec.target_search import Outcome
from nerv360.motion.encoder import Tuning

__all__ = ["tune"]

LARGER_STEP = 1.25  # beside which quality and size are compared
INTERVALS = (4, 16)
GROWTHS_B, GROWTHS_P = (1.35, 1.65), (1.0, 1.25)

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
    for _ in range(max(1, effort - 1)):
        before = best
        for changed in _alternatives(effort):
            tried = replace(best, **changed)
            if tried != best and (found := cost(attempt(tried, 1.0))) < least:
                best, least = tried, found
        if best == before:
            break
    return best


def _alternatives(effort: int) -> Iterator[dict[str, float]]:
    yield from ({"interval": interval} for interval in INTERVALS)
    if effort > 1:
        yield from ({"growth_b": growth} for growth in GROWTHS_B)
        yield from ({"growth_p": growth} for growth in GROWTHS_P)
