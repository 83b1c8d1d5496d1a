"""Segments on a Ray cluster, with an S3 store that is a server of its own; whatever dies, the same bytes."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import fsspec
import psutil
import pytest
from helpers.processes import alive, has_loaded, running, wait_for

from nerv360.cluster import ray_executor
from nerv360.cluster.plan import Request, plan
from nerv360.cluster.ray_executor import run_on_ray
from nerv360.cluster.scheduler import encode_plans
from nerv360.config import preset, preset_for
from nerv360.errors import ClusterError

pytestmark = pytest.mark.slow

NETWORK = ("--preset", "tiny", "--decoder-size", "106000", "--epochs", "60", "--segment", "1.2")
KEYS = ("--preset", "medium", "--bitrate", "200k", "--segment", "1.2")
FRAMES, FPS = 24, 10


@pytest.fixture(scope="module")
def store() -> Iterator[Any]:
    """An S3 store on this machine, with a bucket, and the environment that points at it."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    settings = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    with pytest.MonkeyPatch.context() as patched:
        for name, value in (settings | {"AWS_ENDPOINT_URL": f"http://{host}:{port}"}).items():
            patched.setenv(name, value)
        system = fsspec.filesystem("s3", skip_instance_cache=True)
        system.mkdir("films")
        yield system
    server.stop()


@pytest.fixture(scope="module")
def cluster(store: Any) -> Iterator[Any]:
    """A head without work, and two nodes of one processor each."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    for _ in range(2):
        cluster.add_node(num_cpus=1)
    yield cluster
    cluster.shutdown()


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory, store: Any) -> Path:
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    with nerv360("sample", path, "--size", "160x80", "--frames", FRAMES, "--fps", FPS) as run:
        run.wait()
    store.put_file(str(path), "films/film.mp4")
    return path


def undisturbed(film: Path, settings: tuple[str, ...], output: Path) -> bytes:
    """What a run in one process gives."""
    with nerv360("encode", film, "-o", output, *settings) as run:
        _, errors = run.communicate()
    assert run.returncode == 0, errors
    return output.read_bytes()


def nerv360(*arguments: object) -> "AbstractContextManager[subprocess.Popen[str]]":
    command = [sys.executable, "-m", "nerv360", *map(str, arguments)]
    return running(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def encode_on(cluster: Any, output: str) -> "AbstractContextManager[subprocess.Popen[str]]":
    return nerv360("encode", "s3://films/film.mp4", "-o", output, *NETWORK, "--ray", cluster.address)


def workers() -> list[psutil.Process]:
    """Processes of this test's that encode a segment: Ray names them by their task."""
    running = psutil.Process().children(recursive=True)
    return [each for each in running if task_of(each).startswith(f"ray::{ray_executor._encode_job.__name__}")]


def task_of(process: psutil.Process) -> str:
    try:
        return "".join(process.cmdline()[:1])
    except psutil.NoSuchProcess:
        return ""


def checkpoints(store: Any, name: str) -> dict[str, Any]:
    """When each checkpoint of an unfinished file was written."""
    store.invalidate_cache()
    found = store.find(f"films/{name}.parts", detail=True)
    return {path: about["LastModified"] for path, about in found.items() if path.endswith(".checkpoint")}


def saved_in_the_middle(store: Any, name: str) -> bool:
    """Whether a segment has a checkpoint that is not its first."""
    first = saved_in_the_middle.__dict__.setdefault(name, {})
    now = checkpoints(store, name)
    for path, when in now.items():
        first.setdefault(path, when)
    return any(when > first[path] for path, when in now.items())


