"""What `nerv360 bench` measures (playback.py). No torch in here."""

from nerv360.backends.registry import OPENGL, check_precision, choose_backend, installed_backends, is_installed
from nerv360.errors import ArgumentError
from nerv360.models.spec import ModelSpec

__all__ = ["DECODE_THEN_CROP", "PLAIN", "QUANTISED", "bench_targets"]

QUANTISED = "int8"  # openvino with that precision
PLAIN = "plain"
DECODE_THEN_CROP = "libx265"


def bench_targets(spec: ModelSpec, names: str | None) -> list[str]:
    """The ways to decode a model's files that are named ("A,B"), each of which is there; by default, all but int8.

    Raises ArgumentError, MissingExtra.
    """
    if spec.runtime is not None:
        return _runtime(spec, names)
    shaders = [OPENGL] if spec.shader_decoder and is_installed(OPENGL) else []
    targets = names.split(",") if names else [*installed_backends(), *shaders, PLAIN]
    for name in targets:
        if name == QUANTISED:
            check_precision(name, choose_backend("openvino", "cpu"))
        elif name != PLAIN:
            choose_backend(name, "cpu")
    return targets


def _runtime(spec: ModelSpec, names: str | None) -> list[str]:
    """The only way there is."""
    assert spec.runtime is not None
    for name in (names or spec.runtime).split(","):
        if name != spec.runtime:
            raise ArgumentError(f"backend={name}: draws networks, {spec.name} is none; take {spec.runtime}")
    return [spec.runtime]
