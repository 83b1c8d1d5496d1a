"""The weight of the rate, steered while a network is fitted, so that its file meets a target."""

from collections.abc import Callable
from dataclasses import dataclass

from nerv360.training.checkpoint import Progress
from nerv360.training.fit import NOISE_FRACTION

__all__ = ["RateController"]

TURNS = 25  # of the wheel, in the steps of a fit
FROM = 0.5  # part of the steps; before, size and quality tell too little. From NOISE_FRACTION on they follow little
RETURNS, RETURN_PART = 2, 0.6  # times that a fit may go back, and to which part of its steps
UNDER, WITHIN = 0.975, 0.95  # of the limit: what is aimed at, and what is near enough
NEAR_DB = 0.25  # so is this distance from a quality
SIZE_POWER, DECIBELS_PER_DECADE = 0.5, 4.0  # by which size and quality follow the weight
LEAST, MOST = 0.03, 30.0  # weights that fits were seen to follow
FACTOR, ROUNDED_FACTOR = 4.0, 2.0  # of a update, on the weight that is felt
LAG = 0.3  # of a change is felt by the next update


@dataclass(frozen=True)
class RateController:
    """Steers by the size of the file that would be written now, or by the PSNR of the views fitted last.

    How both go on at the same weight was seen in fits of 40 to 120 epochs: size falls and quality rises until values
    are rounded, and when steps are done again for the first time.
    """

    limit: int | None  # bytes
    quality_db: float | None
    size: Callable[[], int]

    def update(self, progress: Progress, steps: int) -> None:
        """Change `progress.rate_weight`, where it is time to; at the end, go back where the target is describe_miss."""
        if self.limit is None and self.quality_db is None:
            return
        part = (progress.step - progress.rewound_steps) / steps
        back = int((1 - RETURN_PART) * steps)
        turning = FROM <= part < 1 and progress.step % max(1, steps // TURNS) == 0
        ended = part >= 1 and progress.rewound_steps < RETURNS * back
        if not turning and not ended:
            return
        size = 0 if self.limit is None else self.size()
        if ended and not self.describe_miss(size, progress.psnr_db):
            return
        felt = progress.effective_rate_weight or progress.rate_weight
        factor = self._factor(size, progress, max(0.0, NOISE_FRACTION - part), ended)
        most = ROUNDED_FACTOR if NOISE_FRACTION <= part < 1 else FACTOR
        weight = min(MOST, max(LEAST, felt * min(most, max(1 / most, factor))))
        if ended and weight in (LEAST, MOST) and weight == felt:
            return
        progress.rate_weight = weight
        if part < NOISE_FRACTION:
            progress.effective_rate_weight = felt * (weight / felt) ** LAG
        elif ended:
            progress.effective_rate_weight = weight
        progress.best_loss = progress.loss  # what dearer bits cost in quality is no collapse
        if ended:
            progress.rewound_steps += back

    def describe_miss(self, size: int, psnr_db: float) -> str:
        """In words, how a file misses its target; empty where it does not."""
        if self.limit is not None and size > self.limit:
            return f"more than the limit of {self.limit:,} bytes"
        if self.limit is not None and size < WITHIN * self.limit:
            return f"less than {100 * WITHIN:.0f} % of the limit of {self.limit:,} bytes"
        if self.quality_db is not None and abs(psnr_db - self.quality_db) > NEAR_DB:
            side = "under" if psnr_db < self.quality_db else "over"
            return f"{abs(psnr_db - self.quality_db):.1f} dB {side} {self.quality_db:g} dB"
        return ""

    def _factor(self, size: int, progress: Progress, left: float, ended: bool) -> float:
        """On the weight, so that the target is met at the end: of the steps that are left, or of those done again."""
        first = not progress.rewound_steps
        if self.limit is not None:
            final = size * (0.9 if first else 1.0) if ended else size / (1 + (2 if first else 1) * left)
            return float((final / (UNDER * self.limit)) ** (1 / SIZE_POWER))
        assert self.quality_db is not None
        final_db = progress.psnr_db + ((0.4 if first else 0.0) if ended else 6 * left)
        return float(10 ** ((final_db - self.quality_db) / DECIBELS_PER_DECADE))
