"""Write RGB frames as a video, as PNG pictures, or raw; whole files appear under their name, or none."""

import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.frame import PictureType
from av.video.reformatter import ColorRange
from numpy.typing import NDArray
from PIL import Image

from nerv360.errors import ArgumentError
from nerv360.storage import atomic_write
from nerv360.types import Colour, FrameDurations, Sound
from nerv360.video.clip import EXACT, matrix_of
from nerv360.video.sound import SoundWriter
from nerv360.video.source import file_url
from nerv360.video.spherical import tag_equirectangular

__all__ = ["check_ending", "encode_video", "write_frames"]

Frames = Iterable[NDArray[np.uint8]]
CONTAINERS = {".mp4", ".mkv", ".mov"}
TAGGED = {".mp4", ".mov"}
RAW = {".rgb", ".raw"}
CRF = "16"


def write_frames(
    path: Path,
    frames: Frames,
    frame_rate: Fraction,
    colour: Colour,
    *,
    panoramas: bool = False,
    eyes: int = 1,
    sound: tuple[Sound, Iterable[tuple[int, bytes]]] | None = None,
    durations: FrameDurations | None = None,
) -> None:
    """Frames [h, w, 3] -> H.264 (.mp4, .mkv, .mov), one picture (.png), raw RGB (.rgb), or a folder of PNGs.

    An .mp4 or .mov of `panoramas` is tagged as such, of one eye or of two, the left one above. Videos have the packets
    of `sound`, whose times are in samples.
    Raises ArgumentError for another ending, or one that cannot hold it, OutputError where it cannot be written.
    """
    writers: dict[str, Callable[[Path], None]] = {
        **dict.fromkeys(
            CONTAINERS,
            lambda to: encode_video(
                to, frames, frame_rate, colour, "libx264", {"crf": CRF}, sound=sound, durations=durations
            ),
        ),
        **dict.fromkeys(RAW, lambda to: _write_raw(to, frames)),
        ".png": lambda to: _write_picture(to, frames),
        "": lambda to: _write_pictures(to, frames),
    }
    check_ending(path, sound and sound[0])
    with atomic_write(path) as partial:
        writers[path.suffix.lower()](partial)
        if panoramas and path.suffix.lower() in TAGGED:
            tag_equirectangular(partial, top_bottom=eyes == 2)


def encode_video(
    path: Path,
    frames: Frames,
    frame_rate: Fraction,
    colour: Colour,
    encoder: str,  # as PyAV calls it
    options: Mapping[str, str],
    key_frames: Collection[int] = (),
    sound: tuple[Sound, Iterable[tuple[int, bytes]]] | None = None,
    durations: FrameDurations | None = None,
) -> None:
    """Frames [h, w, 3] -> a video in the container of its ending: 8 bits, chroma halved where both sides are even.

    Frames of `key_frames` are forced to be key frames; the options decide about others. Without `durations`, the rate
    says when frames are shown.

    Raises OSError.
    """
    matrix = matrix_of(colour)
    with _as_os_errors(), av.open(file_url(path), "w") as container:
        stream = container.add_stream(encoder, rate=frame_rate.limit_denominator(1 << 16), options=dict(options))
        assert isinstance(stream, av.VideoStream)
        heard = sound and SoundWriter(container, *sound)
        ticks: Iterator[int] = iter(durations.ticks) if durations else itertools.repeat(1)
        tick_s, start = durations.tick_s if durations else 1 / frame_rate, 0
        if durations:
            stream.codec_context.time_base = tick_s
        for number, frame in enumerate(frames):
            height, width = frame.shape[:2]
            if number == 0:
                stream.width, stream.height = width, height
                stream.pix_fmt = "yuv444p" if width % 2 or height % 2 else "yuv420p"
                stream.codec_context.color_primaries = colour.primaries
                stream.codec_context.color_trc = colour.transfer
                stream.codec_context.colorspace = int(matrix)
                stream.codec_context.color_range = int(ColorRange.MPEG)
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(
                format=stream.pix_fmt,
                src_colorspace=matrix,
                dst_colorspace=matrix,
                src_color_range=ColorRange.JPEG,
                dst_color_range=ColorRange.MPEG,
                interpolation=EXACT,
            )
            picture.pts, picture.time_base = start, tick_s
            start += next(ticks)
            if number in key_frames:
                picture.pict_type = PictureType.I
            container.mux(stream.encode(picture))
            if heard:
                heard.write(float(start * tick_s))
        container.mux(stream.encode(None))
        if heard:
            heard.write()


@contextmanager
def _as_os_errors() -> Iterator[None]:
    try:
        yield
    except av.FFmpegError as error:
        raise OSError(error.errno, error.strerror) from None


def check_ending(path: Path, sound: Sound | None = None) -> None:
    """Raises ArgumentError for an output whose kind is not known, or cannot hold the sound."""
    if path.suffix.lower() not in CONTAINERS | RAW | {".png", ""}:
        raise ArgumentError(f"{path}: must end in .mp4, .mkv, .mov, .png or .rgb, or be a folder for PNG frames")
    if sound is not None and sound.codec == "opus" and path.suffix.lower() == ".mov":
        raise ArgumentError(
            f"{path}: a .mov cannot hold sound in Opus; name an .mp4 or .mkv, or leave it out (--no-audio)"
        )


def _write_raw(path: Path, frames: Frames) -> None:
    with open(path, "wb") as file:
        for frame in frames:
            file.write(frame.tobytes())


def _write_picture(path: Path, frames: Frames) -> None:
    pictures = list(frames)
    if len(pictures) != 1:
        raise ArgumentError(
            f"{path.name}: one .png holds one frame, not {len(pictures)}; name a folder, or --frames A:A+1"
        )
    Image.fromarray(pictures[0]).save(path, format="PNG")


def _write_pictures(path: Path, frames: Frames) -> None:
    path.mkdir(parents=True)
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(path / f"{number:06d}.png")
