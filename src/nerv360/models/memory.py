"""How much memory work takes, and whether there is as much."""

import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import torch

from nerv360.errors import OutOfMemory
from nerv360.latents.grid import stage_strides
from nerv360.models.network_config import NetworkConfig
from nerv360.models.spec import MemoryUse

__all__ = ["bytes_needed", "check_bytes", "check_memory", "enough_memory", "free_bytes", "is_out_of_memory"]

GROUP = Path("/sys/fs/cgroup")
MOST_SHARE = 0.5  # of the pixels that did not fit, whatever the estimate says


def free_bytes(most: int | None = None) -> int:
    """What may be taken: of the machine's memory, of what its control group and the process's limits allow; not more
    than `most`."""
    free = [psutil.virtual_memory().available]
    with suppress(OSError, ValueError):  # no group, or one without a limit
        free.append(int((GROUP / "memory.max").read_text()) - int((GROUP / "memory.current").read_text()))
    with suppress(ImportError):
        import resource

        taken = psutil.Process().memory_info()
        for limit, used in ((resource.RLIMIT_AS, taken.vms), (resource.RLIMIT_DATA, getattr(taken, "data", 0))):
            if (soft := resource.getrlimit(limit)[0]) != resource.RLIM_INFINITY:
                free.append(soft - used)
    return max(0, min(free if most is None else [most, *free]))


def check_bytes(needed: float, what: str, most: int | None = None) -> None:
    """Raises OutOfMemory where something needs more than `free_bytes`."""
    if needed > (free := free_bytes(most)):
        raise OutOfMemory(
            f"{what} needs about {needed / 2**20:,.0f} MiB, {free / 2**20:,.0f} are free or allowed; see --max-memory"
        )


def bytes_needed(config: NetworkConfig, phase: str, views: int = 1) -> float:
    """About what encoding, decoding or training (with so many views) takes in float32; 0 where it is little."""
    use = config.spec.memory.get(phase, MemoryUse(0))
    if views > 1 and config.spec.memory_of_views is not None:
        fixed, each = config.spec.memory_of_views
        use = MemoryUse(fixed.per_pixel + views * each.per_pixel, fixed.per_channel + views * each.per_channel)
    strides = stage_strides(config.decoder_strides)
    widest = max(width / stride**2 for width, stride in zip(config.channels, strides, strict=True))
    widest *= config.late_blocks
    pixels = config.grid_width * config.grid_height * strides[0] ** 2
    return (use.per_pixel + use.per_channel * widest) * pixels


def check_memory(
    config: NetworkConfig, phase: str, device: torch.device, views: int = 1, most: int | None = None
) -> None:
    """Raises OutOfMemory where a CPU has too little memory free, or allowed, for encoding, decoding or training."""
    needed, free = bytes_needed(config, phase, views), free_bytes(most)
    if device.type == "cpu" and needed > free:
        instead = ""
        if views > 1:
            instead = ", or fewer views per step"
        elif config.spec.draws_panorama:
            instead = ", or a model that decodes views alone"
        raise OutOfMemory(
            f"{config.model}, {config.width}x{config.height}: {phase} needs about {needed / 2**30:.1f} GiB, "
            f"{free / 2**30:.1f} are free; {_fitting(config, free / needed)}, or a smaller decoder{instead}"
        )


def _fitting(config: NetworkConfig, share: float) -> str:
    """The size that takes such a share of the memory, in words."""
    height = max(1, int(config.height * math.sqrt(share) / 24)) * 24
    return f"a panorama of about {2 * height}x{height} would fit"


@contextmanager
def enough_memory(config: NetworkConfig, phase: str, device: torch.device, views: int = 1) -> Iterator[None]:
    """Raises OutOfMemory: before the work where that can be told, and when memory runs out."""
    check_memory(config, phase, device, views)
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        memory = _memory_of(device)
        share = min(MOST_SHARE, memory / max(1.0, bytes_needed(config, phase, views)))
        raise OutOfMemory(
            f"{config.model}, {config.width}x{config.height}: {phase} does not fit the memory of {device}, "
            f"{memory / 2**30:.1f} GiB; {_fitting(config, share)} (--size), or a smaller decoder (--decoder-size)"
        ) from None


def _memory_of(device: torch.device) -> int:
    """All of a GPU's bytes, or what is free of this machine's."""
    if device.type == "cpu":
        return free_bytes()
    total: int = torch.get_device_module(device).mem_get_info(device)[1]
    return total


def is_out_of_memory(error: Exception) -> bool:
    """Whether memory has run out: of a CPU, and of CUDA's libraries, PyTorch says that in words alone."""
    kinds, words = (torch.OutOfMemoryError, MemoryError), ("can't allocate memory", "out of memory", "ALLOC_FAILED")
    return isinstance(error, kinds) or any(each in str(error) for each in words)
