"""Which backends there are, which of them is taken, and how its runner is made. No torch in here."""

from importlib import metadata
from importlib.util import find_spec
from typing import TYPE_CHECKING

from nerv360.errors import ArgumentError, MissingExtra

if TYPE_CHECKING:
    from torch import device

    from nerv360.backends.runner import Examples, Runner
    from nerv360.models.decoder_network import DecoderNetwork

__all__ = [
    "BACKENDS",
    "PRECISIONS",
    "check_precision",
    "choose_backend",
    "create_runner",
    "describe_backend",
    "installed_backends",
]


PRECISIONS = ("float", "int8")
BACKENDS = ("openvino", "onnxruntime", "torch")  # the first that is installed is taken
MODULES = {"openvino": ("openvino", "onnx"), "onnxruntime": ("onnxruntime", "onnx"), "torch": ("torch",)}
EXTRAS = {"openvino": "cpu", "onnxruntime": "onnxruntime"}


def choose_backend(name: str | None, device: str) -> str:
    """The backend of that name, or for None the fastest that is installed and runs on the device.

    Raises ArgumentError for an unknown one or one that does not run on the device, MissingExtra for one that is not
    installed.
    """
    if name is None:
        return installed_backends()[0] if device == "cpu" else "torch"
    if name not in BACKENDS:
        raise ArgumentError(f"backend={name}: must be one of {', '.join(BACKENDS)}")
    if name not in installed_backends():
        raise MissingExtra(f"backend={name}: is not installed; pip install 'nerv360[{EXTRAS[name]}]', or take torch")
    if device != "cpu" and name != "torch":
        raise ArgumentError(f"backend={name}: runs on the device cpu alone; on {device}, take torch")
    return name


def installed_backends() -> list[str]:
    """Those of BACKENDS that are installed, the fastest first."""
    return [name for name in BACKENDS if all(find_spec(module) is not None for module in MODULES[name])]


def describe_backend(name: str) -> str:
    """Its name and, where it is one of BACKENDS and its package is called so, its version."""
    try:
        return f"{name} {metadata.version(name)}" if name in BACKENDS else name
    except metadata.PackageNotFoundError:  # another distribution of it, as onnxruntime-gpu
        return name


def check_precision(precision: str, backend: str) -> None:
    """Raises ArgumentError or MissingExtra where a backend of `choose_backend` cannot compute so."""
    if precision not in PRECISIONS:
        raise ArgumentError(f"precision={precision}: must be one of {', '.join(PRECISIONS)}")
    if precision == "int8" and backend != "openvino":
        raise ArgumentError(f"precision=int8: runs on the backend openvino alone, not on {backend}")
    if precision == "int8" and "onnxruntime" not in installed_backends():
        raise MissingExtra("precision=int8: needs onnxruntime, to quantise; pip install 'nerv360[cpu,onnxruntime]'")


def create_runner(
    backend: str, network: "DecoderNetwork", device: "device", examples: "Examples | None" = None
) -> "Runner":
    """A network made ready by a backend of `choose_backend`; with examples of what it will draw, in 8 bits."""
    if backend == "openvino":
        from nerv360.backends.openvino import OpenVINORunner

        return OpenVINORunner(network, examples)
    if backend == "onnxruntime":
        from nerv360.backends.onnxruntime import ONNXRuntimeRunner

        return ONNXRuntimeRunner(network)
    from nerv360.backends.pytorch import TorchRunner

    return TorchRunner(network, device)
