"""Which keys of which latent a chunk holds, and in what order the chunks lie (docs/bitstream.md, "Latents").

A latent is a grid of numbers on the panorama, given at keys: one for every `period` frames, in the middle of them, one
for every frame (1) or one for all (0). Between two keys it is interpolated linearly.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

__all__ = [
    "GRID_STEP",
    "Latent",
    "Moment",
    "Part",
    "count_parts",
    "frame_of_key",
    "key_count",
    "keys_at",
    "keys_per_chunk",
    "parts",
    "stage_strides",
    "wrong_grids",
]


GRID_STEP = 1 / 16  # grids hold integers times this
STEPS_PER_OCTAVE = 8  # that the step of a weight can have


@dataclass(frozen=True)
class Moment:
    """A frame of a segment of so many."""

    frame: int
    frames: int

    @property
    def time(self) -> float:
        """In (0, 1)."""
        return (self.frame + 0.5) / self.frames


@dataclass(frozen=True)
class Latent:
    """A grid of one cell per stride x stride pixels of the panorama."""

    stride: int
    channels: int
    period: int  # most frames from key to key; 0: one key for all frames
    motion: bool = False  # what it holds is how those with keys move

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Rows and columns; the columns are even, so that half a turn is a whole number of cells."""
        return -(-height // self.stride), 2 * -(-width // (2 * self.stride))


@dataclass(frozen=True)
class Part:
    """The content of one chunk: consecutive keys of a latent."""

    latent: int
    first_key: int
    keys: int


def stage_strides(decoder_strides: Sequence[int]) -> list[int]:
    """Pixels of the view per feature cell: at the cut-out, then behind every stage, down to 1."""
    return [math.prod(decoder_strides[stage:]) for stage in range(len(decoder_strides) + 1)]


def wrong_grids(grids: Sequence[Latent], decoder_strides: Sequence[int]) -> str | None:
    """Why a decoder of these strides cannot have these grids; None where it can."""
    strides = stage_strides(decoder_strides)
    if any(grid.stride not in strides for grid in grids):
        return f"every stride must be one of the decoder's {strides}"
    if grids and strides[0] not in (grid.stride for grid in grids if not grid.motion):
        return f"one must have the stride {strides[0]} of the decoder"
    motions = [(grid.stride, grid.channels, grid.period > 0) for grid in grids if grid.motion]
    if motions and motions != [(strides[0], 4, True)]:
        return f"motion is one grid of stride {strides[0]}, of four channels, with a period"
    return None


def key_count(period: int, frames: int) -> int:
    return 1 if period == 0 else -(-frames // period)


def frame_of_key(period: int, key: int, frames: int) -> int:
    """The middle of a key's share of the frames: all have the same."""
    return (2 * key + 1) * frames // (2 * key_count(period, frames))


def keys_at(period: int, moment: Moment) -> list[tuple[int, float]]:
    """The keys around a frame, with their weights: two, or one at a key, before the first and behind the last."""
    frame, frames, count = moment.frame, moment.frames, key_count(period, moment.frames)
    key = ((2 * count * (frame + 1) - 1) // frames - 1) // 2  # the last that is not behind the frame; -1 if all are
    if key in (-1, count - 1):
        return [(max(0, key), 1.0)]
    before, behind = (frame_of_key(period, each, frames) for each in (key, key + 1))
    weight = (frame - before) / (behind - before)
    return [(key, 1 - weight), (key + 1, weight)] if weight else [(key, 1.0)]


def keys_per_chunk(period: int, group_size: int) -> int:
    return max(1, group_size // max(1, period))


def count_parts(latents: Sequence[Latent], frames: int, group_size: int) -> int:
    """How many chunks `parts` names."""
    return sum(-(-key_count(each.period, frames) // keys_per_chunk(each.period, group_size)) for each in latents)


def parts(latents: Sequence[Latent], frames: int, group_size: int) -> list[Part]:
    """In the order of the file: by the first frame that needs a part, then by latent. Playing reads straight on."""

    def of_latent(index: int, latent: Latent) -> Iterator[tuple[int, Part]]:
        count, step = key_count(latent.period, frames), keys_per_chunk(latent.period, group_size)
        for first in range(0, count, step):
            needed_from = frame_of_key(latent.period, first - 1, frames) + 1 if first else 0
            yield needed_from, Part(index, first, min(step, count - first))

    found = (entry for index, latent in enumerate(latents) for entry in of_latent(index, latent))
    return [part for _, part in sorted(found, key=lambda entry: entry[0])]
