"""The weight of the rate, steered while a network is fitted, so that its file meets a target."""

from collections.abc import Callable
from dataclasses import dataclass

from nerv360.training.checkpoint import Progress

__all__ = ["Steering", "missed"]

TURNS = 25  # of the wheel, in the steps of a fit
SIZE_FROM, QUALITY_FROM = 0.4, 0.75  # parts of the steps: before, the size, or the quality, tells too little
UNDER = 0.975  # of the limit is aimed at
WITHIN = 0.95  # of it is near enough
NEAR_DB = 0.2  # so is this distance from a quality
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
        """Change `progress.rate_weight`, where it is time to, and add steps where the target is not met at the end."""
        interval, last = max(1, steps // TURNS), progress.step >= steps + progress.landing
        if progress.step % interval and not last:
            return
        if self.limit is not None and progress.step >= SIZE_FROM * steps:
            size = self.size()
            factor = (size / (UNDER * self.limit)) ** SIZE_POWER
        elif self.quality_db is not None and progress.step >= QUALITY_FROM * steps:
            size = 0
            factor = 10 ** ((progress.psnr_db - self.quality_db) / DECIBELS_PER_DECADE)
        else:
            return
        met = not missed(size, self.limit, progress.psnr_db, self.quality_db)
        if last and (met or progress.landing >= LANDINGS * interval):
            return
        progress.rate_weight *= min(MOST, max(1 / MOST, factor))
        progress.best_loss = progress.loss  # what dearer bits cost in quality is no collapse
        if last:
            progress.landing += interval


def missed(size: int, limit: int | None, psnr_db: float, quality_db: float | None) -> str:
    """In words, how a file misses its target; empty where it does not."""
    if limit is not None and size > limit:
        return f"more than the limit of {limit:,} bytes"
    if limit is not None and size < WITHIN * limit:
        return f"less than {100 * WITHIN:.0f} % of the limit of {limit:,} bytes"
    if quality_db is not None and abs(psnr_db - quality_db) > NEAR_DB:
        return f"{abs(psnr_db - quality_db):.1f} dB {'under' if psnr_db < quality_db else 'over'} {quality_db:g} dB"
    return ""
