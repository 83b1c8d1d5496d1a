"""Where the numbers of all latent grids lie in one flat array, and what the keys of each depend on."""

import math
from collections.abc import Sequence

from nerv360.latents.coding_order import key_coding_order, reference_keys
from nerv360.latents.grid import FrameTime, LatentGrid, interpolation_weights, key_count
from nerv360.latents.key_groups import keys_per_group

__all__ = ["GridLayout"]


class GridLayout:
    """Grids [keys, channels, rows, columns] that follow one another."""

    def __init__(self, latents: Sequence[LatentGrid], width: int, height: int, frames: int, group_size: int) -> None:
        self.latents, self.frames, self.group_size = tuple(latents), frames, group_size
        self.shapes = [
            (key_count(each.key_interval, frames), each.channels, *each.size(width, height)) for each in latents
        ]
        self.starts = [sum(map(math.prod, self.shapes[:index])) for index in range(len(self.shapes) + 1)]
        self.frame_usage = [_frame_usage(latent.key_interval, frames) for latent in self.latents]

    @property
    def values(self) -> int:
        """Length of the array."""
        return self.starts[-1]

    @property
    def channels(self) -> int:
        """Of all grids."""
        return sum(latent.channels for latent in self.latents)

    def row(self, grid: int, key: int, channel: int) -> tuple[int, int, int, int, int]:
        """Of a channel of a key: its start in the array, its index among the channels of all grids, whether it has
        reference keys, and how far behind its start those of the two begin."""
        _, channels, rows, columns = self.shapes[grid]
        per_key = channels * rows * columns
        start = self.starts[grid] + key * per_key + channel * rows * columns
        first_channel = sum(latent.channels for latent in self.latents[:grid])
        references = [(other - key) * per_key for other in self._references(grid, key)]
        return start, first_channel + channel, bool(references), *(references or (0, 0))

    def _references(self, grid: int, key: int) -> list[int]:
        """The reference keys of a key: two or none."""
        step = keys_per_group(self.latents[grid].key_interval, self.group_size)
        start = key // step * step
        order = key_coding_order(min(step, self.shapes[grid][0] - start))
        before, after = next(pair for number, *pair in order if number == key - start)
        return [start + other for other in reference_keys(before, after)]


def _frame_usage(key_interval: int, frames: int) -> list[float]:
    """Number of frames that every key is used by, each counted with its interpolation weight."""
    usage = [0.0] * key_count(key_interval, frames)
    for frame in range(frames):
        for key, weight in interpolation_weights(key_interval, FrameTime(frame, frames)):
            usage[key] += weight
    return usage
