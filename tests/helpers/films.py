"""Small videos with the traits of real files."""

import struct
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from numpy.typing import NDArray

from nerv360.types import Picture
from nerv360.video.spherical import add_boxes, box, full_box, stereo_box
from nerv360.video.synthetic import render_frame

__all__ = [
    "SAMPLE_RATE",
    "beeps",
    "other_eye",
    "packets_of",
    "panoramas",
    "spherical_box",
    "stereo_box",
    "write_film",
]

BT709 = Colorspace.ITU709
SAMPLE_RATE = 48000


def panoramas(count: int = 3, width: int = 160, height: int = 80) -> list[Picture]:
    """Frames of the procedural clip."""
    return [render_frame(index, width=width, height=height, frames=64) for index in range(count)]


def other_eye(pictures: Sequence[Picture]) -> list[Picture]:
    """What a right eye sees where these are the left one's: all moved, things below the horizon further."""
    height = len(pictures[0])
    moved = [np.roll(picture, 2, axis=1) for picture in pictures]
    for picture in moved:
        picture[height // 2 :] = np.roll(picture[height // 2 :], 3, axis=1)
    return moved


def write_film(
    path: Path,
    pictures: Iterable[Picture],
    encoder: str = "libx264",
    *,
    pixel_format: str = "yuv444p",
    prepare: Callable[[av.VideoStream], object] = lambda _: None,
    sample_entry: bytes = b"",  # boxes added to it
    sound: tuple[str, str] | None = None,  # encoder and layout of a beep at every second
    ticks: Sequence[int] = (),  # when each is shown, in 1/25 s; by default one after the other
    **options: str,
) -> Path:
    """Pictures [h, w, 3] as a video of 25 frames a second, in the container of the path's ending."""
    chosen = {"crf": "4"} | options if encoder.startswith("libx26") else options
    with av.open(str(path), "w") as container:
        stream = container.add_stream(encoder, rate=25, options=chosen)
        assert isinstance(stream, av.VideoStream)
        heard = container.add_stream(sound[0], rate=SAMPLE_RATE, layout=sound[1]) if sound else None
        number = 0
        for number, picture in enumerate(pictures):
            if not number:
                stream.height, stream.width = picture.shape[:2]
                stream.pix_fmt = pixel_format
                stream.codec_context.colorspace = int(BT709)
                stream.codec_context.color_range = int(ColorRange.MPEG)
                prepare(stream)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24").reformat(
                format=pixel_format, src_colorspace=BT709, dst_colorspace=BT709, dst_color_range=ColorRange.MPEG
            )
            frame.pts, frame.time_base = ticks[number] if ticks else number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if heard is not None:
            _mux_beeps(container, heard, ((ticks[number] if ticks else number) + 1) * SAMPLE_RATE // 25)
    if sample_entry:
        add_boxes(path, sample_entry, b"")
    return path


def packets_of(path: Path) -> list[tuple[float, bytes]]:
    """Packets of the sound of a video, with their times in seconds."""
    with av.open(str(path)) as container:
        packets = container.demux(container.streams.audio) if container.streams.audio else ()
        found = [(packet.pts, packet.time_base, bytes(packet)) for packet in packets if packet.size]
    return [(float(pts * unit), data) for pts, unit, data in found if pts is not None and unit is not None]


def beeps(samples: int) -> NDArray[np.float32]:
    """A tone in the first tenth of every second."""
    seconds = np.arange(samples) / SAMPLE_RATE
    return np.where(seconds % 1 < 0.1, 0.5 * np.sin(2 * np.pi * 880 * seconds), 0).astype(np.float32)


def _mux_beeps(container: av.container.OutputContainer, stream: av.AudioStream, samples: int) -> None:
    channels = np.tile(beeps(samples), (stream.layout.nb_channels, 1))
    size = stream.codec_context.frame_size or 1024
    for first in range(0, samples, size):
        frame = av.AudioFrame.from_ndarray(channels[:, first : first + size], "fltp", stream.layout.name)
        frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE, first, Fraction(1, SAMPLE_RATE)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def spherical_box(
    projection: bytes = b"equi",
    pose_deg: tuple[float, float, float] = (0, 0, 0),
    bounds: tuple[float, float, float, float] = (0, 0, 0, 0),  # top, bottom, left, right
) -> bytes:
    """An sv3d box."""
    header = full_box(b"prhd", struct.pack(">3i", *(round(angle * 65536) for angle in pose_deg)))
    content = struct.pack(">4I", *(round(bound * 2**32) for bound in bounds)) if projection == b"equi" else bytes(8)
    return box(b"sv3d", full_box(b"svhd", b"test\0") + box(b"proj", header + full_box(projection, content)))
