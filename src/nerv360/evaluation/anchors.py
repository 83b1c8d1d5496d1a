"""Classical codecs through PyAV: their exact settings, their files, and views of these by decoding, then cropping."""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import av

from nerv360.errors import ArgumentError
from nerv360.extract import extract_viewport
from nerv360.geometry.viewport import Viewport
from nerv360.progress import OnProgress, ignore, tracked
from nerv360.storage import atomic_write
from nerv360.types import Picture
from nerv360.video.clip import Clip
from nerv360.video.source import file_url
from nerv360.video.writer import encode_video

__all__ = ["ANCHORS", "Anchor", "AnchorDecoder", "encode_anchor", "is_available"]

os.environ.setdefault("SVT_LOG", "1")  # errors alone; else it fills the terminal


@dataclass(frozen=True)
class Anchor:
    """A classical codec on one thread in one pass, tuned for PSNR rather than for the eye, key frames where they are
    asked for and nowhere else."""

    name: str
    encoder: str  # as PyAV calls it
    ending: str  # of the leanest container that it has
    fixed: Mapping[str, str]
    crfs: tuple[int, ...]  # from the best quality to the least

    def options(self, crf: int, frames: int) -> dict[str, str]:
        """The encoder's options at a CRF, for a clip of so many frames."""
        length = str(frames)
        shared = {"crf": str(crf), "g": length, "threads": "1"}
        return shared | {name: length if value == AS_LONG_AS_THE_CLIP else value for name, value in self.fixed.items()}

    def settings(self, crf: int, frames: int, key_frames: Sequence[int]) -> str:
        """Encoder, pixel format, options and key frames as one line."""
        options = [f"{name}={value}" for name, value in self.options(crf, frames).items()]
        return " ".join([self.encoder, "yuv420p", *options, f"keys={_listed(key_frames, frames)}"])


AS_LONG_AS_THE_CLIP = "frames"  # an option's value: the number of frames
MATROSKA, WEBM = ".mkv", ".webm"
X264_CRFS, X265_CRFS = (24, 28, 32, 36, 40, 44, 48), (22, 26, 30, 34, 38, 42, 46)
SVT_AV1_CRFS, VP9_CRFS = (31, 39, 47, 53, 58, 63), (31, 37, 43, 49, 56, 63)
X265 = "log-level=none:info=0:pools=none:frame-threads=1:scenecut=0:open-gop=0"  # info: 2 kB of text about itself
SVT_AV1 = "lp=1:tune=1:scd=0:irefresh-type=2"  # PSNR; no detection of scenes; closed GOPs


def _x264(name: str, preset: str) -> Anchor:
    fixed = {"preset": preset, "tune": "psnr", "sc_threshold": "0", "forced-idr": "1"}
    return Anchor(name, "libx264", MATROSKA, fixed, X264_CRFS)


def _x265(name: str, preset: str) -> Anchor:
    fixed = {"preset": preset, "tune": "psnr", "forced-idr": "1", "x265-params": X265}
    return Anchor(name, "libx265", MATROSKA, fixed, X265_CRFS)


def _svt_av1(name: str, preset: str) -> Anchor:
    return Anchor(name, "libsvtav1", WEBM, {"preset": preset, "svtav1-params": SVT_AV1}, SVT_AV1_CRFS)


def _vp9(name: str, cpu_used: str) -> Anchor:
    fixed = {"keyint_min": AS_LONG_AS_THE_CLIP, "deadline": "good", "cpu-used": cpu_used, "b": "0"}
    return Anchor(name, "libvpx-vp9", WEBM, fixed, VP9_CRFS)


ANCHORS = {
    anchor.name: anchor
    for anchor in (
        _x264("x264", "medium"),
        _x264("x264-veryslow", "veryslow"),
        _x265("x265", "medium"),
        _x265("x265-veryslow", "veryslow"),
        _svt_av1("svt-av1", "6"),
        _svt_av1("svt-av1-preset2", "2"),
        _vp9("vp9", "1"),
        _vp9("vp9-cpu0", "0"),
    )
}


def _listed(key_frames: Sequence[int], frames: int) -> str:
    """0,64,100; or, where they are evenly spaced, first:end:step."""
    step = key_frames[1] if len(key_frames) > 1 else frames
    if list(key_frames) == list(range(0, frames, step)):
        return f"0:{frames}:{step}"
    return ",".join(map(str, key_frames))


def is_available(anchor: Anchor) -> bool:
    """Whether this build of PyAV has the encoder."""
    try:
        av.Codec(anchor.encoder, "w")
    except ValueError:  # UnknownCodecError
        return False
    return True


def encode_anchor(
    anchor: Anchor, crf: int, clip: Clip, key_frames: Sequence[int], path: Path, on_progress: OnProgress = ignore
) -> float:
    """Write the clip as a file of that codec, yuv420p, with these key frames, the first of them 0.

    Returns the seconds, without those of reading the clip.

    Raises ArgumentError for a clip whose sides are not even, OutputError.
    """
    if clip.width % 2 or clip.height % 2:
        raise ArgumentError(f"{clip.width}x{clip.height}: classical codecs need even sides; scale it with --size")
    frames, reading = iter(clip), 0.0

    def pictures() -> Iterator[Picture]:
        nonlocal reading
        for _ in tracked(range(clip.frames), "encoding", clip.frames, on_progress):
            before = time.perf_counter()
            picture = next(frames)
            reading += time.perf_counter() - before
            yield picture

    with atomic_write(path) as partial:
        started = time.perf_counter()
        options = anchor.options(crf, clip.frames)
        encode_video(partial, pictures(), clip.frame_rate, clip.colour, anchor.encoder, options, key_frames)
        return time.perf_counter() - started - reading


def count_key_frames(path: Path) -> int:
    """Key frames of a video file."""
    with av.open(file_url(path)) as container:
        return sum(packet.is_keyframe for packet in container.demux(video=0) if packet.size)


class AnchorDecoder:
    """Decode-then-crop: the whole panorama is decoded, the view cut out of it. Going back begins anew."""

    def __init__(self, path: Path) -> None:
        self._clip = Clip.open(path)
        self.width, self.height, self.frames = self._clip.width, self._clip.height, self._clip.frames
        self._decoded, self._index = enumerate(self._clip), -1

    def panorama(self, frame_index: int) -> Picture:
        """RGB picture [height, width, 3]. Raises VideoError."""
        if frame_index < self._index:
            self._decoded, self._index = enumerate(self._clip), -1
        while self._index < frame_index:
            self._index, self._panorama = next(self._decoded)
        return self._panorama

    def viewport(self, frame_index: int, view: Viewport) -> Picture:
        """RGB picture [view.height, view.width, 3]. Raises VideoError."""
        return extract_viewport(self.panorama(frame_index), view)
