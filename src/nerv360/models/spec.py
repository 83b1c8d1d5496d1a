"""What a model is to the rest of the package: all in which models differ, in one place. No torch in here."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Protocol

from nerv360.latents.grid import MAX_STRIDE, LatentGrid, grid_layout_error
from nerv360.latents.kinds import LatentKind

__all__ = ["MemoryUse", "ModelSpec", "NetworkSpec", "Shape"]


@dataclass(frozen=True)
class MemoryUse:
    """Bytes in float32 per pixel of the panorama, and per channel of the last stage (benchmarks/reproduction)."""

    per_pixel: float
    per_channel: float = 0.0


class Shape(Protocol):
    """What settings and network configurations have in common."""

    @property
    def model(self) -> str: ...
    @property
    def channels(self) -> tuple[int, ...] | None: ...
    @property
    def encoder_strides(self) -> tuple[int, ...]: ...
    @property
    def decoder_strides(self) -> tuple[int, ...]: ...
    @property
    def conditions(self) -> tuple[str, ...]: ...
    @property
    def last_block(self) -> str: ...
    @property
    def late_blocks(self) -> int: ...
    @property
    def grids(self) -> tuple[LatentGrid, ...]: ...


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """One model: its settings, and what decodes it. Parts are named as "module:name", and loaded when first needed."""

    name: str
    title: str  # in tables and figures
    summary: str  # in help texts
    presets: str  # mapping of settings by name (config/presets.py)
    default_preset: str
    encoder: str  # function that encodes a clip (codec/encoder.py)
    decoder: str  # class that decodes a segment (codec/segment_decoder.py)
    header: str  # class of a segment's header (bitstream/header.py)
    runtime: str | None  # what decodes it, where backends (backends/registry.py) have nothing to draw
    options: frozenset[str] = frozenset()  # settings of a network's shape that other models do not have
    unused: frozenset[str] = frozenset()  # settings that have no meaning for it
    shader_decoder: str | None = None  # class that decodes a segment by the backend opengl; None: nothing does
    eyes: int = 1  # of a stereo video, that a file may hold
    browser_decoder: str | None = "onnx"  # what decodes it in the player's page (serving/site.py); None: nothing does

    def load_presets(self) -> Any:
        """Settings by name."""
        return _load(self.presets)

    def load_encoder(self) -> Any:
        """Function that encodes a clip."""
        return _load(self.encoder)

    def load_decoder(self, by_shaders: bool = False) -> Any:
        """Class that decodes a segment."""
        return _load(self.shader_decoder if by_shaders and self.shader_decoder else self.decoder)

    def load_header(self) -> Any:
        """Class of a segment's header."""
        return _load(self.header)

    def contradictions(self, shape: Shape) -> Iterator[str]:
        """Settings of a network's shape that do not fit each other, or the model, in words."""
        yield from ()


@dataclass(frozen=True, kw_only=True)
class NetworkSpec(ModelSpec):
    """A model that is a network, fitted to each video."""

    network: str  # class (models/decoder_network.py)
    latents: LatentKind
    encoder: str = "nerv360.codec.network_encoder:encode_by_network"
    header: str = "nerv360.bitstream.header:SegmentHeader"
    decoder: str = "nerv360.codec.network_decoder:NetworkDecoder"
    runtime: None = None
    draws_panorama: bool = False  # the whole panorama, out of which views are cut
    equal_strides: bool = False  # it draws as many pixels as its encoder reads
    max_kernel: int = 3  # of the upsampling convolutions, which are 1, 3, 5, ... wide
    int8: bool = True  # its convolutions can be quantised to 8 bits
    world_aligned: bool = False  # its latents stand still in the world: the camera's rotation is estimated
    initialization: str | None = None  # function that begins a fit from the clip
    memory: Mapping[str, MemoryUse] = field(default_factory=dict)  # by phase: encoding, decoding, training
    memory_of_views: tuple[MemoryUse, MemoryUse] | None = None  # of training with several views: in all, and each

    def load_network(self) -> Any:
        """Class of the network."""
        return _load(self.network)

    def load_initialization(self) -> Any:
        """Function that begins a fit from the clip, or None."""
        return self.initialization and _load(self.initialization)

    def kernels(self, stages: int) -> tuple[int, ...]:
        """Kernel of each upsampling convolution."""
        return tuple(min(1 + 2 * stage, self.max_kernel) for stage in range(stages))

    def contradictions(self, shape: Shape) -> Iterator[str]:
        strides = {"encoder_strides": shape.encoder_strides, "decoder_strides": shape.decoder_strides}
        for name, values in strides.items():
            if math.prod(values) > MAX_STRIDE:
                yield f"{name}={values}: more than {MAX_STRIDE} in all"
        if shape.channels is not None and len(shape.channels) != len(shape.decoder_strides) + 1:
            yield f"channels={shape.channels}: must be {len(shape.decoder_strides) + 1} widths"
        if len(set(shape.conditions)) < len(shape.conditions):
            yield f"conditions={shape.conditions}: each at most once"
        if self.equal_strides and math.prod(shape.encoder_strides) != math.prod(shape.decoder_strides):
            yield (
                f"decoder_strides={shape.decoder_strides}: {self.name} must draw as many pixels as the encoder reads, "
                f"by strides {shape.encoder_strides}"
            )
        if shape.last_block != "full" and "last_block" not in self.options:
            yield f"last_block={shape.last_block!r}: not in the model {self.name}; take full"
        if shape.late_blocks > 1 and "late_blocks" not in self.options:
            yield f"late_blocks={shape.late_blocks}: not in the model {self.name}; take 1"
        if bool(shape.grids) != ("grids" in self.options):
            yield f"grids={shape.grids}: the model {self.name} {'has none' if shape.grids else 'needs some'}"
        if wrong := grid_layout_error(shape.grids, shape.decoder_strides):
            yield f"grids={shape.grids}: {wrong}"


def _load(name: str) -> Any:
    module, _, attribute = name.partition(":")
    return getattr(import_module(module), attribute)
