"""Bounds on the bytes and the steps that a test may take: the same on a busy machine."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
