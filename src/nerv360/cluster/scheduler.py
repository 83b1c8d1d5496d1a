"""Encode planned videos: run the segments of all of them, then join each video's."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nerv360.bitstream.manifest import MANIFEST_ENDING
from nerv360.cluster.plan import EncodePlan, SegmentJob, remove_segments
from nerv360.cluster.worker import JobUpdate, OnJobProgress
from nerv360.codec.mux import mux
from nerv360.errors import Nerv360Error
from nerv360.progress import ignore
from nerv360.storage import name_of

__all__ = ["Finished", "Run", "encode_plans"]

Run = Callable[[Sequence[SegmentJob], OnJobProgress], None]


@dataclass(frozen=True)
class Finished:
    """The result of a video."""

    plan: EncodePlan
    size: int  # bytes; 0 where it failed
    seconds: float  # of encoding, over all segments and runs
    reason: str  # why it failed; empty where it did not


def encode_plans(plans: Sequence[EncodePlan], run: Run, on_progress: OnJobProgress = ignore) -> list[Finished]:
    """Encode videos. Each gets its file as soon as its last segment is done; one that fails does not stop the others.

    `run` does the jobs, numbered over all plans. Finished segments are kept until their file is
    written, so that a second call does only what is missing.
    """
    owners = [number for number, plan in enumerate(plans) for _ in plan.jobs]
    ended: dict[int, list[JobUpdate]] = {number: [] for number in range(len(plans))}
    finished: dict[int, Finished] = {}

    def on_job_progress(update: JobUpdate) -> None:
        on_progress(update)
        if update.stage in ("done", "failed"):
            owner = owners[update.job]
            ended[owner].append(update)
            if len(ended[owner]) == len(plans[owner].jobs):
                finished[owner] = _finish(plans[owner], ended[owner])

    run([job for plan in plans for job in plan.jobs], on_job_progress)
    return [finished[number] for number in range(len(plans))]


def _finish(plan: EncodePlan, updates: Sequence[JobUpdate]) -> Finished:
    """Join the segments of a video, and remove their files."""
    seconds = sum(update.seconds for update in updates)
    in_order = sorted(updates, key=lambda update: update.job)
    failures = [update.reason for update in in_order if update.stage == "failed"]
    if failures:
        reason = f"{len(failures)} of {len(updates)} segments failed; the first: {failures[0]}"
        return Finished(plan, 0, seconds, reason)
    try:
        size = mux([job.output for job in plan.jobs], plan.output)
    except Nerv360Error as error:
        return Finished(plan, 0, seconds, str(error))
    if not name_of(plan.output).endswith(MANIFEST_ENDING):
        remove_segments(plan.output)
    return Finished(plan, size, seconds, "")
