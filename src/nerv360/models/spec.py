"""What a model is to the rest of the package: all in which models differ, in one place. No torch in here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from nerv360.latents.kinds import LatentKind

__all__ = ["MemoryUse", "ModelSpec"]


@dataclass(frozen=True)
class MemoryUse:
    """Bytes in float32 per pixel of the panorama, and per channel of the last stage (benchmarks/reproduction)."""

    per_pixel: float
    per_channel: float = 0.0


@dataclass(frozen=True)
class ModelSpec:
    """One model: its network, its settings, and what can be done with it."""

    name: str
    title: str  # in tables and figures
    summary: str  # in help texts
    network: str  # "module:class", loaded when it is first needed
    latents: LatentKind
    presets: str  # "module:mapping" of settings by name, loaded when they are first needed
    default_preset: str
    options: frozenset[str] = frozenset()  # settings of a network's shape that other models do not have
    draws_panorama: bool = False  # the whole panorama, out of which views are cut
    equal_strides: bool = False  # it draws as many pixels as its encoder reads
    max_kernel: int = 3  # of the upsampling convolutions, which are 1, 3, 5, ... wide
    several_views: bool = False  # a step of the fit can take several views of a frame
    int8: bool = True  # its convolutions can be quantised to 8 bits
    in_browser: bool = True  # the player decodes it in a browser
    world_aligned: bool = False  # its latents stand still in the world: the camera's rotation is estimated
    initialization: str | None = None  # "module:function" that begins a fit from the clip
    memory: Mapping[str, MemoryUse] = field(default_factory=dict)  # by phase: encoding, decoding, training
    memory_of_views: tuple[MemoryUse, MemoryUse] | None = None  # of training with several views: in all, and each

    def load_network(self) -> Any:
        """Class of the network (models/decoder_network.py)."""
        return _load(self.network)

    def load_presets(self) -> Any:
        """Settings by name (config/presets.py)."""
        return _load(self.presets)

    def load_initialization(self) -> Any:
        """Function that begins a fit from the clip, or None."""
        return self.initialization and _load(self.initialization)

    def kernels(self, stages: int) -> tuple[int, ...]:
        """Kernel of each upsampling convolution."""
        return tuple(min(1 + 2 * stage, self.max_kernel) for stage in range(stages))


def _load(name: str) -> Any:
    module, _, attribute = name.partition(":")
    return getattr(import_module(module), attribute)
