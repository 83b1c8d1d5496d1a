"""Read an equirectangular video as RGB frames, a few at a time."""

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import Colorspace, Interpolation

from nerv360.errors import ArgumentError, VideoError
from nerv360.storage import Location, open_file, parse_location, size
from nerv360.types import Colour, Picture

__all__ = ["Clip", "matrix_of"]

MAX_WIDTH, MIN_WIDTH = 16384, 48
EXACT = (
    Interpolation.BICUBIC
    | Interpolation.ACCURATE_RND
    | Interpolation.BITEXACT
    | Interpolation.FULL_CHR_H_INP  # without these two, every other column's colour is dropped
    | Interpolation.FULL_CHR_H_INT
)
LOCAL_ONLY = {"protocol_whitelist": "file", "max_reload": "0"}  # nothing over the network; playlists are not waited for
FINGERPRINT_BYTES = 1 << 20
SEEK_BACK_SECONDS = (0, 10)  # before a frame that is sought; where that lands behind it, all is read from the beginning


def matrix_of(colour: Colour) -> Colorspace:
    """The matrix between RGB and YCbCr. Unspecified (and unknown) means BT.709, as for HD and larger pictures."""
    known = {4: Colorspace.FCC, 5: Colorspace.ITU601, 6: Colorspace.ITU601, 7: Colorspace.SMPTE240M}
    known |= {9: Colorspace.BT2020, 10: Colorspace.BT2020}
    return known.get(colour.matrix, Colorspace.ITU709)


@dataclass(frozen=True)
class Clip:
    """Frames [start, start + frames) of a video file, scaled to width x height.

    Iterating decodes these frames and yields uint8 arrays [height, width, 3]; nothing is kept.
    """

    path: Location
    start: int
    frames: int
    width: int
    height: int
    frame_rate: Fraction
    colour: Colour
    times: tuple[int, ...] = ()  # of every frame, in units of the stream; empty where the file does not say them
    missing: frozenset[int] = frozenset()  # frames of the clip that are not to be had: each repeats the one before
    lost: int = 0  # frames that the file promises behind its last

    @classmethod
    def open(
        cls,
        path: Location,
        *,
        start: int = 0,
        frames: int | None = None,
        size: tuple[int, int] | None = None,
        force: bool = False,
    ) -> "Clip":
        """Look at a video, a path or a URL, decoding only its first frame.

        Raises VideoError where the file is no video, has no such frames, or is not 2:1 (unless `force`).
        """
        path = parse_location(path)
        if start < 0 or (frames is not None and frames < 1):
            raise ArgumentError(f"start={start}, frames={frames}: must be at least 0 and 1")
        with _opened(path) as (container, stream):
            first = next(_pictures(container, stream), None)
            if first is None:
                raise VideoError(f"{path}: no frame can be decoded")
            rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        with _opened(path) as (container, stream):
            packets = [(packet.pts, packet.is_discard) for packet in container.demux(stream) if packet.size]
            lost = max(0, stream.frames - len(packets))
        shown = [time for time, hidden in packets if not hidden]
        total = len(shown)
        if start >= total:
            raise VideoError(f"{path}: has {total} frames (0..{total - 1}); --start {start} is beyond the last")
        if frames is not None and start + frames > total:
            raise VideoError(f"{path}: has {total} frames; --start {start} --frames {frames} asks for more")
        width, height = size or (first.width, first.height)
        _check_size(path, width, height, force)
        colour = Colour(
            int(first.color_primaries), int(first.color_trc), int(first.colorspace), int(first.color_range) == 2
        )
        times = sorted({time for time in shown if time is not None})
        shown_once = tuple(times) if len(times) == total else ()
        clip = cls(path, 0, total, width, height, Fraction(rate), colour, shown_once, lost=lost)
        return clip.cut(start, frames or total - start)

    def cut(self, first: int, frames: int) -> "Clip":
        """Frames [first, first + frames) of the clip, as a clip."""
        return replace(
            self,
            start=self.start + first,
            frames=frames,
            times=self.times[first : first + frames],
            missing=frozenset(frame - first for frame in self.missing if first <= frame < first + frames),
            lost=self.lost if first + frames == self.frames else 0,
        )

    def middles(self) -> list[float]:
        """The middle of the time that every frame is shown, in seconds of the file, as players count them."""
        with _opened(self.path) as (_, stream):
            shown = [time * (stream.time_base or Fraction(1)) for time in self.times]
        if not shown:
            shown = [Fraction(self.start + frame) / self.frame_rate for frame in range(self.frames)]
        ends = [*shown[1:], shown[-1] + 1 / self.frame_rate]
        return [float(first + end) / 2 for first, end in zip(shown, ends, strict=True)]

    @property
    def frame_bytes(self) -> int:
        return 3 * self.width * self.height

    def __iter__(self) -> Iterator[Picture]:
        return self.read(0, self.frames)

    def read(self, first: int, end: int) -> Iterator[Picture]:
        """Frames [first, end) of the clip. A missing one repeats the last before it, or else the next.

        Raises VideoError where the file ends early or is damaged elsewhere.
        """
        wanted = first
        last: Picture | None = None
        for index, picture in self._decoded(first, end):
            if index in self.missing:
                continue
            scaled = self._scaled(picture)
            while wanted < index and wanted in self.missing:
                yield scaled if last is None else last
                wanted += 1
            if wanted != index:
                break
            yield scaled
            last, wanted = scaled, wanted + 1
        while last is not None and wanted < end and wanted in self.missing:
            yield last
            wanted += 1
        if wanted < end:
            raise VideoError(f"{self.path}: damaged: frame {self.start + wanted} cannot be decoded")

    def decodable(self) -> Iterator[tuple[int, Picture]]:
        """Every frame that the file gives up undamaged, with its number in the clip; `missing` is not asked."""
        for index, picture in self._decoded(0, self.frames):
            if not picture.is_corrupt:
                yield index, self._scaled(picture)

    def fingerprint(self) -> str:
        """A digest of which frames these are: of the file's size, its two ends, and the cut."""
        bytes_in_all = size(self.path)
        cut = f"{bytes_in_all} {self.start} {self.frames} {self.width}x{self.height} {sorted(self.missing) or ''}"
        digest = hashlib.sha256(cut.encode())
        with open_file(self.path) as file:
            digest.update(file.read(FINGERPRINT_BYTES))
            file.seek(max(0, bytes_in_all - FINGERPRINT_BYTES))
            digest.update(file.read(FINGERPRINT_BYTES))
        return digest.hexdigest()

    def _decoded(self, first: int, end: int) -> Iterator[tuple[int, av.VideoFrame]]:
        """The frames of [first, end) that the file gives up, in order, with their numbers in the clip."""
        if not self.times:
            with _opened(self.path) as (container, stream):
                for index, picture in enumerate(_pictures(container, stream), start=-self.start):
                    if index >= end:
                        return
                    if index >= first:
                        yield index, picture
            return
        numbers = {time: number for number, time in enumerate(self.times[first:end], start=first)}
        for picture in _pictures_from(self.path, self.times[first]):
            if picture.pts in numbers:
                yield numbers[picture.pts], picture
            elif picture.pts is not None and picture.pts > self.times[end - 1]:
                return

    def _scaled(self, picture: av.VideoFrame) -> Picture:
        matrix = None if picture.format.is_rgb else matrix_of(self.colour)
        scaled = picture.reformat(
            self.width, self.height, "rgb24", src_colorspace=matrix, dst_colorspace=matrix, interpolation=EXACT
        )
        return scaled.to_ndarray().astype(np.uint8, copy=False)


