"""Read an equirectangular video as RGB frames, a few at a time."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import Colorspace, Interpolation
from numpy.typing import NDArray

from nerv360.errors import ArgumentError, VideoError

__all__ = ["Clip", "Colour", "matrix_of"]

MAX_WIDTH, MIN_WIDTH = 16384, 48
EXACT = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
LOCAL_ONLY = {"protocol_whitelist": "file", "max_reload": "0"}  # nothing over the network; playlists are not waited for
FINGERPRINT_BYTES = 1 << 20


@dataclass(frozen=True)
class Colour:
    """What the source says of its colours, as code points of ITU-T H.273; 2 is unspecified."""

    primaries: int = 2
    transfer: int = 2
    matrix: int = 2
    full_range: bool = False


def matrix_of(colour: Colour) -> Colorspace:
    """The matrix between RGB and YCbCr. Unspecified (and unknown) means BT.709, as for HD and larger pictures."""
    known = {4: Colorspace.FCC, 5: Colorspace.ITU601, 6: Colorspace.ITU601, 7: Colorspace.SMPTE240M}
    known |= {9: Colorspace.BT2020, 10: Colorspace.BT2020}
    return known.get(colour.matrix, Colorspace.ITU709)


@dataclass(frozen=True)
class Clip:
    """Frames [start, start + frames) of a video file, scaled to width x height.

    Iterating decodes the file from its beginning and yields uint8 arrays [height, width, 3]; nothing is kept.
    """

    path: Path
    start: int
    frames: int
    width: int
    height: int
    frame_rate: Fraction
    colour: Colour

    @classmethod
    def open(
        cls,
        path: Path | str,
        *,
        start: int = 0,
        frames: int | None = None,
        size: tuple[int, int] | None = None,
        force: bool = False,
    ) -> "Clip":
        """Look at a video file, decoding only its first frame.

        Raises VideoError where the file is no video, has no such frames, or is not 2:1 (unless `force`).
        """
        path = Path(path)
        if start < 0 or (frames is not None and frames < 1):
            raise ArgumentError(f"start={start}, frames={frames}: must be at least 0 and 1")
        with _opened(path) as (container, stream):
            first = next(_pictures(container, stream), None)
            if first is None:
                raise VideoError(f"{path}: no frame can be decoded")
            rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        with _opened(path) as (container, stream):
            total = sum(1 for packet in container.demux(stream) if packet.size and not packet.is_discard)
        if start >= total:
            raise VideoError(f"{path}: has {total} frames (0..{total - 1}); --start {start} is beyond the last")
        if frames is not None and start + frames > total:
            raise VideoError(f"{path}: has {total} frames; --start {start} --frames {frames} asks for more")
        width, height = size or (first.width, first.height)
        _check_size(path, width, height, force)
        colour = Colour(
            int(first.color_primaries), int(first.color_trc), int(first.colorspace), int(first.color_range) == 2
        )
        return cls(path, start, frames or total - start, width, height, Fraction(rate), colour)

    @property
    def frame_bytes(self) -> int:
        return 3 * self.width * self.height

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        return self.read(0, self.frames)

    def read(self, first: int, end: int) -> Iterator[NDArray[np.uint8]]:
        """Frames [first, end) of the clip.

        Raises VideoError where the file ends early or is damaged.
        """
        matrix, wanted = matrix_of(self.colour), self.start + first
        with _opened(self.path) as (container, stream):
            for index, picture in enumerate(_pictures(container, stream)):
                if index < wanted:
                    continue
                if index == self.start + end:
                    return
                wanted = index + 1
                yield (
                    picture.reformat(
                        self.width,
                        self.height,
                        "rgb24",
                        src_colorspace=None if picture.format.is_rgb else matrix,
                        dst_colorspace=None if picture.format.is_rgb else matrix,
                        interpolation=EXACT,
                    )
                    .to_ndarray()
                    .astype(np.uint8, copy=False)
                )
        if wanted < self.start + end:
            raise VideoError(f"{self.path}: damaged: frame {wanted} cannot be decoded")

    def fingerprint(self) -> str:
        """A digest of which frames these are: of the file's size, its two ends, and the cut."""
        size = self.path.stat().st_size
        digest = hashlib.sha256(f"{size} {self.start} {self.frames} {self.width}x{self.height}".encode())
        with open(self.path, "rb") as file:
            digest.update(file.read(FINGERPRINT_BYTES))
            file.seek(max(0, size - FINGERPRINT_BYTES))
            digest.update(file.read(FINGERPRINT_BYTES))
        return digest.hexdigest()


def _check_size(path: Path, width: int, height: int, force: bool) -> None:
    if not (MIN_WIDTH <= width <= MAX_WIDTH and 24 <= height <= MAX_WIDTH):
        raise VideoError(f"{path}: {width}x{height}: the panorama must be {MIN_WIDTH}x24 to {MAX_WIDTH}x{MAX_WIDTH}")
    if not force and abs(width / height - 2) > 0.02:
        raise VideoError(
            f"{path}: {width}x{height} is not 2:1, so not a full equirectangular panorama; "
            "scale it with --size, or go on with --force"
        )


@contextmanager
def _opened(path: Path) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    """A video file and its first video stream; every failure of the library becomes a VideoError."""
    if not path.exists():
        raise VideoError(f"{path}: no such file")
    if not path.is_file():
        raise VideoError(f"{path}: not a file")
    if path.stat().st_size == 0:
        raise VideoError(f"{path}: empty file")
    try:
        with av.open(str(path), options=LOCAL_ONLY) as container:
            if not container.streams.video:
                raise VideoError(f"{path}: no video stream in it")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            yield container, stream
    except (av.FFmpegError, EOFError) as error:
        raise VideoError(f"{path}: not a video that can be read ({_reason(error)})") from None


def _pictures(container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[av.VideoFrame]:
    yield from container.decode(stream)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or type(error).__name__