def test_whatever_dies_the_file_is_the_same(cluster: Any, store: Any, film: Path, tmp_path: Path) -> None:
    with encode_on(cluster, "s3://films/a.nerv360"):
        wait_for(lambda: saved_in_the_middle(store, "a.nerv360"))
        victim = workers()[0]
        victim.send_signal(signal.SIGKILL)
        wait_for(lambda: not alive(victim))
        wait_for(lambda: sum(has_loaded(each, "libtorch_cpu") for each in workers()) == 2)  # another has taken it up
        lost = cluster.worker_nodes.copy().pop()
        cluster.remove_node(lost, allow_graceful=False)
        cluster.add_node(num_cpus=1)
        wait_for(lambda: len(workers()) == 2)
    wait_for(lambda: not workers())  # Ray ends the tasks of a driver that is gone
    with encode_on(cluster, "s3://films/a.nerv360") as again:
        output, errors = again.communicate()
    assert again.returncode == 0, errors
    assert "in 2 segments" in output
    assert store.cat("films/a.nerv360") == undisturbed(film, NETWORK, tmp_path / "alone.nerv360")
    store.invalidate_cache()
    assert store.find("films") == ["films/a.nerv360", "films/film.mp4"]


def test_processes_of_this_machine(film: Path, tmp_path: Path) -> None:
    encode = ("encode", film, "-o", tmp_path / "a.nerv360", *KEYS, "--workers", 2)
    with nerv360(*encode):
        wait_for(lambda: len(workers()) == 2)
        left = workers()
    wait_for(lambda: not any(map(alive, left)))
    with nerv360(*encode) as run:
        _, errors = run.communicate()
    assert run.returncode == 0, errors
    assert [path.name for path in tmp_path.iterdir()] == ["a.nerv360"]
    assert (tmp_path / "a.nerv360").read_bytes() == undisturbed(film, KEYS, tmp_path / "alone.nerv360")


def test_a_library_of_videos(cluster: Any, store: Any, film: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"no video" * 99)
    rows = ["video,output,frames", f"{film},{tmp_path}/a.nerv360,10", f"{tmp_path}/broken.mp4,{tmp_path}/b.nerv360,"]
    rows.append(f"s3://films/film.mp4,s3://films/c.nerv360,{FRAMES}")
    (tmp_path / "list.csv").write_text("\n".join(rows))
    with nerv360("encode", "--manifest", tmp_path / "list.csv", "--preset", "instant", "--ray", cluster.address) as run:
        output, errors = run.communicate()
    assert run.returncode == 2
    assert errors.splitlines()[-1].startswith("error: 1 of 3 videos failed")
    assert "broken.mp4: not a video" in errors.splitlines()[-1]
    assert output.count("bytes for") == 2
    assert store.exists("films/c.nerv360")


def test_a_worker_of_another_version(cluster: Any, film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_executor, "__version__", "9.9.9")  # the driver's; the workers have their own
    planned = plan(Request(film, tmp_path / "a.nerv360"), preset("instant"), 10)
    (result,) = encode_plans(
        [planned], lambda jobs, on_progress: run_on_ray(jobs, on_progress, address=cluster.address)
    )
    assert "nerv360 9.9.9" in result.reason
    assert "install the same versions" in result.reason
    assert not (tmp_path / "a.nerv360").exists()


def test_no_gpu_is_waited_for(cluster: Any, film: Path, tmp_path: Path) -> None:
    planned = plan(Request(film, tmp_path / "a.nerv360"), preset_for("nerv360", "tiny"), 10, "cuda")
    with pytest.raises(ClusterError, match="the cluster has no GPU"):
        encode_plans([planned], partial(run_on_ray, address=cluster.address))


def test_a_worker_has_a_gpu_only_where_it_is_of_use(film: Path, tmp_path: Path) -> None:
    for config, gpus in ((preset("instant"), 0), (preset_for("nerv360", "tiny"), 1)):
        (job,) = plan(Request(film, tmp_path / "a.nerv360"), config, 10).jobs
        assert ray_executor._gpus({ray_executor._device(job)}, there=4) == gpus


def test_bad_addresses(film: Path, tmp_path: Path) -> None:
    for address, why in (("127.0.0.1:9", "no cluster answers"), ("ray://a:1", "must be HOST:PORT"), ("x", "HOST:PORT")):
        with pytest.raises(ClusterError, match=why):
            run_on_ray([], lambda number, status: None, address=address)
