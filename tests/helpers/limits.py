"""Bounds on the bytes and the steps that a test may take: the same on a busy machine."""

import resource
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import nerv360

PACKAGE = str(Path(nerv360.__file__).parent)
TraceFunction = Callable[[FrameType, str, Any], Any]


def limit_bytes(more: int) -> None:
    """Let this process ask for no more memory than it has now and `more` bytes: what goes beyond fails."""
    resource.setrlimit(resource.RLIMIT_DATA, (data_bytes() + more, resource.RLIM_INFINITY))


@contextmanager
def at_most_bytes(more: int) -> Iterator[None]:
    """`limit_bytes` within a block."""
    before = resource.getrlimit(resource.RLIMIT_DATA)
    limit_bytes(more)
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def data_bytes() -> int:
    """Bytes of private, writable memory that this process has asked for, used or not (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmData:"))


@contextmanager
def traced_bytes() -> Iterator[Callable[[], tuple[int, int]]]:
    """Within the block, what Python's objects and NumPy's arrays of it take: now, and at most so far."""
    tracemalloc.start()
    try:
        yield tracemalloc.get_traced_memory
    finally:
        tracemalloc.stop()


@contextmanager
def at_most_lines(most: int) -> Iterator[None]:
    """Let no more than so many lines of the package run within a block, in this thread and in those that it starts.

    The line after them fails. Lines of other packages and of C are not counted.
    """
    count = 0

    def on_line(frame: FrameType, event: str, argument: object) -> TraceFunction:
        nonlocal count
        count += event == "line"
        assert count <= most, f"more than {most} lines ran"
        return on_line

    def on_call(frame: FrameType, event: str, argument: object) -> TraceFunction | None:
        return on_line if frame.f_code.co_filename.startswith(PACKAGE) else None

    before = sys.gettrace()
    sys.settrace(on_call)
    threading.settrace(on_call)
    try:
        yield
    finally:
        sys.settrace(before)
        threading.settrace(None)  # type: ignore[arg-type]
    assert count <= most, f"more than {most} lines ran"
