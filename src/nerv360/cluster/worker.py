"""Encode one segment, in whatever process: the bytes are the same on every machine of a kind."""

import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from nerv360.bitstream.container import Container
from nerv360.cluster.plan import SegmentJob
from nerv360.codec.encoder import encode_clip
from nerv360.errors import BitstreamError, Nerv360Error
from nerv360.models.device import choose_device
from nerv360.progress import FitUpdate, Update
from nerv360.storage import Location, exists

__all__ = ["JobUpdate", "OnJobProgress", "encode_job", "failed", "longest_first", "run_in_process"]

UPDATE_SECONDS = 1.0  # between two updates of a job


@dataclass(frozen=True)
class JobUpdate(Update):
    """Where a job stands: at a stage of its encoder, or `done` or `failed`, in frames."""

    job: int  # its number
    worker: str = ""  # machine and process
    fraction: float = 0.0  # of the job that is done, as far as its encoder can know
    psnr_db: float | None = None  # of a fit that goes on
    seconds: float = 0.0  # of encoding, over all runs
    summary: str = ""  # what the encoder says of a segment that is done
    reason: str = ""  # why it failed


OnJobProgress = Callable[[JobUpdate], None]


def encode_job(number: int, job: SegmentJob, on_progress: OnJobProgress) -> JobUpdate:
    """Encode a segment and write its part, with one thread, unless that part is there, and undamaged.

    Resumes from the checkpoint beside it. Raises what `encode_clip` does.
    """
    worker = f"{platform.node()}:{os.getpid()}"
    done = JobUpdate("done", job.clip.frames, job.clip.frames, number, worker, fraction=1.0)
    if _is_whole(job.output):
        return done
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        updates = _Updates(number, worker, on_progress)
        result = encode_clip(job.clip, job.output, job.config, choose_device(job.device), updates, job.precision)
    finally:
        torch.set_num_threads(threads)
    summary = "; ".join(filter(None, (result.summary, result.missed)))
    return replace(done, seconds=result.seconds, summary=summary)


class _Updates:
    """Updates of an encoding as updates of its job, not more often than every UPDATE_SECONDS."""

    def __init__(self, number: int, worker: str, on_progress: OnJobProgress) -> None:
        self.number, self.worker, self.on_progress = number, worker, on_progress
        self._last = 0.0

    def __call__(self, update: Update) -> None:
        if time.monotonic() - self._last <= UPDATE_SECONDS:
            return
        self._last = time.monotonic()
        job_update = JobUpdate(update.stage, update.done, update.total, self.number, self.worker)
        if isinstance(update, FitUpdate):
            fraction = update.done / update.total
            job_update = replace(job_update, fraction=fraction, psnr_db=update.psnr_db, seconds=update.seconds)
        self.on_progress(job_update)


def _is_whole(part: Location) -> bool:
    if not exists(part):
        return False
    try:
        with Container(part) as container:
            container.verify()
    except BitstreamError:
        return False
    return True


def failed(number: int, job: SegmentJob, reason: str) -> JobUpdate:
    """The last update of a job that failed."""
    return JobUpdate("failed", 0, job.clip.frames, number, reason=reason)


def run_in_process(jobs: Sequence[SegmentJob], on_progress: OnJobProgress) -> None:
    """Do the jobs in this process, one after the other. One that fails does not stop the others."""
    for number in longest_first(jobs):
        try:
            on_progress(encode_job(number, jobs[number], on_progress))
        except Nerv360Error as error:
            on_progress(failed(number, jobs[number], str(error)))


def longest_first(jobs: Sequence[SegmentJob]) -> list[int]:
    """The numbers of the jobs, those that take longest first: begun last, one would be waited for."""
    return sorted(
        range(len(jobs)), key=lambda number: (-jobs[number].clip.frames * jobs[number].clip.frame_bytes, number)
    )
