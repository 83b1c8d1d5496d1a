"""Key groups: consecutive keys of a latent, coded together as one chunk, and the order of the chunks in a file."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nerv360.latents.grid import LatentGrid, key_count, key_frame_index

__all__ = ["KeyGroup", "count_key_groups", "key_groups", "keys_per_group"]


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


def key_groups(latents: Sequence[LatentGrid], frames: int, group_size: int) -> list[KeyGroup]:
    """Key groups in the order of the file: by the first frame that needs them, then by latent, so playback reads on."""

    def of_latent(index: int, latent: LatentGrid) -> Iterator[tuple[int, KeyGroup]]:
        count = key_count(latent.key_interval, frames)
        step = keys_per_group(latent.key_interval, group_size)
        for first in range(0, count, step):
            needed_from = key_frame_index(latent.key_interval, first - 1, frames) + 1 if first else 0
            yield needed_from, KeyGroup(index, first, min(step, count - first))

    found = (entry for index, latent in enumerate(latents) for entry in of_latent(index, latent))
    return [group for _, group in sorted(found, key=lambda entry: entry[0])]
