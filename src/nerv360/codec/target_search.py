"""The step of a quantiser that meets a target of size or quality, found by trying."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from nerv360.motion.encoder import MAX_STEP

__all__ = ["DB_PER_E", "Outcome", "Target", "find_step"]

TRIES = 8
SIZE_POWER, DB_PER_E = 1.2, 7.2  # by which size and quality follow the step, about; a secant knows better
LEAST_STEP = 0.25
WIDEST_MOVE = 1.5  # of the step's logarithm
SIZE_TOLERANCE, DB_TOLERANCE = 0.02, 0.1


@dataclass(frozen=True)
class Outcome:
    """What a step came to."""

    size: int  # bytes of the file
    psnr_db: float  # of views
    panoramas_db: float  # of the mean squared error over the sphere


@dataclass(frozen=True)
class Target:
    """Most bytes of a file, or a quality that is reached; one of them is None."""

    max_bytes: int | None
    quality_db: float | None

    def share(self, part: float) -> "Target":
        """The target of a part of the clip."""
        return Target(self.max_bytes and max(1, int(part * self.max_bytes)), self.quality_db)

    def excess(self, outcome: Outcome) -> float:
        """About how much larger the logarithm of the step should be: 0 in the middle of what is near enough."""
        if self.max_bytes is not None:
            return math.log(outcome.size / (self.max_bytes * (1 - SIZE_TOLERANCE / 2))) / SIZE_POWER
        assert self.quality_db is not None
        return (outcome.psnr_db - self.quality_db - DB_TOLERANCE / 2) / DB_PER_E

    def kept(self, outcome: Outcome) -> bool:
        """Whether the limit is kept, or the quality reached."""
        if self.max_bytes is not None:
            return outcome.size <= self.max_bytes
        return outcome.psnr_db >= (self.quality_db or 0.0)

    def met(self, outcome: Outcome) -> bool:
        """Whether it is kept, and by no more than needed."""
        if self.max_bytes is not None:
            return self.kept(outcome) and outcome.size >= (1 - SIZE_TOLERANCE) * self.max_bytes
        return self.kept(outcome) and outcome.psnr_db <= (self.quality_db or 0.0) + DB_TOLERANCE

    def describe_miss(self, outcome: Outcome) -> str:
        """How an outcome misses the target, in words; empty where it does not."""
        if self.met(outcome):
            return ""
        if self.max_bytes is not None:
            side = "less" if self.kept(outcome) else "more"
            return f"{side} than the limit of {self.max_bytes:,} bytes"
        assert self.quality_db is not None
        side = "over" if self.kept(outcome) else "under"
        return f"{abs(outcome.psnr_db - self.quality_db):.1f} dB {side} {self.quality_db:g} dB"


def find_step(target: Target, start: float, attempt: Callable[[float], Outcome]) -> float:
    """The tried step whose outcome meets the target, or keeps it most closely, or else misses it least."""
    tried: dict[float, Outcome] = {}
    step = start
    for _ in range(TRIES):
        step = min(MAX_STEP, max(LEAST_STEP, step))
        if step in tried:
            break
        tried[step] = attempt(step)
        if target.met(tried[step]):
            return step
        step = math.exp(_next_logarithm({math.log(each): target.excess(found) for each, found in tried.items()}))
    kept = {each: found for each, found in tried.items() if target.kept(found)} or tried
    return min(kept, key=lambda each: abs(target.excess(kept[each])))


def _next_logarithm(excess: dict[float, float]) -> float:
    """Where the excess should be 0: between the two nearest of different signs, or beyond the last."""
    latest = list(excess)[-1]
    below = [x for x in excess if excess[x] > 0]
    above = [x for x in excess if excess[x] <= 0]
    if below and above:
        low, high = max(below), min(above)
        share = excess[low] / (excess[low] - excess[high])
        return low + (high - low) * min(0.9, max(0.1, share))
    return latest + min(WIDEST_MOVE, max(-WIDEST_MOVE, excess[latest]))
