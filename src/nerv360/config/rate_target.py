"""What the rate is weighed by, or aimed at."""

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from nerv360.config.fields import setting
from nerv360.errors import ArgumentError
from nerv360.models.fields import check_fields

__all__ = ["RateTarget"]

FINEST_WEIGHT = 0.3  # of the rate, from which a static grid at 1/1 is not worth its bits beside keys that last


@dataclass(frozen=True)
class RateTarget:
    """The rate weight (lambda), fixed or found for a target."""

    rate_weight: Annotated[float, Meta(ge=0, le=1e9)] = setting(
        0.0, "Weight of one bit per decoded pixel against the distortion; 0: the rate does not count."
    )
    bitrate: Annotated[float, Meta(ge=1, le=1e12)] | None = setting(
        None, "Most bits per second of the file; the weight of the rate is found."
    )
    quality_db: Annotated[float, Meta(ge=10, le=60)] | None = setting(
        None, "PSNR of views to reach, in dB; the weight of the rate is found."
    )

    def __post_init__(self) -> None:
        check_fields(self)
        if self.bitrate is not None and self.quality_db is not None:
            raise ArgumentError(f"bitrate={self.bitrate:g}, quality_db={self.quality_db:g}: give one of them")
        if self.is_target and not self.rate_weight:
            raise ArgumentError("bitrate, quality_db: only where the rate counts: rate_weight must not be 0")

    @property
    def is_target(self) -> bool:
        """Whether the weight is found."""
        return self.bitrate is not None or self.quality_db is not None

    @property
    def keeps_finest(self) -> bool:
        """Whether bits weigh little, or may yet: a static grid at 1/1 is worth its bits."""
        return self.rate_weight < FINEST_WEIGHT or self.is_target

    def max_bytes(self, frames: int, frame_rate: float) -> int | None:
        """Most bytes of a file of so many frames; None where there is no limit."""
        return None if self.bitrate is None else int(self.bitrate * frames / frame_rate / 8)
