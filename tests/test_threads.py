"""How many threads PyTorch has, and how they wait."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nerv360 import threads


@pytest.mark.parametrize(
    ("quota", "expected"), [("max 100000", 4), ("150000 100000", 2), ("10000 100000", 1), ("900000 100000", 4), ("", 4)]
)
def test_no_more_threads_than_processors(
    quota: str, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 5, 7})
    if quota:
        (tmp_path / "cpu.max").write_text(f"{quota}\n")
    assert threads.processors() == expected


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, (f"OMP_NUM_THREADS = '{threads.processors()}'", "OMP_WAIT_POLICY = 'PASSIVE'")),
        ({"OMP_NUM_THREADS": "1", "GOMP_SPINCOUNT": "7"}, ("OMP_NUM_THREADS = '1'", "GOMP_SPINCOUNT = '7'")),
    ],
)
def test_openmp_is_told_unless_the_user_has(given: dict[str, str], told: tuple[str, ...]) -> None:
    """Threads that spin took a fit on a busy machine from 5 s to more than 160 s."""
    command = [sys.executable, "-c", "import nerv360, torch; print(torch.get_num_threads())"]
    others = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    environment = others | {"OMP_DISPLAY_ENV": "VERBOSE"} | given
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert all(each in result.stderr for each in told), result.stderr
    assert result.stdout.strip() == given.get("OMP_NUM_THREADS", str(threads.processors()))
