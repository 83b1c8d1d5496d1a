"""Videos, planned -> their files: all segments of all videos together, longest first."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nerv360.bitstream.pieces import MANIFEST_ENDING
from nerv360.cluster.plan import EncodePlan, SegmentJob, parts_folder
from nerv360.cluster.worker import Status, Tell
from nerv360.codec.joining import join
from nerv360.errors import Nerv360Error
from nerv360.storage import name_of, remove_folder

__all__ = ["Finished", "Run", "encode_plans"]

Run = Callable[[Sequence[SegmentJob], Tell], None]


@dataclass(frozen=True)
class Finished:
    """What became of a video."""

    film: EncodePlan
    size: int  # bytes; 0 where it failed
    seconds: float  # of fitting, over all segments and runs
    reason: str  # why it failed; empty where it did not


def encode_plans(films: Sequence[EncodePlan], run: Run, tell: Tell = lambda number, status: None) -> list[Finished]:
    """Encode videos. Each gets its file as soon as its last segment is done; one that fails does not stop the others.

    `run` does the jobs; `tell` hears of each, numbered over all films. Finished parts are kept until their file is
    written, so that a second call does only what is missing.
    """
    jobs = [(film, job) for film in films for job in film.jobs]
    last: list[Status | None] = [None] * len(jobs)
    waiting = {id(film): len(film.jobs) for film in films}
    finished: dict[int, Finished] = {}

    def heard(number: int, status: Status) -> None:
        last[number] = status
        tell(number, status)
        film = jobs[number][0]
        if status.state in ("done", "failed"):
            waiting[id(film)] -= 1
            if not waiting[id(film)]:
                words = [word for word, (owner, _) in zip(last, jobs, strict=True) if owner is film and word]
                finished[id(film)] = _finish(film, words)

    run([job for _, job in jobs], heard)
    return [finished[id(film)] for film in films]


def _finish(film: EncodePlan, words: Sequence[Status]) -> Finished:
    """Join the parts of a video, and remove what is not needed any more."""
    seconds = sum(word.seconds for word in words)
    failures = [word.reason for word in words if word.state == "failed"]
    if failures:
        return Finished(film, 0, seconds, f"{len(failures)} of {len(words)} segments failed; the first: {failures[0]}")
    try:
        size = join([job.part for job in film.jobs], film.output)
    except Nerv360Error as error:
        return Finished(film, 0, seconds, str(error))
    if not name_of(film.output).endswith(MANIFEST_ENDING):
        remove_folder(parts_folder(film.output))
    return Finished(film, size, seconds, "")
