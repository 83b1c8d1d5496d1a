"""Sectors of keys in a file: squares of the panorama that a reader fetches apart.

span = key | key | ... | lengths | sectors         chunks; a span is a root or a P key, or the B keys behind it
sectors = sector 0 of all keys of the span | sector 1 of all | ...

That a sector is not damaged is told by its end (core/entropy.c).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, islice, pairwise

import numpy as np
from numpy.typing import NDArray

from nerv360.errors import BitstreamError
from nerv360.motion.core import Core
from nerv360.motion.keys import SECTOR_UNIT, Key, split_into_spans

__all__ = ["SectorTable", "sector_side", "write_chunks"]

MOST_ACROSS = 16  # sectors of a panorama that this package encodes


def sector_side(width: int) -> int:
    """Pixels each way of the sectors of a panorama: smaller ones are fetched more closely, and take more bytes."""
    side = SECTOR_UNIT
    while width > MOST_ACROSS * side:
        side *= 2
    return side


def write_chunks(
    width: int, height: int, sector: int, keys: Iterable[Key], coded: Iterable[tuple[bytes, Sequence[bytes]]]
) -> list[bytes]:
    """The chunks of keys of a panorama, each of which has its bytes, or those of its base, and those of its sectors."""
    rest, chunks = iter(coded), []
    if not sector:
        return [data for data, _ in rest]
    core = Core(width, height, sector)
    for span in split_into_spans(keys):
        bases, sectors = zip(*islice(rest, len(span)), strict=True)
        lengths = np.array([list(map(len, each)) for each in sectors], np.uint32)
        chunks += [*bases, core.write_lengths(span, lengths)]
        chunks.append(b"".join(chain.from_iterable(zip(*sectors, strict=True))))
    return chunks


@dataclass(frozen=True)
class SectorTable:
    """Where the sectors of a span lie in their chunk."""

    starts: NDArray[np.int64]  # [sectors + 1], of all keys' of the span together
    lengths: NDArray[np.uint32]  # [keys, sectors]

    @classmethod
    def read(cls, core: Core, keys: Sequence[Key], data: bytes, size: int) -> "SectorTable":
        """Read the chunk of lengths of a span whose sectors have `size` bytes. Raises BitstreamError."""
        lengths = core.read_lengths(keys, data)
        starts = np.concatenate(([0], np.cumsum(lengths.sum(axis=0, dtype=np.int64))))
        if starts[-1] != size:
            raise BitstreamError(f"sectors of {starts[-1]} bytes in a chunk of {size}")
        return cls(starts, lengths)

    def stretch(self, sector: int, last: int | None = None) -> tuple[int, int]:
        """Where a sector of all keys begins, and its bytes, or those of all up to the last."""
        end = (sector if last is None else last) + 1
        return int(self.starts[sector]), int(self.starts[end] - self.starts[sector])

    def runs(self, sectors: Iterable[int], most_gap: int) -> list[list[int]]:
        """Sectors in order, by stretches between which more bytes than that would be read for nothing."""
        found: list[list[int]] = []
        for sector in sorted(sectors):
            if not found or self.starts[sector] - self.starts[found[-1][-1] + 1] > most_gap:
                found.append([])
            found[-1].append(sector)
        return found

    def split(self, sector: int, data: bytes) -> list[bytes]:
        """The bytes of a sector of each key, out of those of all."""
        ends = list(accumulate(self.lengths[:, sector].tolist(), initial=0))
        return [data[a:b] for a, b in pairwise(ends)]
