"""`nerv360 encode` of long videos: in segments, by several processes or machines, many videos at once."""

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from nerv360.claims import check_output, claim
from nerv360.cli.console import console, progress_bar
from nerv360.cli.event_log import log_event
from nerv360.cli.live_table import job_table
from nerv360.cluster.address import check_ray
from nerv360.cluster.plan import EncodePlan, Request, plan
from nerv360.config import EncodingConfig
from nerv360.errors import ArgumentError, Nerv360Error
from nerv360.storage import identity

if TYPE_CHECKING:
    from nerv360.cluster.scheduler import Finished, Run

__all__ = ["encode_long"]


def encode_long(
    requests: Sequence[Request],
    config: EncodingConfig,
    segment_s: float,
    workers: int | None,
    address: str | None,
    device: str | None,
    precision: str | None = None,
) -> None:
    """Plan and encode videos, and say what became of each. Raises the first error where there is but one video."""
    if workers is not None or address is not None:
        check_ray(address)
    videos = {identity(request.video) for request in requests}
    for request in requests:
        check_output(request.output)
        if identity(request.output) in videos:
            raise ArgumentError(f"{request.output}: is a video to be encoded; name another output")
    with ExitStack() as claims:
        plans, refused = _planned(requests, config, segment_s, device, precision, claims)
        from nerv360.cluster.scheduler import encode_plans

        with job_table(plans) as on_progress:
            results = encode_plans(plans, _executor(workers, address), on_progress)
    for result in results:
        console.print(_line(result), highlight=False, soft_wrap=True)
        if not result.reason:
            log_event("encoded", path=str(result.plan.output), bytes=result.size, frames=result.plan.clip.frames)
    failures = refused + [f"{result.plan.output}: {result.reason}" for result in results if result.reason]
    if failures:
        kept = "; what is done is kept, and the same command goes on with the rest"
        many = f"{len(failures)} of {len(requests)} videos failed: " if len(requests) > 1 else ""
        raise Nerv360Error(many + "; ".join(failures) + kept)


def _executor(workers: int | None, address: str | None) -> "Run":
    if workers is None and address is None:
        from nerv360.cluster.worker import run_in_process

        return run_in_process
    from nerv360.cluster.ray_executor import run_on_ray

    return partial(run_on_ray, workers=workers, address=address)


def _planned(
    requests: Sequence[Request],
    config: EncodingConfig,
    segment_s: float,
    device: str | None,
    precision: str | None,
    claims: ExitStack,
) -> tuple[list[EncodePlan], list[str]]:
    """The plans, whose outputs are claimed, and why other videos are refused. A single video is refused at once."""
    plans: list[EncodePlan] = []
    refused: list[str] = []
    for request in requests:
        try:
            claims.enter_context(claim(request.output, work="encoding"))
            with progress_bar() as on_progress:
                plans.append(plan(request, config, segment_s, device, on_progress, precision))
        except Nerv360Error as error:
            if len(requests) == 1:
                raise
            refused.append(str(error))
            continue
        for note in plans[-1].remarks:
            console.print(note, highlight=False, soft_wrap=True)
    return plans, refused


def _line(result: "Finished") -> str:
    if result.reason:
        return f"{result.plan.output}: failed"
    clip, count = result.plan.clip, len(result.plan.jobs)
    bitrate, most = (
        8 * result.size * float(clip.frame_rate) / clip.frames,
        result.plan.jobs[0].config.rate_target.bitrate,
    )
    over = f"; more than the limit of {most / 1000:.1f} kbit/s" if most is not None and bitrate > most else ""
    return (
        f"{result.plan.output}: {result.size:,} bytes for {clip.frames} frames in {count} segments, "
        f"{bitrate / 1000:.1f} kbit/s; encoded in {result.seconds / 60:.1f} min of all workers{over}"
    )
