"""Look through a whole video once: where its shots change, and which frames are lost; then cut it into segments."""

from dataclasses import dataclass, replace
from importlib.util import find_spec
from itertools import pairwise

import av
import numpy as np

from nerv360.errors import MissingExtra, VideoError
from nerv360.progress import OnProgress, Update, ignore
from nerv360.video.clip import Clip

__all__ = ["Survey", "segments_of", "survey"]

LOOKED_AT_HEIGHT = 96  # rows of the pictures in which shot changes are sought
LEAST_SECONDS = 1.0  # of a shot; changes that follow each other faster are no cuts


@dataclass(frozen=True)
class Survey:
    """What a look through a clip found."""

    cuts: tuple[int, ...]  # frames with which a new shot begins
    missing: frozenset[int]  # frames that cannot be decoded, or only with damage
    reshaped: frozenset[int] = frozenset()  # frames whose pictures have another size than the first

    def remarks(self, clip: Clip) -> list[str]:
        """What the user should know of it."""
        found = []
        if self.missing:
            found.append(f"damaged: {_named(self.missing, clip)} cannot be decoded; each repeats the one before it")
        if self.reshaped:
            found.append(f"{_named(self.reshaped, clip)} have another size; they are scaled to the first one's shape")
        if clip.lost:
            found.append(f"ends early: {clip.lost} frames that it promises are not there")
        return [f"{clip.path}: {remark}" for remark in (*clip.remarks, *found)]


def survey(clip: Clip, on_progress: OnProgress = ignore, *, shots: bool = True) -> Survey:
    """Decode every frame of the clip once, in a stage `finding shots`, or else `looking through`.

    Raises VideoError where no frame can be decoded, MissingExtra without PySceneDetect.
    """
    cuts = _Cuts(clip) if shots else None
    found, reshaped = set(), set()
    for index, picture, other_size in clip.decodable():
        found.add(index)
        if other_size:
            reshaped.add(index)
        if cuts is not None:
            cuts.see(index, picture)
        on_progress(Update("finding shots" if shots else "looking through", index + 1, clip.frames))
    if not found:
        raise VideoError(f"{clip.path}: none of its {clip.frames} frames can be decoded")
    missing = frozenset(range(clip.frames)) - found
    return Survey(tuple(cuts.found if cuts is not None else ()), missing, frozenset(reshaped))


class _Cuts:
    """Cuts between shots, by PySceneDetect's AdaptiveDetector, which a moving camera does not mislead."""

    def __init__(self, clip: Clip) -> None:
        if find_spec("scenedetect") is None:
            raise MissingExtra("finding shot changes needs scenedetect: pip install 'nerv360[shots]'")
        from scenedetect.detectors import AdaptiveDetector

        self.found: list[int] = []
        self._small = replace(clip, width=2 * LOOKED_AT_HEIGHT, height=LOOKED_AT_HEIGHT)
        self._detector = AdaptiveDetector(min_scene_len=max(1, round(LEAST_SECONDS * float(clip.frame_rate))))

    def see(self, index: int, picture: av.VideoFrame) -> None:
        from scenedetect import FrameTimecode

        time = FrameTimecode(index, float(self._small.frame_rate))
        changes = self._detector.process_frame(time, np.ascontiguousarray(self._small.panorama(picture)[:, :, ::-1]))
        self.found += [change.frame_num for change in changes]


def _named(frames: frozenset[int], clip: Clip) -> str:
    """1, 2, 3, 7 -> frames 1-3, 7."""
    runs: list[list[int]] = []
    for number in sorted(frames):
        if runs and number == runs[-1][-1] + 1:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    return "frames " + ", ".join("-".join(str(clip.start + end) for end in run) for run in runs)


def segments_of(frames: int, found: Survey, longest: int) -> list[range]:
    """The frames of every segment: shots, those that are longer than `longest` frames cut into even parts.

    Each has at least one frame that can be decoded.
    """
    borders = [0]
    for start, end in zip((0, *found.cuts), (*found.cuts, frames), strict=True):
        parts = -(-(end - start) // longest)
        for border in (start + (end - start) * part // parts for part in range(1, parts + 1)):
            if not found.missing.issuperset(range(borders[-1], border)):
                borders.append(border)
    borders[-1] = frames
    return [range(start, end) for start, end in pairwise(borders)]
