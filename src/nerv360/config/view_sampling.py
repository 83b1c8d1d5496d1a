"""Which views a network is trained on, or keys are measured by."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from nerv360.config.fields import setting
from nerv360.errors import ArgumentError
from nerv360.models.fields import check_fields

__all__ = ["ViewSampling"]

_Side = Annotated[int, Meta(ge=33, le=16384)]
_FieldOfView = Annotated[float, Meta(ge=1, le=170)]
_Pitch = Annotated[float, Meta(ge=-90, le=90)]
_Roll = Annotated[float, Meta(ge=-180, le=180)]


@dataclass(frozen=True)
class ViewSampling:
    """Size and number of the training viewports, and the ranges of their angles."""

    view_width: _Side | None = setting(None, "Width of the training viewport; by default 5/16 of the panorama's.")
    view_height: _Side | None = setting(None, "Height of the training viewport; by default 9/16 of its width.")
    views: Annotated[int, Meta(ge=1, le=64)] = setting(
        1, "Training viewports per frame and step; more need the encoder only once."
    )
    centres: Annotated[str, Meta(pattern=r"^(sphere|angle)\Z")] = setting(
        "sphere", "Where their centres are uniform: on the sphere, or in yaw and pitch (angle), oftener near the poles."
    )
    pitch_deg: tuple[_Pitch, _Pitch] = setting((-90.0, 90.0), "Range of the pitch of their centres.")
    hfov_deg: tuple[_FieldOfView, _FieldOfView] = setting(
        (78.1, 78.1), "Range of horizontal fields of view trained for; keys are measured by the first."
    )
    roll_deg: tuple[_Roll, _Roll] = setting((0.0, 0.0), "Range of roll angles trained for.")

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("pitch_deg", "hfov_deg", "roll_deg"):
            start, end = getattr(self, name)
            if start > end:
                raise ArgumentError(f"{name}={start:g}:{end:g}: the first must not exceed the second")

    def varied_conditions(self) -> tuple[str, ...]:
        """Conditions of the view, beside its centre, whose range is trained over."""
        ranges = {"roll": self.roll_deg, "fov": self.hfov_deg}
        return tuple(name for name, (start, end) in ranges.items() if start < end)

    def size(self, panorama_width: int, decoder_strides: Sequence[int]) -> tuple[int, int]:
        """Width and height of the training viewport, in whole decoder cells.

        The paper's 1920 x 1080 of 6144 is 5/16; both sides are rounded to the decoder's stride. MS-SSIM needs
        more than 32 pixels.
        """
        cell = math.prod(decoder_strides)
        least = cell * (33 // cell + 1)
        width = self.view_width or max(least, cell * int(panorama_width * 5 / 16 / cell + 0.5))
        height = self.view_height or max(least, cell * int(width * 9 / 16 / cell + 0.5))
        return width, height
