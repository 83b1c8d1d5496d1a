"""Which device works, and what is said when it cannot."""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from nerv360.errors import ArgumentError, DeviceError
from nerv360.models.memory import is_out_of_memory

__all__ = ["FITTING_PRECISIONS", "choose_device", "choose_precision", "device_failures", "full_float32"]

FITTING_PRECISIONS = {"float": torch.float32, "bfloat16": torch.bfloat16}

TOO_OLD = re.compile(r"driver on your system is too old \(found version (\d+)\)")


def choose_device(name: str | None) -> torch.device:
    """cpu or cuda; for None, CUDA where there is one. Raises ArgumentError."""
    if name not in (None, "cpu", "cuda"):
        raise ArgumentError(f"device={name}: must be cpu or cuda")
    if name == "cpu":
        return torch.device(name)
    why = _why_no_cuda()
    if name == "cuda" and why:
        raise ArgumentError(f"device=cuda: {why}; or leave it out, or give cpu")
    return torch.device("cpu" if why else "cuda")


def choose_precision(name: str | None, device: torch.device) -> str:
    """Precision of a fit: that of the name; for None, bfloat16 on a GPU that has it. Raises ArgumentError."""
    if name not in (None, *FITTING_PRECISIONS):
        raise ArgumentError(f"precision={name}: must be {' or '.join(FITTING_PRECISIONS)}")
    has = device.type == "cpu" or torch.get_device_module(device).is_bf16_supported(including_emulation=False)
    if name == "bfloat16" and not has:
        raise ArgumentError(f"precision=bfloat16: {device} does not have it; leave it out, or give float")
    return name or ("bfloat16" if has and device.type != "cpu" else "float")


def _why_no_cuda() -> str:
    """Why PyTorch has no CUDA device, and what to do; empty where it has one."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        if torch.cuda.is_available():
            return ""
    if torch.version.cuda is None and torch.version.hip is None:
        return "this PyTorch is built for the CPU alone; install one for CUDA (pytorch.org)"
    if found := TOO_OLD.search(" ".join(str(each.message) for each in told)):
        return f"the NVIDIA driver (CUDA {_version(found[1])}) is too old for this PyTorch; update it"
    return "this PyTorch finds no CUDA device; install the NVIDIA driver where there is one"


def _version(number: str) -> str:
    """12040 -> 12.4."""
    return f"{int(number) // 1000}.{int(number) % 1000 // 10}"


@contextmanager
def full_float32() -> Iterator[None]:
    """Compute float32 as such, not as TF32: MS-SSIM subtracts squares, for which ten bits are too few."""
    settings: tuple[Any, ...] = torch.backends.cudnn, torch.backends.cuda.matmul
    before = [each.allow_tf32 for each in settings]
    try:
        for each in settings:
            each.allow_tf32 = False
        yield
    finally:
        for each, allowed in zip(settings, before, strict=True):
            each.allow_tf32 = allowed


@contextmanager
def device_failures(device: torch.device, kept: str) -> Iterator[None]:
    """Raises DeviceError where the device fails in the middle of work: `kept` is what is left of it, and what to do."""
    try:
        yield
    except torch.AcceleratorError as error:
        if is_out_of_memory(error):
            raise
        reason = str(error).partition("\n")[0]
        raise DeviceError(f"{device}: the device has failed ({reason}); {kept}") from None
