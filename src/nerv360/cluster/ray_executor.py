"""Run jobs as Ray tasks, on the processes of this machine or on a cluster.

    driver ── one task per job, longest first ──> workers ── part, checkpoint ──> storage
      ^                                              │
      └──────── status: the last update of each <────┘

Ray gives a task to another worker when its process or its machine dies; the task goes on from its checkpoint. When the
driver dies, Ray ends its tasks; called again, the driver skips what is done, and the rest goes on from checkpoints.
"""

import os
import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from nerv360 import __version__
from nerv360.cluster.address import check_ray
from nerv360.cluster.plan import SegmentJob
from nerv360.cluster.worker import JobUpdate, OnJobProgress, encode_job, failed, longest_first
from nerv360.errors import ClusterError, Nerv360Error, OutputError, VideoError

__all__ = ["run_on_ray"]

RETRIES = 10  # of a job whose process or machine died, or which could not reach its storage
POLL_SECONDS = 1.0
QUIET: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
RAY_SETTINGS = {  # of the processes of this machine; all are found in Ray's documentation
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS": "0",
}


class StatusActor:
    """The last update of every job, until the driver takes them."""

    def __init__(self) -> None:
        self._updates: dict[int, JobUpdate] = {}

    def put(self, update: JobUpdate) -> None:
        self._updates[update.job] = update

    def take(self) -> list[JobUpdate]:
        updates, self._updates = self._updates, {}
        return list(updates.values())


def run_on_ray(
    jobs: Sequence[SegmentJob], on_progress: OnJobProgress, *, workers: int | None = None, address: str | None = None
) -> None:
    """Do the jobs on a Ray cluster, or in as many processes of this machine as there are to be workers.

    A job that fails does not stop the others. Raises ClusterError, MissingExtra.
    """
    with _connected(address, workers) as ray:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        status = ray.remote(StatusActor).options(num_cpus=0, scheduling_strategy=here).remote()
        gpus = _gpus({_device(job) for job in jobs}, ray.cluster_resources().get("GPU", 0))
        task = ray.remote(_encode_job).options(
            num_cpus=1, num_gpus=gpus, max_retries=RETRIES, retry_exceptions=[OutputError, VideoError]
        )
        running = {task.remote(status, number, jobs[number], _versions()): number for number in longest_first(jobs)}
        while running:
            finished, _ = ray.wait(list(running), num_returns=len(running), timeout=POLL_SECONDS)
            unfinished = set(running.values())
            for update in ray.get(status.take.remote()):
                if update.job in unfinished:  # an update may be late
                    on_progress(update)
            for each in finished:
                number = running.pop(each)
                on_progress(_last_update(ray, each, number, jobs[number]))


def _last_update(ray: Any, task: Any, number: int, job: SegmentJob) -> JobUpdate:
    """Of a task that has ended."""
    try:
        return ray.get(task)
    except Nerv360Error as error:
        return failed(number, job, _reason(error))
    except ray.exceptions.RayError as error:
        return failed(number, job, f"its worker failed: {_reason(error)}")


def _device(job: SegmentJob) -> str | None:
    """The device that is asked for; of an encoder that has no use for another, the processor."""
    return "cpu" if "device" in job.config.architecture.spec.unused else job.device


def _gpus(devices: set[str | None], there: float) -> int:
    """Of a worker: one where the cluster has any, unless the processor is asked for. Without it, Ray would wait."""
    if "cuda" in devices and not there:
        raise ClusterError("--device cuda: the cluster has no GPU; leave it out, or add a machine with one")
    return 1 if there and devices != {"cpu"} else 0


def _encode_job(status: Any, number: int, job: SegmentJob, versions: str) -> JobUpdate:
    """A task."""
    if versions != _versions():
        raise ClusterError(
            f"worker {platform.node()} has {_versions()}, the driver {versions}; install the same versions on both"
        )
    return encode_job(number, job, status.put.remote)


def _versions() -> str:
    """The versions that the bytes of a file depend on."""
    return f"nerv360 {__version__}, torch {torch.__version__}"


@contextmanager
def _connected(address: str | None, workers: int | None) -> Iterator[Any]:
    check_ray(address)
    os.environ.update({name: value for name, value in RAY_SETTINGS.items() if name not in os.environ})
    import ray

    try:
        if address is None:
            ray.init(address="local", num_cpus=workers, include_dashboard=False, **QUIET)
        else:
            ray.init(address=address, **QUIET)
    except Exception as error:  # Ray raises plain ones, too: "The current node timed out during startup"
        where = "a local cluster cannot be started" if address is None else f"--ray {address}: cannot be used"
        raise ClusterError(f"{where}: {_reason(error)}") from None
    try:
        yield ray
    except ray.exceptions.RayError as error:
        raise ClusterError(f"the cluster is lost ({_reason(error)}); what is done is kept: start it again") from None
    finally:
        ray.shutdown()


def _reason(error: Exception) -> str:
    """The last line of a message: Ray's have a traceback before it."""
    cause = getattr(error, "cause", None) or error
    return (str(cause).strip() or type(cause).__name__).splitlines()[-1]
