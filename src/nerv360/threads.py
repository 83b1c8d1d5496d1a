"""Threads of PyTorch: no more than this process has processors, and none that spins while it waits for others.

Spinning takes from other processes, and from its own threads, what they need to come to an end: on two busy processors,
a network that is fitted in 5 s took more than 160 s.
"""

import math
import os
from contextlib import suppress
from pathlib import Path

__all__ = ["processors", "set_defaults"]

QUOTA = Path("/sys/fs/cgroup/cpu.max")
WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")


def set_defaults() -> None:
    """Tell OpenMP before PyTorch loads it; what the user has told it stays."""
    os.environ.setdefault("OMP_NUM_THREADS", str(processors()))
    if not any(name in os.environ for name in WAITING):
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"


def processors() -> int:
    """That this process may run on, and that the quota of its control group is worth."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with suppress(OSError, ValueError):  # no group, or "max"
        quota, period = map(int, QUOTA.read_text().split())
        count = min(count, math.ceil(quota / period))
    return count
