"""One job: a segment fitted and written, by whatever process. The same bytes wherever that is."""

import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from nerv360.bitstream.container import Container
from nerv360.cluster.plan import SegmentJob
from nerv360.codec.encoder import encode_clip
from nerv360.errors import BitstreamError, Nerv360Error
from nerv360.models.device import choose_device
from nerv360.storage import Location, exists

__all__ = ["Status", "Tell", "encode_job", "longest_first", "run_in_process"]

TELL_SECONDS = 1.0  # between two messages of a job


@dataclass(frozen=True)
class Status:
    """Where a job stands."""

    state: str  # camera, fitting, done or failed
    worker: str = ""  # machine and process
    step: int = 0  # of the job's; steps that are done again count once
    psnr_db: float = 0.0
    seconds: float = 0.0  # of fitting up to the last checkpoint, over all runs
    reason: str = ""  # why it failed


Tell = Callable[[int, Status], None]  # of a job, by its number


def encode_job(job: SegmentJob, tell: Callable[[Status], None]) -> Status:
    """Fit a segment and write its part, with one thread, unless that part is there, and undamaged.

    Goes on from the checkpoint beside the part. Raises what `encode_clip` does.
    """
    worker = f"{platform.node()}:{os.getpid()}"
    if _is_whole(job.part):
        return Status("done", worker, job.steps)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    told = 0.0

    def say(status: Status) -> None:
        nonlocal told
        if time.monotonic() - told > TELL_SECONDS:
            told = time.monotonic()
            tell(status)

    try:
        result = encode_clip(
            job.clip,
            job.part,
            job.config,
            choose_device(job.device),
            lambda progress, _, model: say(
                Status("fitting", worker, progress.step - progress.returned, progress.psnr_db, progress.seconds)
            ),
            lambda done, frames: say(Status("camera", worker)),
        )
    finally:
        torch.set_num_threads(threads)
    return Status("done", worker, job.steps, result.training_psnr_db, result.seconds)


def _is_whole(part: Location) -> bool:
    if not exists(part):
        return False
    try:
        with Container(part) as container:
            container.verify()
    except BitstreamError:
        return False
    return True


def run_in_process(jobs: Sequence[SegmentJob], tell: Tell) -> None:
    """Do the jobs in this process, one after the other. A job that fails is told of; the others are done."""
    for number in longest_first(jobs):
        try:
            tell(number, encode_job(jobs[number], partial(tell, number)))
        except Nerv360Error as error:
            tell(number, Status("failed", reason=str(error)))


def longest_first(jobs: Sequence[SegmentJob]) -> list[int]:
    """The numbers of the jobs, those that take longest first: begun last, one would be waited for."""
    return sorted(range(len(jobs)), key=lambda number: (-jobs[number].steps * jobs[number].clip.frame_bytes, number))
