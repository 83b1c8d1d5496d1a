"""The most memory that a part of a program has in use: of a GPU by PyTorch, of a process by Linux."""

import contextlib
import gc
from pathlib import Path

import torch

__all__ = ["forget_peak", "peak_memory"]


def forget_peak(device: torch.device) -> None:
    """Let `peak_memory` speak of what comes from now on."""
    gc.collect()
    if device.type != "cpu":
        torch.get_device_module(device).reset_peak_memory_stats(device)
        return
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory(device: torch.device) -> int | None:
    """Most bytes in use since `forget_peak`; None on a CPU without Linux."""
    if device.type != "cpu":
        most: int = torch.get_device_module(device).max_memory_allocated(device)
        return most
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), None)
