"""Cut a long video into segments, each a job that any machine can do."""

import hashlib
from dataclasses import dataclass

import msgspec

from nerv360.config import EncodingConfig
from nerv360.errors import OutputError
from nerv360.progress import OnProgress, ignore
from nerv360.storage import Location, atomic_write, child, make_folder, name_of, open_file, sibling
from nerv360.video.clip import Clip
from nerv360.video.reading import AS_TAGGED, Layout
from nerv360.video.shots import segments_of, survey

__all__ = ["EncodePlan", "Request", "SegmentJob", "plan", "segments_folder"]


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

    def open(self) -> Clip:
        """Raises VideoError, ArgumentError."""
        return Clip.open(
            self.video, start=self.start, frames=self.frames, size=self.size, layout=self.layout, force=self.force
        )


@dataclass(frozen=True)
class SegmentJob:
    """One segment to encode: all that a worker needs."""

    clip: Clip
    output: Location  # a file of this segment alone
    config: EncodingConfig
    device: str | None


@dataclass(frozen=True)
class EncodePlan:
    """A planned video."""

    clip: Clip
    output: Location
    jobs: list[SegmentJob]
    remarks: list[str]  # what the user should know of the video


class _Plan(msgspec.Struct, frozen=True):
    """plan.json in the folder of the segments, so that cuts are found once."""

    identity: str
    segments: list[tuple[int, int]]  # first frame, frames
    remarks: list[str]


def segments_folder(output: Location) -> Location:
    """The folder of an unfinished file's segments, and of a manifest's."""
    return sibling(output, name_of(output) + ".parts")


def plan(
    request: Request,
    config: EncodingConfig,
    longest_s: float,  # of a segment
    device: str | None = None,
    on_progress: OnProgress = ignore,
) -> EncodePlan:
    """Find the cuts of a video and plan its segments. An earlier plan is used again if nothing has changed.

    Raises VideoError, ArgumentError, MissingExtra, OutputError.
    """
    clip = request.open()
    longest = max(1, round(longest_s * clip.frame_rate))
    identity = f"{clip.fingerprint()} {longest}"
    folder = segments_folder(request.output)
    planned = _read_plan(child(folder, "plan.json"), identity)
    if planned is None:
        found = survey(clip, on_progress)
        segments = [(each.start, len(each)) for each in segments_of(clip.frames, found, longest)]
        planned = _Plan(identity, segments, found.remarks(clip))
        _write_plan(planned, folder)
    jobs = []
    for number, (first, frames) in enumerate(planned.segments):
        segment = clip.cut(first, frames)
        digest = hashlib.sha256(f"{identity} {first} {frames} {config}".encode()).hexdigest()[:12]
        output = child(folder, f"{number:05d}-{digest}.nerv360")
        jobs.append(SegmentJob(segment, output, config, device))
    return EncodePlan(clip, request.output, jobs, planned.remarks)


def _read_plan(where: Location, identity: str) -> _Plan | None:
    try:
        with open_file(where) as file:
            found = msgspec.json.decode(file.read(), type=_Plan)
    except (OSError, msgspec.DecodeError):
        return None
    return found if found.identity == identity else None


def _write_plan(planned: _Plan, folder: Location) -> None:
    """Write the plan: where that cannot be done, nothing later could be written either."""
    try:
        make_folder(folder)
    except OSError as error:
        raise OutputError(f"{folder}: the folder cannot be made: {error.strerror}") from None
    with atomic_write(child(folder, "plan.json")) as partial:
        partial.write_bytes(msgspec.json.encode(planned))
