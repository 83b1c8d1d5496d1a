"""Read a 360-degree video as equirectangular RGB frames, a few at a time.

choose a stream -> decode -> same shape -> deinterlace -> to RGB -> tone-map, turn, crop, convert -> scale
    source.py                 clip.py      filters.py                     reading.py                clip.py
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise, repeat, takewhile

import av
import numpy as np
from av.video.reformatter import Colorspace, Interpolation, VideoReformatter

from nerv360.errors import ArgumentError, VideoError
from nerv360.storage import Location, open_file, parse_location, size
from nerv360.types import Colour, FrameDurations, Picture
from nerv360.video.filters import cropped, deinterlaced, filtered
from nerv360.video.reading import AS_TAGGED, Layout, Reading, plan_reading
from nerv360.video.sound import LEAD_S, SILENT, SoundStream, find_sound, read_packets
from nerv360.video.source import Decoded, opened, pictures, pictures_from
from nerv360.video.spherical import movie_box
from nerv360.video.tags import Tags, read_tags
from nerv360.video.timing import Timing, read_timing

__all__ = ["Clip", "Parts", "matrix_of"]

Parts = Sequence[tuple[slice, slice]] | None  # rows and columns of a picture; None: all

MAX_WIDTH, MIN_WIDTH = 16384, 48
EXACT = (
    Interpolation.BICUBIC
    | Interpolation.ACCURATE_RND
    | Interpolation.BITEXACT
    | Interpolation.FULL_CHR_H_INP  # without these two, every other column's colour is dropped
    | Interpolation.FULL_CHR_H_INT
)
FINGERPRINT_BYTES = 1 << 20
CHROMA_REACH = 8  # pixels around one on which its colour depends, in 4:2:0; more than EXACT's filters take


def matrix_of(colour: Colour) -> Colorspace:
    """The matrix between RGB and YCbCr. Unspecified (and unknown) means BT.709, as for HD and larger pictures."""
    known = {4: Colorspace.FCC, 5: Colorspace.ITU601, 6: Colorspace.ITU601, 7: Colorspace.SMPTE240M}
    known |= {9: Colorspace.BT2020, 10: Colorspace.BT2020}
    return known.get(colour.matrix, Colorspace.ITU709)


@dataclass(frozen=True)
class Clip:
    """Frames [start, start + frames) of a video file, made equirectangular and scaled to width x height.

    Iterating decodes these frames and yields uint8 arrays [height, width, 3], or [2 height, width, 3] where both eyes
    are read, the left one above the right; nothing is kept.
    """

    path: Location
    start: int
    frames: int
    width: int
    height: int
    timing: Timing  # of the file
    tags: Tags
    reading: Reading
    sound: SoundStream = SILENT

    @classmethod
    def open(
        cls,
        path: Location,
        *,
        start: int = 0,
        frames: int | None = None,
        size: tuple[int, int] | None = None,
        layout: Layout = AS_TAGGED,
        force: bool = False,
        sound: bool = False,
    ) -> "Clip":
        """Look at a video, a path or a URL, decoding only its first frame where the file is in good order.

        With `sound`, its sound belongs to the clip, where it is of a kind that is kept.

        Raises VideoError where the file is no video, has no such frames, or holds no panoramas (unless `force`);
        ArgumentError.
        """
        path = parse_location(path)
        if start < 0 or (frames is not None and frames < 1):
            raise ArgumentError(f"start={start}, frames={frames}: must be at least 0 and 1")
        with opened(path) as (container, stream):
            first = next(pictures(container, stream), None)
            if first is None:
                raise VideoError(f"{path}: no frame can be decoded")
            movie = _movie(path) if "mp4" in container.format.name else b""
            tags = read_tags(stream, first[0], movie)
            heard = find_sound(container) if sound else SILENT
        timing = read_timing(path)
        total = timing.frames
        if start >= total:
            raise VideoError(f"{path}: has {total} frames (0..{total - 1}); --start {start} is beyond the last")
        if frames is not None and start + frames > total:
            raise VideoError(f"{path}: has {total} frames; --start {start} --frames {frames} asks for more")
        reading = plan_reading(path, tags, layout, asked=size, force=force)
        width, height = size or (reading.width, reading.height)
        _check_size(path, width, height, force)
        if heard.format and timing.closes_gaps:
            heard = SoundStream(
                remark="sound left out: gaps in the time of frames are closed, so it would not be in step"
            )
        return cls(path, start, frames or total - start, width, height, timing, tags, reading, heard)

    @property
    def colour(self) -> Colour:
        """Of the frames."""
        return self.reading.colour

    @property
    def eyes(self) -> tuple[str, ...]:
        """Whose panoramas each frame holds: one eye's, or left and right."""
        return self.reading.eyes

    def cut(self, first: int, frames: int) -> "Clip":
        """Frames [first, first + frames) of the clip, as a clip."""
        return replace(self, start=self.start + first, frames=frames)

    @property
    def frame_rate(self) -> Fraction:
        """Frames per second."""
        return self.timing.rate

    @property
    def lost(self) -> int:
        """Frames that the file promises behind the last of the clip."""
        return self.timing.lost if self.start + self.frames == self.timing.frames else 0

    @property
    def remarks(self) -> tuple[str, ...]:
        """What the user should know of how the file is read."""
        return (*self.reading.remarks, *filter(None, (self.timing.remark, self.sound.remark)))

    def packets(self) -> Iterator[tuple[int, bytes]]:
        """Packets of its sound, with their times in samples from the clip's first frame. Raises VideoError."""
        zero_s, end_s = self.timing.starts_s(self.start, self.start + self.frames)
        return read_packets(self.path, self.sound, zero_s, zero_s if self.start else zero_s - LEAD_S, end_s)

    @property
    def durations(self) -> FrameDurations | None:
        """For how long frames are shown, where their rate is variable."""
        if not self.timing.uneven:
            return None
        shown = [self.timing.shown_s(self.start + frame) / self.timing.unit_s for frame in range(self.frames + 1)]
        return FrameDurations(tuple(int(end - begin) for begin, end in pairwise(shown)), self.timing.unit_s)

    def middles(self) -> list[float]:
        """The middle of the time that every frame is shown, in seconds of the file, as players count them."""
        shown = [self.timing.shown_s(self.start + frame) for frame in range(self.frames + 1)]
        return [float(first + end) / 2 for first, end in pairwise(shown)]

    @property
    def frame_bytes(self) -> int:
        """Of a frame in RGB, of both eyes where it has two."""
        return 3 * self.width * self.height * len(self.eyes)

    @property
    def decoded_frame_bytes(self) -> int:
        """Of a picture of the file."""
        layout = av.VideoFormat(self.tags.pixel_format, self.tags.width, self.tags.height)
        samples = sum(each.width * each.height * -(-each.bits // 8) for each in layout.components)
        return int(samples)

    def __iter__(self) -> Iterator[Picture]:
        return self.read(0, self.frames)

    def read(self, first: int, end: int) -> Iterator[Picture]:
        """Frames [first, end) of the clip, as `pictures` gives them."""
        return map(self.panorama, self.pictures(first, end))

    def pictures(self, first: int, end: int) -> Iterator[av.VideoFrame]:
        """The pictures of the file for frames [first, end), for `panorama`.

        One that cannot be decoded repeats the one before it, or else the next. Raises VideoError where none can be.
        """
        last: av.VideoFrame | None = None
        wanted = first
        for index, picture in self._frames(first, end):
            if index >= end:
                break
            if index > wanted:
                yield from repeat(picture if last is None else last, index - wanted)
            if index >= wanted:
                yield picture
                wanted = index + 1
            last = picture
        if last is None:
            frames = f"{self.start + first}-{self.start + end - 1}"
            raise VideoError(f"{self.path}: damaged: none of the frames {frames} can be decoded")
        if wanted < end:
            yield from repeat(last, end - wanted)

    def decodable(self) -> Iterator[tuple[int, av.VideoFrame, bool]]:
        """Every picture that the file gives up undamaged: its frame of the clip, and whether its size is another."""
        return (each for each in self._decoded(0, self.frames) if each[0] >= 0)

    def panorama(self, picture: av.VideoFrame, parts: Parts = None) -> Picture:
        """The panorama [height, width, 3] that a picture of the file holds; of both eyes one above the other.

        Outside of the parts that are asked for it may be anything.
        """
        if parts is not None and self._converts_alone(picture):
            panorama = np.empty((self.height, self.width, 3), np.uint8)
            for rows, columns in parts:
                panorama[rows, columns] = self._part(picture, rows, columns)
            return panorama
        if any(self.reading.filters):
            picture = self._as_rgb(
                picture, picture.width, picture.height, "gbrp16le" if self.reading.tone_map else "rgb24"
            )
        panoramas = [
            self._as_rgb(filtered(picture, filters), self.width, self.height, "rgb24").to_ndarray()
            for filters in self.reading.filters
        ]
        return (panoramas[0] if len(panoramas) == 1 else np.concatenate(panoramas)).astype(np.uint8, copy=False)

    def _converts_alone(self, picture: av.VideoFrame) -> bool:
        """Whether all that is done with a picture is its conversion to RGB, from 4:2:0."""
        same = (picture.width, picture.height) == (self.width, self.height)
        even = self.width % 2 == self.height % 2 == 0
        return self.reading.filters == ((),) and same and even and picture.format.name == "yuv420p"

    def _part(self, picture: av.VideoFrame, rows: slice, columns: slice) -> Picture:
        """A part of the panorama, out of a picture that is cut before it is converted."""
        (top, bottom), (left, right) = (
            (max(0, each.start - CHROMA_REACH) // 2 * 2, min(size, (each.stop + CHROMA_REACH + 1) // 2 * 2))
            for each, size in ((rows, self.height), (columns, self.width))
        )
        cut = cropped(picture, left, top, right - left, bottom - top)
        rgb: Picture = self._as_rgb(cut, cut.width, cut.height, "rgb24").to_ndarray().astype(np.uint8, copy=False)
        return rgb[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]

    def _as_rgb(self, picture: av.VideoFrame, width: int, height: int, pixel_format: str) -> av.VideoFrame:
        matrix = None if picture.format.is_rgb else matrix_of(self.tags.colour)
        return VideoReformatter().reformat(  # its own: threads may ask for the same picture
            picture, width, height, pixel_format, matrix, matrix, interpolation=EXACT
        )

    def fingerprint(self) -> str:
        """A digest of which frames these are: of the file's size, its two ends, and the cut."""
        bytes_in_all = size(self.path)
        heard = f" {self.sound.format}" if self.sound.format else ""
        cut = f"{bytes_in_all} {self.start} {self.frames} {self.width}x{self.height} {self.reading}{heard}"
        digest = hashlib.sha256(cut.encode())
        with open_file(self.path) as file:
            digest.update(file.read(FINGERPRINT_BYTES))
            file.seek(max(0, bytes_in_all - FINGERPRINT_BYTES))
            digest.update(file.read(FINGERPRINT_BYTES))
        return digest.hexdigest()

    def _frames(self, first: int, end: int) -> Iterator[tuple[int, av.VideoFrame]]:
        """Pictures up to that frame at least, from some frame before the first."""
        if not self.reading.deinterlace:
            return ((index, picture) for index, picture, _ in self._decoded(first, end))
        return deinterlaced((index, picture) for index, picture, _ in self._decoded(first, end, around=1))

    def _decoded(self, first: int, end: int, around: int = 0) -> Iterator[tuple[int, av.VideoFrame, bool]]:
        for index, (picture, pixel_aspect) in self._numbered(first, end, around):
            if not picture.is_corrupt:
                fitted = self._fitted(picture, pixel_aspect)
                yield index, fitted, fitted is not picture

    def _numbered(self, first: int, end: int, around: int) -> Iterator[tuple[int, Decoded]]:
        """All pictures that the file gives up, from that of frame `first` to those before `end`, with their frames.

        Others may precede them; with `around`, so many precede and follow them.
        """
        timing = self.timing
        if not timing.times:
            with opened(self.path) as (container, stream):
                found = enumerate(pictures(container, stream), start=-self.start)
                yield from takewhile(lambda each: each[0] < end + around, found)
            return
        start = max(0, self.start + first - around)
        last = min(timing.frames, self.start + end + around) - 1
        for decoded in pictures_from(self.path, timing.times[start]):
            time = decoded[0].pts
            if time is None:
                continue
            if time > timing.times[last]:
                return
            frame = timing.frame_at(time)
            if frame is not None:
                yield frame - self.start, decoded

    def _fitted(self, picture: av.VideoFrame, pixel_aspect: Fraction) -> av.VideoFrame:
        """A picture in the shape of the first: scaled, where it is shown in another shape with black bars."""
        width, height = self.tags.width, self.tags.height
        if (picture.width, picture.height) == (width, height):
            return picture
        wider = (picture.width * pixel_aspect / picture.height) / (width * self.tags.pixel_aspect / height)
        inner = (width, round(height / wider)) if wider > 1 else (round(width * wider), height)
        scaled = picture.reformat(*inner, interpolation=EXACT)
        return scaled if inner == (width, height) else filtered(scaled, (f"pad={width}:{height}:(ow-iw)/2:(oh-ih)/2",))


def _movie(path: Location) -> bytes:
    with open_file(path) as file:
        return movie_box(file)


def _check_size(path: Location, width: int, height: int, force: bool) -> None:
    if not (MIN_WIDTH <= width <= MAX_WIDTH and 24 <= height <= MAX_WIDTH):
        raise VideoError(f"{path}: {width}x{height}: the panorama must be {MIN_WIDTH}x24 to {MAX_WIDTH}x{MAX_WIDTH}")
    if not force and abs(width / height - 2) > 0.02:
        raise VideoError(f"{path}: {width}x{height} is not 2:1 (encode and eval go on with --force)")
