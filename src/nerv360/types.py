"""Types that every package shares."""

from fractions import Fraction
from typing import Annotated, Literal, NamedTuple

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

__all__ = ["BT709", "EYES", "UNSPECIFIED_COLOUR", "Colour", "FrameDurations", "Picture", "Sound"]

Picture = NDArray[np.uint8]  # [height, width, 3], full-range R'G'B'


def _code_point(description: str) -> Meta:
    return Meta(ge=0, le=255, description=description)


class Colour(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """The source's colours, as code points of ITU-T H.273 (2: unspecified). Decoded pixels are R'G'B', full range."""

    primaries: Annotated[int, _code_point("ColourPrimaries")]
    transfer: Annotated[int, _code_point("TransferCharacteristics")]
    matrix: Annotated[int, _code_point("MatrixCoefficients")]
    full_range: Annotated[bool, Meta(description="VideoFullRangeFlag")]


class Sound(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """How packets of sound are decoded. Their times are counted in samples, of all channels at once."""

    codec: Annotated[Literal["aac", "opus"], Meta(description="of the packets")]
    sample_rate: Annotated[int, Meta(ge=8000, le=192000, description="samples per second")]
    channels: Annotated[int, Meta(ge=1, le=255, description="in the codec's order")]
    config: Annotated[bytes, Meta(min_length=2, max_length=4096, description="AudioSpecificConfig, or OpusHead")]


class FrameDurations(NamedTuple):
    """For how long the frames of a video are shown, where its rate is variable."""

    ticks: tuple[int, ...]
    tick_s: Fraction


EYES = ("left", "right")  # of a frame that has two pictures, in the order of files
UNSPECIFIED_COLOUR = Colour(2, 2, 2, False)
BT709 = Colour(1, 1, 1, False)
