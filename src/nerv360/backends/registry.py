"""Which backends there are, which of them is taken, and how its runner is made. No torch in here."""

from importlib import metadata
from importlib.util import find_spec
from typing import TYPE_CHECKING

from nerv360.bitstream.container import Container
from nerv360.errors import ArgumentError, MissingExtra

if TYPE_CHECKING:
    from torch import device

    from nerv360.backends.opengl_context import Adapter
    from nerv360.backends.runner import Examples, Runner
    from nerv360.models.decoder_network import DecoderNetwork

__all__ = [
    "BACKENDS",
    "MODULES",
    "OPENGL",
    "PRECISIONS",
    "backend_of",
    "check_precision",
    "choose_backend",
    "create_runner",
    "describe_backend",
    "has_shaders",
    "installed_backends",
    "is_installed",
    "opengl_adapter",
    "precision_on",
]


PRECISIONS = ("float", "float16", "int8")
BACKENDS = ("openvino", "onnxruntime", "torch")  # for every network; the first that is installed is taken
OPENGL = "opengl"  # for networks that have shaders; taken before the others where there is a GPU
MODULES = {
    "openvino": ("openvino", "onnx"),
    "onnxruntime": ("onnxruntime", "onnx"),
    "torch": ("torch",),
    OPENGL: ("moderngl",),
}
EXTRAS = {"openvino": "cpu", "onnxruntime": "onnxruntime", OPENGL: "gpu"}


def choose_backend(name: str | None, device: str) -> str:
    """The backend of that name, or for None the fastest that is installed and runs on the device.

    Raises ArgumentError for an unknown one or one that does not run on the device, MissingExtra for one that is not
    installed.
    """
    if name is None:
        return installed_backends()[0] if device == "cpu" else "torch"
    if name not in MODULES:
        raise ArgumentError(f"backend={name}: must be one of {', '.join(MODULES)}")
    if not is_installed(name):
        raise MissingExtra(f"backend={name}: is not installed; pip install 'nerv360[{EXTRAS[name]}]', or take torch")
    if device != "cpu" and name != "torch":
        raise ArgumentError(f"backend={name}: runs on the device cpu alone; on {device}, take torch")
    return name


def backend_of(container: Container, name: str | None, device: str = "cpu", precision: str | None = None) -> str:
    """What draws the networks of a file: the backend of that name, or for None the fastest that is here.

    Raises as `choose_backend`, `check_precision` and, for that backend, `opengl_adapter`.
    """
    chosen = choose_backend(name, device)
    check_precision(precision, chosen, device)
    if name == OPENGL:
        opengl_adapter(container)
    elif name is None and device == "cpu" and precision in (None, "float") and _has_gpu(container):
        return OPENGL
    return chosen


def opengl_adapter(container: Container) -> "Adapter":
    """What draws the first segment of a file by OpenGL. Raises MissingExtra, and ArgumentError where nothing does."""
    choose_backend(OPENGL, "cpu")
    spec = container.segments[0].spec
    if spec.runtime is None and spec.shader_decoder is None:
        raise ArgumentError(f"backend=opengl: has no shaders for {spec.name}; take {' or '.join(BACKENDS)}")
    from nerv360.backends.opengl_context import adapter

    return adapter(container.header.width)


def has_shaders(container: Container) -> bool:
    """Whether OpenGL draws the first segment of a file; others are not read before they are drawn."""
    return container.segments[0].spec.shader_decoder is not None


def _has_gpu(container: Container) -> bool:
    try:
        return has_shaders(container) and not opengl_adapter(container).software
    except (ArgumentError, MissingExtra):
        return False


def is_installed(name: str) -> bool:
    return all(find_spec(module) is not None for module in MODULES[name])


def installed_backends() -> list[str]:
    """Those of BACKENDS that are installed, the fastest first."""
    return [name for name in BACKENDS if is_installed(name)]


def describe_backend(name: str) -> str:
    """Its name and, where it is one of BACKENDS and its package is called so, its version."""
    try:
        return f"{name} {metadata.version(name)}" if name in BACKENDS else name
    except metadata.PackageNotFoundError:  # another distribution of it, as onnxruntime-gpu
        return name


def precision_on(device: str, precision: str | None) -> str:
    """The precision that networks are drawn in: for None, float, and float16 on a GPU."""
    return precision or ("float" if device == "cpu" else "float16")


def check_precision(precision: str | None, backend: str, device: str = "cpu") -> None:
    """Raises ArgumentError or MissingExtra where a backend of `choose_backend` cannot compute so on the device."""
    if precision is None:
        return
    if precision not in PRECISIONS:
        raise ArgumentError(f"precision={precision}: must be one of {', '.join(PRECISIONS)}")
    if precision == "float16" and device == "cpu":
        raise ArgumentError("precision=float16: runs on the device cuda alone; take float, or --device cuda")
    if precision == "int8" and backend != "openvino":
        raise ArgumentError(f"precision=int8: runs on the backend openvino alone, not on {backend}")
    if precision == "int8" and "onnxruntime" not in installed_backends():
        raise MissingExtra("precision=int8: needs onnxruntime, to quantise; pip install 'nerv360[cpu,onnxruntime]'")


def create_runner(
    backend: str,
    network: "DecoderNetwork",
    device: "device",
    examples: "Examples | None" = None,
    half: bool = False,
) -> "Runner":
    """A network made ready by a backend of `choose_backend`; with examples of what it will draw, in 8 bits.

    `half` is for the backend torch on a GPU.
    """
    if backend == "openvino":
        from nerv360.backends.openvino import OpenVINORunner

        return OpenVINORunner(network, examples)
    if backend == "onnxruntime":
        from nerv360.backends.onnxruntime import ONNXRuntimeRunner

        return ONNXRuntimeRunner(network)
    from nerv360.backends.pytorch import TorchRunner

    return TorchRunner(network, device, half)
