"""Processes of tests: none outlives its test, and what they do is waited for, not for ever."""

import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import psutil

T = TypeVar("T")


@contextmanager
def running(command: Sequence[str], **options: Any) -> "Iterator[subprocess.Popen[str]]":
    """A process that is killed where the block ends, or fails, before it does."""
    with subprocess.Popen(command, text=True, **options) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(happened: Callable[[], T], seconds: float = 240) -> T:
    """What it gives, as soon as that is true. Raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := happened():
            return found
        time.sleep(0.2)
    raise TimeoutError


def alive(process: psutil.Process) -> bool:
    """Whether it has not ended; one that nobody has waited for yet has."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def has_loaded(process: psutil.Process, library: str) -> bool:
    """Whether a shared library is loaded in it (Linux)."""
    try:
        return library in Path(f"/proc/{process.pid}/maps").read_text()
    except OSError:
        return False
