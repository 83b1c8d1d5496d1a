"""Encodings that are killed at random moments, again and again: each ends with the bytes of the undisturbed one.

A hundred and ten kills in all; the last lines of `pytest -m slow -s tests/test_kills.py` say how many came when.
"""

import os
import random
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.films import other_eye, stereo_box, write_film
from helpers.processes import running

import nerv360
from nerv360.bitstream.container import Container
from nerv360.cli.encode_long import encode_long
from nerv360.cluster.plan import Request
from nerv360.storage import names_in
from nerv360.video.clip import Clip

pytestmark = pytest.mark.slow

INSTANT = nerv360.preset("instant")
SEGMENT_S = 0.1  # three frames
Attempt = Callable[[float | None], bool]  # an encoding that is killed after so many seconds: whether it has ended


@pytest.fixture
def clip(video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("nerv360.codec.motion_journal.SECONDS", 0.0)  # a checkpoint after every key and step
    monkeypatch.setattr("nerv360.training.fit.SAVE_SECONDS", 0.0)
    monkeypatch.setattr("nerv360.training.fit.MOST_SECONDS", 0.0)
    return Path(shutil.copy(video, tmp_path / "c.mp4"))


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "o.nerv360"


def in_a_fork(encode: Callable[[], object]) -> Attempt:
    def attempt(seconds: float | None) -> bool:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                encode()
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        if seconds is not None:
            time.sleep(seconds)
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        assert code in (0, -signal.SIGKILL)
        return code == 0

    return attempt


def as_a_command(*arguments: object) -> Attempt:
    def attempt(seconds: float | None) -> bool:
        with running([sys.executable, "-m", "nerv360", "encode", *map(str, arguments)]) as process:
            if seconds is not None:
                time.sleep(seconds)
                process.kill()
            code = process.wait()
        assert code in (0, -signal.SIGKILL)
        return code == 0

    return attempt


def survives(attempt: Attempt, kills: int, output: Path) -> None:
    """Asserts that so many kills change no byte, and leave nothing behind once the work is done."""
    began = time.monotonic()
    assert attempt(None)
    whole_s, expected = time.monotonic() - began, output.read_bytes()
    rng, killed, ended, anew = random.Random(output.parent.name), 0, 0, True
    output.unlink()
    while killed < kills or not output.exists():
        began = time.monotonic()
        if attempt(rng.uniform(0, 1.1 * whole_s) if killed < kills else None):
            if anew:
                whole_s = min(whole_s, time.monotonic() - began)  # the first one may have had to load more
            ended, anew = ended + 1, True
            assert output.read_bytes() == expected
            assert names_in(output.parent) == ["c.mp4", output.name]
            if killed < kills:
                output.unlink()
        else:
            killed, anew = killed + 1, False
    assert output.read_bytes() == expected  # of the last one killed, where it was done but for its end
    print(f"\n{killed} kills within {whole_s:.1f} s of work, {ended} files with the same bytes")


def test_keys(clip: Path, output: Path) -> None:
    survives(in_a_fork(lambda: nerv360.encode(clip, output, INSTANT)), 30, output)


def test_keys_of_both_eyes(clip: Path, output: Path) -> None:
    left = list(Clip.open(clip))
    write_film(
        clip, [np.concatenate(pair) for pair in zip(left, other_eye(left), strict=True)], sample_entry=stereo_box(1)
    )
    survives(in_a_fork(lambda: nerv360.encode(clip, output, INSTANT)), 10, output)
    with Container(output) as container:
        assert container.header.eyes == 2


def test_networks(clip: Path, quick: nerv360.EncodingConfig, output: Path) -> None:
    survives(in_a_fork(lambda: nerv360.encode(clip, output, quick.replace(epochs=2))), 20, output)


def test_segments(clip: Path, output: Path) -> None:
    work = in_a_fork(lambda: encode_long([Request(clip, output)], INSTANT, SEGMENT_S, None, None, None))
    survives(work, 30, output)


def test_processes_of_this_machine(clip: Path, output: Path) -> None:
    survives(
        as_a_command(clip, "-o", output, "--preset", "instant", "--segment", SEGMENT_S, "--workers", 2), 10, output
    )


@pytest.fixture
def cluster() -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    yield cluster
    cluster.shutdown()


def test_a_cluster(cluster: Any, clip: Path, output: Path) -> None:
    work = as_a_command(clip, "-o", output, "--preset", "instant", "--segment", SEGMENT_S, "--ray", cluster.address)
    survives(work, 10, output)
