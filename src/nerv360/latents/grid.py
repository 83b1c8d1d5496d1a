"""Latent grids and their key frames (docs/bitstream.md, "Latents").

A latent is a grid of numbers on the panorama, given at key frames: one in the middle of every `key_interval` frames,
one for every frame (1), or one for all frames (0: static). Between two keys it is interpolated linearly.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta, Struct

__all__ = [
    "GRID_STEP",
    "MAX_STRIDE",
    "FrameTime",
    "LatentGrid",
    "grid_layout_error",
    "interpolation_weights",
    "key_count",
    "key_frame_index",
    "stage_strides",
]

MAX_STRIDE = 512  # from the panorama to a latent, and from the extraction to the viewport
GRID_STEP = 1 / 16  # quantiser step of fitted grids


@dataclass(frozen=True)
class FrameTime:
    """A frame, counted within a segment of `frames` frames."""

    frame: int
    frames: int

    @property
    def time(self) -> float:
        """Normalised time, in (0, 1)."""
        return (self.frame + 0.5) / self.frames


class LatentGrid(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """A latent grid on the panorama."""

    stride: Annotated[int, Meta(ge=1, le=MAX_STRIDE, description="pixels per cell, each way")]
    channels: Annotated[int, Meta(ge=1, le=64, description="numbers per cell")]
    key_interval: Annotated[int, Meta(ge=0, le=10**7, description="most frames from key to key; 0: one key")]
    motion: Annotated[bool, Meta(description="a motion field; if missing, false")] = False

    @property
    def static(self) -> bool:
        """Whether one key holds for all frames."""
        return self.key_interval == 0

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Rows and columns, given the panorama's pixels; columns are even: half a turn is a whole number of cells."""
        return -(-height // self.stride), 2 * -(-width // (2 * self.stride))


def stage_strides(decoder_strides: Sequence[int]) -> list[int]:
    """Pixels of the view per feature cell: at the extraction, then behind every stage, down to 1."""
    return [math.prod(decoder_strides[stage:]) for stage in range(len(decoder_strides) + 1)]


def grid_layout_error(grids: Sequence[LatentGrid], decoder_strides: Sequence[int]) -> str | None:
    """Why a decoder of these strides cannot have these grids; None where it can."""
    strides = stage_strides(decoder_strides)
    if any(grid.stride not in strides for grid in grids):
        return f"every stride must be one of the decoder's {strides}"
    if grids and strides[0] not in (grid.stride for grid in grids if not grid.motion):
        return f"one must have the stride {strides[0]} of the decoder"
    motions = [(grid.stride, grid.channels, not grid.static) for grid in grids if grid.motion]
    if motions and motions != [(strides[0], 4, True)]:
        return f"motion is one grid of stride {strides[0]}, of four channels, with a key interval"
    return None


def key_count(key_interval: int, frames: int) -> int:
    """Number of keys of a latent in a segment of `frames` frames."""
    return 1 if key_interval == 0 else -(-frames // key_interval)


def key_frame_index(key_interval: int, key: int, frames: int) -> int:
    """Frame of a key: the middle of its share of the frames, which all keys share evenly."""
    return (2 * key + 1) * frames // (2 * key_count(key_interval, frames))


def interpolation_weights(key_interval: int, at: FrameTime) -> list[tuple[int, float]]:
    """Keys that a frame is interpolated from, with their weights: two, or one at a key and outside of all keys."""
    frame, frames, count = at.frame, at.frames, key_count(key_interval, at.frames)
    key = ((2 * count * (frame + 1) - 1) // frames - 1) // 2  # the last key at or before the frame; -1: none
    if key in (-1, count - 1):
        return [(max(0, key), 1.0)]
    before, after = (key_frame_index(key_interval, each, frames) for each in (key, key + 1))
    weight = (frame - before) / (after - before)
    return [(key, 1 - weight), (key + 1, weight)] if weight else [(key, 1.0)]
