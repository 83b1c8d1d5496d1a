"""Shape of a network: what its making needs, and the rules that settings and headers keep. No torch in here."""

import math
from dataclasses import dataclass

from nerv360.errors import ArgumentError
from nerv360.latents.grid import LatentGrid, stage_strides
from nerv360.models.registry import model_spec, network_spec
from nerv360.models.spec import NetworkSpec, Shape

__all__ = ["NetworkConfig", "check_shape"]

LATE_STAGES = 3


def check_shape(shape: Shape) -> None:
    """Raise ArgumentError where fields of a shape do not fit each other, or its model."""
    for message in model_spec(shape.model).contradictions(shape):
        raise ArgumentError(message)


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
    late_blocks: int = 1
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
    def spec(self) -> NetworkSpec:
        """Specification of the model."""
        return network_spec(self.model)

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

    def blocks(self) -> list[tuple[int, int, int, int]]:
        """The same of every block: the last LATE_STAGES stages may have several, and the first of each upsamples."""
        blocks, early = [], len(self.kernels) - LATE_STAGES
        for number, (inputs, outputs, kernel, stride) in enumerate(self.stages()):
            further = self.late_blocks - 1 if number >= early else 0
            blocks += [(inputs, outputs, kernel, stride), *[(outputs, outputs, kernel, 1)] * further]
        return blocks

    @property
    def grid_height(self) -> int:
        """Rows of the embedding."""
        return self.embedding.size(self.width, self.height)[0]

    @property
    def grid_width(self) -> int:
        """Columns of the embedding."""
        return self.embedding.size(self.width, self.height)[1]
