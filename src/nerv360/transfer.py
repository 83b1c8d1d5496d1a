"""Copies from the host to a device for which the host does not wait."""

import torch
from torch import Tensor

__all__ = ["to_device"]


def to_device(values: Tensor, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    """Host values on a device.

    Out of pageable memory CUDA copies when all work before is done, and the host waits; out of pinned memory it copies
    in its turn.
    """
    values = values.to(dtype or values.dtype)
    return values if device.type == "cpu" else values.pin_memory().to(device, non_blocking=True)
