"""Look through a whole video once: where its shots change, and which frames are lost; then cut it into segments."""

from dataclasses import dataclass, replace
from importlib.util import find_spec
from itertools import pairwise

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


def survey(clip: Clip, on_progress: OnProgress = ignore) -> Survey:
    """Decode every frame of the clip once, in a stage `finding shots`.

    Cuts are found by PySceneDetect's AdaptiveDetector, which a moving camera does not mislead. Raises VideoError
    where no frame can be decoded, MissingExtra without PySceneDetect.
    """
    if find_spec("scenedetect") is None:
        raise MissingExtra("finding shot changes needs scenedetect: pip install 'nerv360[shots]'")
    from scenedetect import FrameTimecode
    from scenedetect.detectors import AdaptiveDetector

    rate = float(clip.frame_rate)
    detector = AdaptiveDetector(min_scene_len=max(1, round(LEAST_SECONDS * rate)))
    cuts, found = [], set()
    for index, picture in replace(clip, width=2 * LOOKED_AT_HEIGHT, height=LOOKED_AT_HEIGHT).decodable():
        found.add(index)
        changes = detector.process_frame(FrameTimecode(index, rate), np.ascontiguousarray(picture[:, :, ::-1]))
        cuts += [change.frame_num for change in changes]
        on_progress(Update("finding shots", index + 1, clip.frames))
    if not found:
        raise VideoError(f"{clip.path}: none of its {clip.frames} frames can be decoded")
    return Survey(tuple(cuts), frozenset(range(clip.frames)) - found)


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
