"""Cut a long video into segments, each a job that any machine can do."""

import hashlib
import re
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate
from typing import Final, Literal

import msgspec

from nerv360.config import EncodingConfig
from nerv360.errors import OutputError
from nerv360.progress import OnProgress, ignore
from nerv360.storage import (
    Location,
    atomic_write,
    child,
    make_folder,
    name_of,
    names_in,
    open_file,
    remove,
    remove_folder,
    sibling,
)
from nerv360.video.clip import Clip
from nerv360.video.reading import AS_TAGGED, Layout
from nerv360.video.shots import segments_of, survey

__all__ = ["EncodePlan", "Request", "SegmentJob", "plan", "remove_segments"]

PLAN = "plan.json"
FORMAT: Final = "segments of nerv360"
UNFINISHED = re.compile(r"\.plan\.partial\d*\.json")  # all that a kill may leave before there is a plan
OURS = re.compile(r"plan\.json|\d{5}-[0-9a-f]{12}\.nerv360(\.checkpoint)?|\..+\.partial\d*\..+")


@dataclass(frozen=True)
class Request:
    """A video to be encoded, and where its file is to lie."""

    video: Location
    output: Location
    start: int = 0
    frames: int | None = None
    size: tuple[int, int] | None = None
    force: bool = False
    layout: Layout = AS_TAGGED
    sound: bool = True

    def open(self) -> Clip:
        """Raises VideoError, ArgumentError."""
        return Clip.open(
            self.video,
            start=self.start,
            frames=self.frames,
            size=self.size,
            layout=self.layout,
            force=self.force,
            sound=self.sound,
        )


@dataclass(frozen=True)
class SegmentJob:
    """One segment to encode: all that a worker needs."""

    clip: Clip
    output: Location  # a file of this segment alone
    config: EncodingConfig
    device: str | None
    precision: str | None = None  # of a fit


@dataclass(frozen=True)
class EncodePlan:
    """A planned video."""

    clip: Clip
    output: Location
    jobs: list[SegmentJob]
    remarks: list[str]  # what the user should know of the video


class _Marked(msgspec.Struct, frozen=True):
    """What plan.json of any version says: that the folder is ours."""

    format: Literal["segments of nerv360"]


class _Plan(_Marked, frozen=True):
    """plan.json in the folder of the segments, so that cuts are found once."""

    identity: str
    segments: list[tuple[int, int]]  # first frame, frames
    remarks: list[str]

    def covers(self, frames: int) -> bool:
        """Whether the segments are all frames, one behind the other."""
        ends = list(accumulate((count for _, count in self.segments), initial=0))
        firsts, counts = [first for first, _ in self.segments], [count for _, count in self.segments]
        return firsts == ends[:-1] and ends[-1] == frames and min(counts, default=0) > 0


def _segments_folder(output: Location) -> Location:
    """The folder of an unfinished file's segments, and of a manifest's."""
    return sibling(output, name_of(output) + ".parts")


def remove_segments(output: Location) -> None:
    """Remove what was kept for a file that is finished: what is not ours stays, and then its folder does."""
    folder = _segments_folder(output)
    for name in filter(OURS.fullmatch, names_in(folder)):
        remove(child(folder, name))
    with suppress(OSError):
        remove_folder(folder)


def plan(
    request: Request,
    config: EncodingConfig,
    longest_s: float,  # of a segment
    device: str | None = None,
    on_progress: OnProgress = ignore,
    precision: str | None = None,
) -> EncodePlan:
    """Find the cuts of a video and plan its segments. An earlier plan is used again if nothing has changed.

    Raises VideoError, ArgumentError, MissingExtra, OutputError.
    """
    clip = request.open()
    longest = max(1, round(longest_s * clip.frame_rate))
    identity = f"{clip.fingerprint()} {longest}"
    folder = _segments_folder(request.output)
    planned = _known_plan(folder)
    if planned is None or planned.identity != identity or not planned.covers(clip.frames):
        found = survey(clip, on_progress)
        segments = [(each.start, len(each)) for each in segments_of(clip.frames, found, longest)]
        planned = _Plan(FORMAT, identity, segments, found.remarks(clip))
        _write_plan(planned, folder)
    jobs = []
    for number, (first, frames) in enumerate(planned.segments):
        segment = clip.cut(first, frames)
        digest = hashlib.sha256(f"{identity} {first} {frames} {config}".encode()).hexdigest()[:12]
        output = child(folder, f"{number:05d}-{digest}.nerv360")
        jobs.append(SegmentJob(segment, output, config, device, precision))
    return EncodePlan(clip, request.output, jobs, planned.remarks)


def _known_plan(folder: Location) -> _Plan | None:
    """The plan in a folder, if there is one. Raises OutputError where the folder is not ours."""
    with suppress(OSError, msgspec.DecodeError), open_file(child(folder, PLAN)) as file:
        data = file.read()
        msgspec.json.decode(data, type=_Marked)
        try:
            return msgspec.json.decode(data, type=_Plan)
        except msgspec.DecodeError:  # of another version
            return None
    try:
        foreign = [name for name in names_in(folder) if not UNFINISHED.fullmatch(name)]
    except OSError as error:
        raise OutputError(f"{folder}: cannot be used for segments: {error.strerror}") from None
    if foreign:
        raise OutputError(f"{folder}: holds {foreign[0]}, which is not ours; move the folder, or name another output")
    return None


def _write_plan(planned: _Plan, folder: Location) -> None:
    """Write the plan: where that cannot be done, nothing later could be written either."""
    try:
        make_folder(folder)
    except OSError as error:
        raise OutputError(f"{folder}: the folder cannot be made: {error.strerror}") from None
    with atomic_write(child(folder, PLAN)) as partial:
        partial.write_bytes(msgspec.json.encode(planned))