def _check_size(path: Location, width: int, height: int, force: bool) -> None:
    if not (MIN_WIDTH <= width <= MAX_WIDTH and 24 <= height <= MAX_WIDTH):
        raise VideoError(f"{path}: {width}x{height}: the panorama must be {MIN_WIDTH}x24 to {MAX_WIDTH}x{MAX_WIDTH}")
    if not force and abs(width / height - 2) > 0.02:
        raise VideoError(
            f"{path}: {width}x{height} is not 2:1, so not a full equirectangular panorama; "
            "scale it with --size (encode and eval also go on with --force)"
        )


@contextmanager
def _opened(path: Location) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    """A video file and its first video stream; every failure of the library becomes a VideoError."""
    if isinstance(path, Path) and not path.exists():
        raise VideoError(f"{path}: no such file")
    if isinstance(path, Path) and not path.is_file():
        raise VideoError(f"{path}: not a file")
    try:
        if size(path) == 0:
            raise VideoError(f"{path}: empty file")
        with ExitStack() as held:
            source = str(path) if isinstance(path, Path) else held.enter_context(open_file(path))
            container = held.enter_context(av.open(source, "r", options=LOCAL_ONLY))
            if not container.streams.video:
                raise VideoError(f"{path}: no video stream in it")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            yield container, stream
    except (av.FFmpegError, EOFError) as error:
        raise VideoError(f"{path}: not a video that can be read ({_reason(error)})") from None
    except OSError as error:
        raise VideoError(f"{path}: cannot be read: {_reason(error)}") from None


def _pictures(container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[av.VideoFrame]:
    """All that can be decoded: behind damage, it goes on."""
    for packet in container.demux(stream):
        with suppress(av.InvalidDataError):
            yield from packet.decode()


def _pictures_from(path: Location, time: int) -> Iterator[av.VideoFrame]:
    """Pictures from some time at or before this one, the nearest that can be sought; else from the beginning."""
    for seconds in SEEK_BACK_SECONDS:
        with _opened(path) as (container, stream):
            with suppress(av.FFmpegError):
                container.seek(time - int(seconds / (stream.time_base or 1)), stream=stream)
            pictures = _pictures(container, stream)
            first = next(pictures, None)
            if first is not None and first.pts is not None and first.pts <= time:
                yield first
                yield from pictures
                return
    with _opened(path) as (container, stream):
        yield from _pictures(container, stream)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or type(error).__name__
