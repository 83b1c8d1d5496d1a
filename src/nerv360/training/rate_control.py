"""Rate control: the rate weight (lambda) is adjusted while a network is fitted, so that its file meets a target."""

from collections.abc import Callable
from dataclasses import dataclass

from nerv360.training.checkpoint import Progress
from nerv360.training.step import NOISE_FRACTION

__all__ = ["RateController"]

UPDATES = 25  # in the steps of a fit
START_FRACTION = (
    0.5  # of the steps; before, size and quality tell too little. From NOISE_FRACTION on they follow little
)
MAX_REWINDS, REWIND_FRACTION = 2, 0.6  # times that the schedule may go back, and to which fraction of its steps
AIM, TOLERANCE = 0.975, 0.95  # of the limit: what is aimed at, and what is near enough
TOLERANCE_DB = 0.25  # near enough to a quality
SIZE_POWER, DB_PER_DECADE = 0.5, 4.0  # by which size and quality follow the weight
MIN_WEIGHT, MAX_WEIGHT = 0.03, 30.0  # that fits were seen to follow
MAX_FACTOR, MAX_FACTOR_ROUNDED = 4.0, 2.0  # of an update, on the effective weight
LAG = 0.3  # fraction of a change that has taken effect by the next update


@dataclass(frozen=True)
class RateController:
    """Controls by the size of the file that would be written now, or by the PSNR of the views fitted last.

    How both go on at the same weight was seen in fits of 40 to 120 epochs: size falls and quality rises until values
    are rounded, and when steps are done again for the first time.
    """

    max_bytes: int | None
    quality_db: float | None
    size: Callable[[], int]  # of the file that would be written now

    def update(self, progress: Progress, steps: int, refresh: Callable[[], None] = lambda: None) -> None:
        """Change `progress.rate_weight`, where it is time to; at the end, rewind where the target is missed.

        `refresh` brings loss and PSNR of the progress up to date: it is called where they count.
        """
        if self.max_bytes is None and self.quality_db is None:
            return
        fraction = progress.scheduled_step / steps
        rewind = int((1 - REWIND_FRACTION) * steps)
        due = START_FRACTION <= fraction < 1 and progress.step % max(1, steps // UPDATES) == 0
        ended = fraction >= 1 and progress.rewound_steps < MAX_REWINDS * rewind
        if not due and not ended:
            return
        refresh()
        size = 0 if self.max_bytes is None else self.size()
        if ended and not self.describe_miss(size, progress.psnr_db):
            return
        effective = progress.effective_rate_weight or progress.rate_weight
        factor = self._factor(size, progress, max(0.0, NOISE_FRACTION - fraction), ended)
        most = MAX_FACTOR_ROUNDED if NOISE_FRACTION <= fraction < 1 else MAX_FACTOR
        weight = min(MAX_WEIGHT, max(MIN_WEIGHT, effective * min(most, max(1 / most, factor))))
        if ended and weight in (MIN_WEIGHT, MAX_WEIGHT) and weight == effective:
            return
        progress.rate_weight = weight
        if fraction < NOISE_FRACTION:
            progress.effective_rate_weight = effective * (weight / effective) ** LAG
        elif ended:
            progress.effective_rate_weight = weight
        progress.best_loss = progress.loss  # what dearer bits cost in quality is no divergence
        if ended:
            progress.rewound_steps += rewind

    def describe_miss(self, size: int, psnr_db: float) -> str:
        """How a file misses its target, in words; empty where it does not."""
        if self.max_bytes is not None and size > self.max_bytes:
            return f"more than the limit of {self.max_bytes:,} bytes"
        if self.max_bytes is not None and size < TOLERANCE * self.max_bytes:
            return f"less than {100 * TOLERANCE:.0f} % of the limit of {self.max_bytes:,} bytes"
        if self.quality_db is not None and abs(psnr_db - self.quality_db) > TOLERANCE_DB:
            side = "under" if psnr_db < self.quality_db else "over"
            return f"{abs(psnr_db - self.quality_db):.1f} dB {side} {self.quality_db:g} dB"
        return ""

    def _factor(self, size: int, progress: Progress, left: float, ended: bool) -> float:
        """Factor on the weight so that the target is met at the end of the steps that are left, or are repeated."""
        first = not progress.rewound_steps
        if self.max_bytes is not None:
            final = size * (0.9 if first else 1.0) if ended else size / (1 + (2 if first else 1) * left)
            return float((final / (AIM * self.max_bytes)) ** (1 / SIZE_POWER))
        assert self.quality_db is not None
        final_db = progress.psnr_db + ((0.4 if first else 0.0) if ended else 6 * left)
        return float(10 ** ((final_db - self.quality_db) / DB_PER_DECADE))
