"""Key groups: consecutive keys of a latent, coded together as one chunk, and the order of the chunks in a file."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np

from nerv360.latents.grid import LatentGrid, key_count

__all__ = ["KeyGroup", "KeyGroups", "count_key_groups", "keys_per_group"]


@dataclass(frozen=True)
class KeyGroup:
    """Consecutive keys of one latent: the content of one chunk, and the unit of random access."""

    latent: int  # its index
    first_key: int
    keys: int


def keys_per_group(key_interval: int, group_size: int) -> int:
    """Keys of a latent that are coded together: those of `group_size` frames, at least one."""
    return max(1, group_size // max(1, key_interval))


def count_key_groups(latents: Sequence[LatentGrid], frames: int, group_size: int) -> int:
    """Length of `key_groups`, without making it: a header may claim any number of frames."""
    return sum(
        -(-key_count(latent.key_interval, frames) // keys_per_group(latent.key_interval, group_size))
        for latent in latents
    )


class KeyGroups(Sequence[KeyGroup]):
    """Key groups in the order of the file: by the first frame that needs them, then by latent, so playback reads on.

    As arrays: a file may have millions of them.
    """

    def __init__(self, latents: Sequence[LatentGrid], frames: int, group_size: int) -> None:
        self._steps = [keys_per_group(latent.key_interval, group_size) for latent in latents]
        self._counts = [key_count(latent.key_interval, frames) for latent in latents]
        firsts = [np.arange(0, count, step) for count, step in zip(self._counts, self._steps, strict=True)]
        needed_from = []
        for first, count in zip(firsts, self._counts, strict=True):
            needed_from.append((2 * first - 1) * frames // (2 * count) + 1)  # behind the key before (key_frame_index)
            needed_from[-1][0] = 0
        owners = np.repeat(np.arange(len(latents)), [len(each) for each in firsts])
        order = np.argsort(np.concatenate(needed_from), kind="stable")
        self._owners, self._firsts = owners[order], np.concatenate(firsts)[order]
        self._starts = np.cumsum([0, *map(len, firsts)])
        self._places = np.empty_like(order)
        self._places[order] = np.arange(len(order))

    def __len__(self) -> int:
        return len(self._owners)

    @overload
    def __getitem__(self, index: int) -> KeyGroup: ...
    @overload
    def __getitem__(self, index: slice) -> list[KeyGroup]: ...
    def __getitem__(self, index: int | slice) -> KeyGroup | list[KeyGroup]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        latent, first = int(self._owners[index]), int(self._firsts[index])
        return KeyGroup(latent, first, min(self._steps[latent], self._counts[latent] - first))

    def place(self, latent: int, key: int) -> int:
        """Index of the group that holds a key of a latent."""
        return int(self._places[self._starts[latent] + key // self._steps[latent]])
