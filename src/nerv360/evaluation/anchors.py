"""Classical codecs through PyAV: their exact settings, their files, and views of these by the conventional road."""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import av

from nerv360.errors import ArgumentError
from nerv360.extract import extract_viewport
from nerv360.geometry.viewport import Viewport
from nerv360.storage import atomic_write
from nerv360.types import Picture
from nerv360.video.clip import Clip
from nerv360.video.writer import encode_video

__all__ = ["ANCHORS", "Anchor", "AnchorPlayer", "encode_anchor", "is_available"]

KEY_INTERVAL_S = 2
os.environ.setdefault("SVT_LOG", "1")  # errors alone; else it fills the terminal


@dataclass(frozen=True)
class Anchor:
    """A classical codec, on one thread, told to make the most of PSNR where it would rather please the eye."""

    name: str
    encoder: str  # as PyAV calls it
    ending: str  # of the leanest container that it has
    fixed: Mapping[str, str]
    crfs: tuple[int, ...]  # from the best quality to the least

    def options(self, crf: int, clip: Clip) -> dict[str, str]:
        """All that the encoder is told, for one rate."""
        key_interval = max(1, round(KEY_INTERVAL_S * clip.frame_rate))
        return {"crf": str(crf), "g": str(key_interval), "threads": "1", **self.fixed}

    def settings(self, crf: int, clip: Clip) -> str:
        """The same, to be read, with the encoder's name."""
        return " ".join(
            [self.encoder, "yuv420p", *(f"{name}={value}" for name, value in self.options(crf, clip).items())]
        )


X265 = "log-level=none:info=0:pools=none:frame-threads=1"  # info: 2 kB of text about itself
ANCHORS = {
    anchor.name: anchor
    for anchor in (
        Anchor("x264", "libx264", ".mkv", {"preset": "medium", "tune": "psnr"}, (24, 28, 32, 36, 40, 44, 48)),
        Anchor(
            "x265",
            "libx265",
            ".mkv",
            {"preset": "medium", "tune": "psnr", "x265-params": X265},
            (22, 26, 30, 34, 38, 42, 46),
        ),
        Anchor(
            "svt-av1", "libsvtav1", ".webm", {"preset": "6", "svtav1-params": "lp=1:tune=1"}, (31, 39, 47, 53, 58, 63)
        ),
        Anchor("vp9", "libvpx-vp9", ".webm", {"deadline": "good", "cpu-used": "1", "b": "0"}, (31, 37, 43, 49, 56, 63)),
    )
}


def is_available(anchor: Anchor) -> bool:
    """Whether this build of PyAV has the encoder."""
    try:
        av.Codec(anchor.encoder, "w")
    except ValueError:  # UnknownCodecError
        return False
    return True


def encode_anchor(anchor: Anchor, crf: int, clip: Clip, path: Path, report: Callable[[], None]) -> float:
    """Write the clip as a file of that codec, yuv420p; returns the seconds, without those of reading the clip.

    `report` is called for every frame. Raises ArgumentError for a clip whose sides are not even, OutputError.
    """
    if clip.width % 2 or clip.height % 2:
        raise ArgumentError(f"{clip.width}x{clip.height}: classical codecs need even sides; scale it with --size")
    frames, reading = iter(clip), 0.0

    def pictures() -> Iterator[Picture]:
        nonlocal reading
        for _ in range(clip.frames):
            before = time.perf_counter()
            picture = next(frames)
            reading += time.perf_counter() - before
            yield picture
            report()

    with atomic_write(path) as partial:
        started = time.perf_counter()
        encode_video(partial, pictures(), clip.frame_rate, clip.colour, anchor.encoder, anchor.options(crf, clip))
        return time.perf_counter() - started - reading


class AnchorPlayer:
    """The conventional road: the whole panorama is decoded, the view cut out of it. Going back begins anew."""

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
