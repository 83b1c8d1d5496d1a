"""Shape of a network: what its making needs, and the rules that settings and headers keep. No torch in here."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from nerv360.errors import ArgumentError
from nerv360.latents.grid import MAX_STRIDE, LatentGrid, grid_layout_error, stage_strides
from nerv360.models.registry import model_spec
from nerv360.models.spec import ModelSpec

__all__ = ["NetworkConfig", "check_shape"]


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
    def grids(self) -> tuple[LatentGrid, ...]: ...


def check_shape(shape: Shape) -> None:
    """Raise ArgumentError where fields of a shape do not fit each other, or its model."""
    for message in _contradictions(shape, model_spec(shape.model)):
        raise ArgumentError(message)


def _contradictions(shape: Shape, spec: ModelSpec) -> Iterator[str]:
    strides = {"encoder_strides": shape.encoder_strides, "decoder_strides": shape.decoder_strides}
    for name, values in strides.items():
        if math.prod(values) > MAX_STRIDE:
            yield f"{name}={values}: more than {MAX_STRIDE} in all"
    if shape.channels is not None and len(shape.channels) != len(shape.decoder_strides) + 1:
        yield f"channels={shape.channels}: must be {len(shape.decoder_strides) + 1} widths"
    if len(set(shape.conditions)) < len(shape.conditions):
        yield f"conditions={shape.conditions}: each at most once"
    if spec.equal_strides and math.prod(shape.encoder_strides) != math.prod(shape.decoder_strides):
        yield (
            f"decoder_strides={shape.decoder_strides}: {spec.name} must draw as many pixels as the encoder reads, "
            f"by strides {shape.encoder_strides}"
        )
    if shape.last_block != "full" and "last_block" not in spec.options:
        yield f"last_block={shape.last_block!r}: not in the model {spec.name}; take full"
    if bool(shape.grids) != ("grids" in spec.options):
        yield f"grids={shape.grids}: the model {spec.name} {'has none' if shape.grids else 'needs some'}"
    if wrong := grid_layout_error(shape.grids, shape.decoder_strides):
        yield f"grids={shape.grids}: {wrong}"


@dataclass(frozen=True)
class NetworkConfig:
    """Everything that determines a network's shape (Sec. III-A). A file holds all but the encoder's width."""

    width: int
    height: int
    channels: tuple[int, ...]
    model: str = "nerv360"
    encoder_strides: tuple[int, ...] = (3, 2, 2, 2)
    decoder_strides: tuple[int, ...] = (3, 2, 2, 2)
    kernels: tuple[int, ...] = (1, 3, 3, 3)
    encoder_channels: int = 64
    embedding_channels: int = 1
    expand_first: bool = True
    last_block: str = "full"
    conditions: tuple[str, ...] = ("yaw", "pitch")
    pe_base: float = 1.25
    pe_frequencies: int = 80
    grids: tuple[LatentGrid, ...] = ()
    group_size: int = 8

    def __post_init__(self) -> None:
        check_shape(self)
        if len(self.kernels) != len(self.decoder_strides) or any(kernel % 2 == 0 for kernel in self.kernels):
            raise ArgumentError(f"kernels={self.kernels}: must be {len(self.decoder_strides)} odd numbers")

    @property
    def spec(self) -> ModelSpec:
        """Specification of the model."""
        return model_spec(self.model)

    @property
    def embedding(self) -> LatentGrid:
        """The embeddings y_t, of models that have such."""
        return LatentGrid(math.prod(self.encoder_strides), self.embedding_channels, 1)

    @property
    def latents(self) -> tuple[LatentGrid, ...]:
        """All that the network decodes from."""
        return self.grids or (self.embedding,)

    @property
    def content_grids(self) -> list[LatentGrid]:
        """All grids but the motion field."""
        return [grid for grid in self.grids if not grid.motion]

    def latent_channels_per_stage(self) -> list[int]:
        """Channels of all grids that enter at the extraction, then at every stage's output."""
        strides = stage_strides(self.decoder_strides)
        return [sum(grid.channels for grid in self.content_grids if grid.stride == stride) for stride in strides]

    def stages(self) -> list[tuple[int, int, int, int]]:
        """Of every stage of the decoder: input channels, output channels, kernel, stride."""
        return list(zip(self.channels[:-1], self.channels[1:], self.kernels, self.decoder_strides, strict=True))

    @property
    def grid_height(self) -> int:
        """Rows of the embedding."""
        return self.embedding.size(self.width, self.height)[0]

    @property
    def grid_width(self) -> int:
        """Columns of the embedding."""
        return self.embedding.size(self.width, self.height)[1]
