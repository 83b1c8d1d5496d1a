"""The weight of the rate, steered while a network is fitted, so that its file meets a target."""

from collections.abc import Callable
from dataclasses import dataclass

from nerv360.training.checkpoint import Progress

__all__ = ["Steering", "meets"]

TURNS = 25  # of the wheel, in the steps of a fit
SIZE_FROM, QUALITY_FROM = 0.4, 0.75  # parts of the steps: before, the size, or the quality, tells too little
UNDER = 0.975  # of the limit is aimed at
WITHIN = 0.95  # of it is near enough
SIZE_POWER, DECIBELS_PER_DECADE = 0.8, 8.0  # half of what would be needed if the file followed at once
MOST = 1.5  # factor of a turn
LANDINGS = 10  # turns that may be added behind the last step


@dataclass(frozen=True)
class Steering:
    """Steers by the size of the file that would be written now, or by the PSNR of the views fitted last."""

    limit: int | None  # bytes
    quality_db: float | None
    size: Callable[[], int]

    def turn(self, progress: Progress, steps: int) -> None:
        """Change `progress.rate_weight`, where it is time to, and add steps where the size is not met at the end."""
        interval, last = max(1, steps // TURNS), progress.step >= steps + progress.landing
        if progress.step % interval and not last:
            return
        part = progress.step / steps
        if self.quality_db is not None and QUALITY_FROM <= part < 1:
            progress.rate_weight *= _bounded(10 ** ((progress.psnr_db - self.quality_db) / DECIBELS_PER_DECADE))
            progress.best_loss = progress.loss
        if self.limit is not None and part >= SIZE_FROM:
            size = self.size()
            if last and (meets(size, self.limit) or progress.landing >= LANDINGS * interval):
                return
            progress.rate_weight *= _bounded((size / (UNDER * self.limit)) ** SIZE_POWER)
            progress.best_loss = progress.loss  # what dearer bits cost in quality is no collapse
            if last:
                progress.landing += interval


def meets(size: int, limit: int) -> bool:
    """Whether a file is within its limit, and near enough to it."""
    return WITHIN * limit <= size <= limit


def _bounded(factor: float) -> float:
    return min(MOST, max(1 / MOST, factor))
