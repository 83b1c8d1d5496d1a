"""Decoded pictures -> bytes for a viewer: JPEG, or H.264 while something moves."""

import io
from enum import IntEnum
from fractions import Fraction
from typing import Literal

import av
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, VideoReformatter
from PIL import Image

from nerv360.types import Picture

__all__ = ["Format", "Kind", "Pictures"]

Format = Literal["jpeg", "h264"]

JPEG_QUALITY = 92
H264 = {"preset": "superfast", "tune": "zerolatency", "profile": "baseline", "crf": "20", "sc_threshold": "0"}
ENDLESS = 1 << 30  # pictures between two keys: nothing is lost on the way


class Kind(IntEnum):
    """What the bytes of a picture are."""

    JPEG = 0
    KEY = 1  # H.264 (Annex B) that needs nothing before it
    DELTA = 2  # H.264 that needs all since the last key


class Pictures:
    """The pictures of one viewer. A stream of H.264 lasts until a JPEG or another size: then its encoder is let go."""

    def __init__(self) -> None:
        self._stream: Stream | None = None

    def encode(self, picture: Picture, form: Format) -> tuple[Kind, bytes]:
        """A picture [height, width, 3], of even sides for H.264, as bytes."""
        if form == "jpeg":
            self._stream = None
            return Kind.JPEG, _jpeg(picture)
        height, width, _ = picture.shape
        if self._stream is None or self._stream.size != (width, height):
            self._stream = Stream(width, height)
        return self._stream.encode(picture)


class Stream:
    """An H.264 encoder that gives every picture back at once. In one thread, for there may be many."""

    def __init__(self, width: int, height: int) -> None:
        self.size = width, height
        self._sent = 0
        self._reformatter = VideoReformatter()
        self._encoder = av.VideoCodecContext.create("libx264", "w")
        self._encoder.width, self._encoder.height, self._encoder.pix_fmt = width, height, "yuv420p"
        self._encoder.time_base = Fraction(1, 25)
        self._encoder.gop_size = ENDLESS
        self._encoder.thread_count = 1
        self._encoder.color_primaries = ColorPrimaries.BT709
        self._encoder.color_trc = ColorTrc.IEC61966_2_1  # sRGB, as the page shows it
        self._encoder.colorspace = Colorspace.ITU709
        self._encoder.color_range = ColorRange.MPEG
        self._encoder.options = H264

    def encode(self, picture: Picture) -> tuple[Kind, bytes]:
        frame = self._reformatter.reformat(
            av.VideoFrame.from_ndarray(picture, format="rgb24"),
            format="yuv420p",
            src_colorspace=Colorspace.ITU709,
            dst_colorspace=Colorspace.ITU709,
            src_color_range=ColorRange.JPEG,
            dst_color_range=ColorRange.MPEG,
            threads=1,
        )
        frame.pts, self._sent = self._sent, self._sent + 1
        (packet,) = self._encoder.encode(frame)
        return Kind.KEY if packet.is_keyframe else Kind.DELTA, bytes(packet)


def _jpeg(picture: Picture) -> bytes:
    jpeg = io.BytesIO()
    Image.fromarray(picture).save(jpeg, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return jpeg.getvalue()
