"""A second device on a machine without one: what would fail on a GPU, or wait for it, shows on a CPU.

Its tensors keep their values in the host's memory, so results can be compared with the CPU's. Any operator but a copy
raises DeviceMismatch when it is given tensors of both devices. CUDA lets scalars and indices of the CPU pass, for which
it waits.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.library import Library, fallthrough_kernel
from torch.utils import backend_registration
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


class Graph:
    """As a CUDA graph: the operators of a capture, with the memory that they work in, to be run again."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, Any, Any, Any]] = []
        self.pool: object = None

    def replay(self) -> None:
        for operator, args, kwargs, result in self.calls:
            for known, new in zip(tree_leaves(result), tree_leaves(operator(*args, **kwargs)), strict=True):
                known.copy_(new)


_capturing, _local = threading.Lock(), threading.local()


class _Module(backend_registration._DummyBackendModule):
    """What PyTorch asks of a device's module."""

    CUDAGraph = Graph

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]

    def current_stream(self) -> "_Stream":
        return _Stream()

    Stream = current_stream

    @contextmanager
    def stream(self, stream: "_Stream") -> Iterator[None]:
        """What is asked for within runs beside the work of the stream that is current outside."""
        _local.aside = True
        try:
            yield
        finally:
            _local.aside = False

    def Event(self) -> "_Event":
        return _Event()

    def synchronize(self, device: torch.device | None = None) -> None:
        pass

    def is_bf16_supported(self, including_emulation: bool) -> bool:
        return True

    def get_device_name(self, device: torch.device | None = None) -> str:
        return "second device"

    def mem_get_info(self, device: torch.device | None = None) -> tuple[int, int]:
        return 1 << 30, 24 << 30

    def reset_peak_memory_stats(self, device: torch.device | None = None) -> None:
        pass

    def max_memory_allocated(self, device: torch.device | None = None) -> int:
        return 1 << 20

    def graph_pool_handle(self) -> object:
        return object()

    @contextmanager
    def graph(self, graph: Graph, pool: object, capture_error_mode: str) -> Iterator[None]:
        """What this thread runs is written down in the graph; another capture meanwhile fails."""
        if not _capturing.acquire(blocking=False):
            raise RuntimeError("two graphs are captured at once")
        try:
            graph.pool, _local.graph = pool, graph
            yield
        finally:
            _local.graph = None
            _capturing.release()


class _Stream:
    def wait_stream(self, other: "_Stream") -> None:
        pass

    def synchronize(self) -> None:
        pass


class _Event:
    """Of a stream beside the current one, it has long happened when the host asks for it."""

    def record(self) -> None:
        self.aside = getattr(_local, "aside", False)

    def synchronize(self) -> None:
        if not self.aside:
            _waits.append("event")


backend_registration._setup_privateuseone_for_python_backend("second", backend_module=_Module())
DEVICE = torch.device("second", 0)
Tensor.pin_memory = lambda tensor, device=None: tensor  # type: ignore[method-assign]


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

    @property
    def data(self) -> Tensor:
        return self.detach()

    @data.setter
    def data(self, new: "SecondDeviceTensor") -> None:
        torch.Tensor.data.__set__(self, new)
        self.host = new.host

    def tolist(self) -> Any:
        return self.cpu().tolist()

    @classmethod
    @torch.inference_mode(False)  # a view may outlive the mode
    @torch.no_grad()
    def __torch_dispatch__(cls, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(operator, args, kwargs or {})


class SecondDeviceGenerator(torch.Generator):
    """A generator of the second device, which gives the numbers of the CPU's."""

    device = DEVICE


def _run(operator: Any, args: Any, kwargs: Any) -> Any:
    """One operator, on the host's memory."""
    if operator._can_decompose():  # in inference mode, they come as they are written
        return operator.decompose(*args, **kwargs)
    tensors = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
    if operator not in COPIES and len({each.device for each in tensors}) > 1:
        raise DeviceMismatch(f"{operator}: tensors of two devices, {[(each.device, each.shape) for each in tensors]}")
    target = torch.device(kwargs["device"]) if kwargs.get("device") is not None else None
    if target is None:
        target = args[0].device if operator is aten.copy_.default else DEVICE
    to_host = target.type == "cpu"
    graph = getattr(_local, "graph", None)
    if operator in WAITS or to_host or _selects_by_mask(operator, args):
        if graph is not None:
            raise RuntimeError(f"{operator}: the host cannot wait while a graph is captured")
        if not (to_host and kwargs.get("non_blocking")):
            _waits.append(str(operator))
    from_host = operator in COPIES and tensors[-1].device.type == "cpu"
    if from_host and True not in (*args[2:], kwargs.get("non_blocking")):
        _waits.append("copy out of pageable memory")
    host_args, host_kwargs = tree_map_only(SecondDeviceTensor, lambda each: each.host, (args, kwargs))
    if "device" in host_kwargs:
        host_kwargs["device"] = torch.device("cpu")
    result = operator(*host_args, **host_kwargs)
    if operator is aten.pixel_shuffle.default:
        result = result.contiguous()  # on a CPU alone it keeps the order of channels-last features
    if graph is not None and "empty" not in operator.__name__:  # memory is taken once
        graph.calls.append((operator, host_args, host_kwargs, result))
    if to_host:
        return args[0] if operator is aten.copy_.default else result.clone()
    given = {id(each.host): each for each in tensors if isinstance(each, SecondDeviceTensor)}  # and changed in place
    return tree_map_only(
        Tensor, lambda each: given[id(each)] if id(each) in given else SecondDeviceTensor(each), result
    )


def _selects_by_mask(operator: Any, args: Any) -> bool:
    """Whether an index is a mask, whose true elements have to be counted."""
    if "index" not in operator.__name__ or len(args) < 2 or not isinstance(args[1], list | tuple):
        return False
    return any(isinstance(index, Tensor) and index.dtype == torch.bool for index in args[1])


_waits: list[str] = []
_fallback, _operators = Library("_", "IMPL"), Library("aten", "IMPL")  # what reaches no tensor of the second device:
_fallback.fallback(lambda operator, *args, **kwargs: _run(operator, args, kwargs), "PrivateUse1")  # makers of tensors
_operators.impl("copy_", lambda *args: _run(aten.copy_.default, args, {}), "PrivateUse1")  # torch.tensor
_fallback.fallback(fallthrough_kernel, "AutocastPrivateUse1")


def _autocast(operator: Any) -> Callable[..., Any]:
    """An operator that autocast runs in half precision, as on CUDA."""

    def run(*args: Any, **kwargs: Any) -> Any:
        half = torch.get_autocast_dtype(DEVICE.type)
        with torch._C._ExcludeDispatchKeyGuard(torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastPrivateUse1)):
            return operator(*tree_map_only(Tensor, lambda each: each.to(half), args), **kwargs)

    return run


for operator in ("conv2d", "linear", "matmul"):
    _operators.impl(operator, _autocast(getattr(aten, operator)), "AutocastPrivateUse1")


@contextmanager
def second_device() -> Iterator[list[str]]:
    """Have `torch.Generator(DEVICE)` make one of the second device; gives the operators that the host waits for."""

    made = torch.Generator

    class Generator(torch.Generator):
        def __new__(cls, device: torch.device | str = "cpu") -> torch.Generator:  # type: ignore[misc]
            return SecondDeviceGenerator() if torch.device(device).type == DEVICE.type else made(device)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "Generator", Generator)
        _waits.clear()
        yield _waits
