"""Which model is asked for, and what network (Sec. III-A). What it comes to: models/network_config.py."""

from dataclasses import dataclass, replace
from typing import Annotated

from msgspec import Meta

from nerv360.config.fields import setting
from nerv360.latents.grid import LatentGrid
from nerv360.models.fields import Condition, EmbeddingChannels, LastBlock, LateBlocks, Strides, Widths, check_fields
from nerv360.models.network_config import check_shape
from nerv360.models.registry import MODELS, model_spec
from nerv360.models.spec import ModelSpec

__all__ = ["Architecture"]

_MODELS = "; ".join(f"{spec.name} ({spec.summary})" for spec in MODELS.values())


@dataclass(frozen=True)
class Architecture:
    """The model, and the shape of a network. Which fields a model has, its specification says (models/registry.py)."""

    model: str = setting("nerv360", f"The model: {_MODELS}.")
    decoder_size: Annotated[int, Meta(ge=1, le=10**9)] = setting(
        2_200_000, "Parameters of the decoder; widths are solved to within 2 %."
    )
    channels: Widths | None = setting(None, "Widths of the decoder, instead of its size.")
    encoder_strides: Strides = setting((3, 2, 2, 2), "Downsampling of the panorama, stage by stage.")
    decoder_strides: Strides = setting((3, 2, 2, 2), "Upsampling of the viewport, stage by stage.")
    encoder_channels: Annotated[int, Meta(ge=1, le=4096)] = setting(64, "Width of the ConvNeXt encoder, c1.")
    embedding_channels: EmbeddingChannels = setting(1, "Channels of the embedding, d.")
    reduction: Annotated[float, Meta(ge=1, le=4)] = setting(1.2, "Each stage is narrower by this factor, r.")
    minimum_width: Annotated[int, Meta(ge=1, le=4096)] = setting(12, "No stage is narrower than this.")
    expand_first: bool = setting(True, "Expand the channels before the viewport is cut out, not after.")
    last_block: LastBlock = setting(
        "full", "Resolution of the last residual block: full, half (before upsampling) or none."
    )
    late_blocks: LateBlocks = setting(1, "Blocks in each of the last three stages; Boosting-NeRV's scripts have 2.")
    conditions: tuple[Condition, ...] = setting(("yaw", "pitch"), "What STAT knows of the view beside the time.")
    grids: tuple[LatentGrid, ...] = setting((), "Latent grids; short clips go without the static ones.")

    def __post_init__(self) -> None:
        check_fields(self)
        check_shape(self)

    @property
    def spec(self) -> ModelSpec:
        """Specification of the model."""
        return model_spec(self.model)

    def for_frames(self, frames: int, keep_finest: bool) -> "Architecture":
        """The same for a clip of so many frames: without static grids where any key lasts for all of them.

        Such a key is a static grid that moves; both for the same picture cost more than they gain. With `keep_finest`,
        a static grid at 1/1 stays (docs/grid-model.md).
        """
        if not any(grid.key_interval >= frames and not grid.motion for grid in self.grids):
            return self
        kept = (grid for grid in self.grids if not grid.static or (keep_finest and grid.stride == 1))
        return replace(self, grids=tuple(kept))
