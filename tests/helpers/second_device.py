"""A second device on a machine without one: what would fail on a GPU, or wait for it, shows on a CPU.

Its tensors keep their values in the host's memory, so results can be compared with the CPU's. Any operator but a copy
raises DeviceMismatch when it is given tensors of both devices. CUDA lets scalars and indices of the CPU pass, for which
it waits.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.library import Library
from torch.utils import backend_registration
from torch.utils._python_dispatch import return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map_only

__all__ = ["DEVICE", "DeviceMismatch", "SecondDeviceGenerator", "second_device"]

aten = torch.ops.aten
COPIES = (aten.copy_.default, aten._to_copy.default)
WAITS = (  # the host needs their result: CUDA waits until the device has computed it
    *(aten._local_scalar_dense.default, aten.equal.default),
    *(aten.nonzero.default, aten.masked_select.default, aten._unique2.default, aten.repeat_interleave.Tensor),
)


class DeviceMismatch(RuntimeError):
    """An operator was given tensors of two devices."""


class _Module(backend_registration._DummyBackendModule):
    """What PyTorch asks of a device's module."""

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]


backend_registration._setup_privateuseone_for_python_backend("second", backend_module=_Module())
DEVICE = torch.device("second", 0)


class SecondDeviceTensor(torch.Tensor):
    """A tensor of the second device; `host` holds its values."""

    host: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, host: Tensor) -> "SecondDeviceTensor":
        made = torch.Tensor._make_wrapper_subclass(
            cls, host.shape, host.stride(), host.storage_offset(), dtype=host.dtype, device=DEVICE
        )
        made.host = host
        return made

    def tolist(self) -> Any:
        return self.cpu().tolist()

    @classmethod
    def __torch_dispatch__(cls, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(operator, args, kwargs or {})


class SecondDeviceGenerator(torch.Generator):
    """A generator of the second device, which gives the numbers of the CPU's."""

    device = DEVICE


def _run(operator: Any, args: Any, kwargs: Any) -> Any:
    """One operator, on the host's memory."""
    tensors = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
    if operator not in COPIES and len({each.device for each in tensors}) > 1:
        raise DeviceMismatch(f"{operator}: tensors of two devices, {[(each.device, each.shape) for each in tensors]}")
    target = torch.device(kwargs["device"]) if kwargs.get("device") is not None else None
    if target is None:
        target = args[0].device if operator is aten.copy_.default else DEVICE
    to_host = target.type == "cpu"
    if operator in WAITS or to_host or _selects_by_mask(operator, args):
        _waits.append(str(operator))
    host_args, host_kwargs = tree_map_only(SecondDeviceTensor, lambda each: each.host, (args, kwargs))
    if "device" in host_kwargs:
        host_kwargs["device"] = torch.device("cpu")
    result = operator(*host_args, **host_kwargs)
    if to_host:
        return args[0] if operator is aten.copy_.default else result.clone()
    wrapped = tree_map_only(Tensor, SecondDeviceTensor, result)
    return return_and_correct_aliasing(operator, args, kwargs, wrapped)


def _selects_by_mask(operator: Any, args: Any) -> bool:
    """Whether an index is a mask, whose true elements have to be counted."""
    if "index" not in operator.__name__ or len(args) < 2 or not isinstance(args[1], list | tuple):
        return False
    return any(isinstance(index, Tensor) and index.dtype == torch.bool for index in args[1])


_waits: list[str] = []
_fallback, _copies = Library("_", "IMPL"), Library("aten", "IMPL")  # what reaches no tensor of the second device:
_fallback.fallback(lambda operator, *args, **kwargs: _run(operator, args, kwargs), "PrivateUse1")  # makers of tensors
_copies.impl("copy_", lambda *args: _run(aten.copy_.default, args, {}), "PrivateUse1")  # torch.tensor


@contextmanager
def second_device() -> Iterator[list[str]]:
    """Have `torch.Generator(DEVICE)` make one of the second device; gives the operators that the host waits for."""

    def generator(device: torch.device | str = "cpu") -> torch.Generator:
        return SecondDeviceGenerator() if torch.device(device).type == DEVICE.type else made()

    made: Callable[[], torch.Generator] = torch.Generator
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "Generator", generator)
        _waits.clear()
        yield _waits
