"""Sectors of keys in a file: squares of the panorama that a reader fetches apart.

    span = key | key | ... | lengths | sectors        chunks; a span is a P key or a root, and what follows it
    sectors = sector 0 of all keys of the span | sector 1 of all | ...
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from nerv360.errors import BitstreamError
from nerv360.motion.core import Core
from nerv360.motion.keys import SECTOR_UNIT, Key

__all__ = ["SectorTable", "sector_side", "write_sectors"]

MOST_ACROSS = 16  # sectors of a panorama that this package encodes
CHECK = np.dtype("<u2")  # of a sector of a span: the lower half of its CRC-32


def sector_side(width: int) -> int:
    """Pixels each way of the sectors of a panorama: smaller ones are fetched more closely, and take more bytes."""
    side = SECTOR_UNIT
    while width > MOST_ACROSS * side:
        side *= 2
    return side


def write_sectors(core: Core, keys: Sequence[Key], sectors: Sequence[Sequence[bytes]]) -> list[bytes]:
    """The chunks of lengths and of sectors of a span, of all sectors of its keys."""
    lengths = np.array([list(map(len, each)) for each in sectors], np.uint32)
    together = [b"".join(each) for each in zip(*sectors, strict=True)]
    checks = np.array([crc32(each) & 0xFFFF for each in together], CHECK)
    return [checks.tobytes() + core.write_lengths(keys, lengths), b"".join(together)]


@dataclass(frozen=True)
class SectorTable:
    """Where the sectors of a span lie in their chunk."""

    checks: NDArray[np.uint16]  # [sectors]
    starts: NDArray[np.int64]  # [sectors + 1], of all keys' of the span together
    lengths: NDArray[np.uint32]  # [keys, sectors]

    @classmethod
    def read(cls, core: Core, keys: Sequence[Key], data: bytes, size: int) -> "SectorTable":
        """Read the chunk of lengths of a span whose sectors have `size` bytes. Raises BitstreamError."""
        first = CHECK.itemsize * core.sectors
        if len(data) < first:
            raise BitstreamError(f"the lengths of {core.sectors} sectors have {len(data)} bytes")
        lengths = core.read_lengths(keys, data[first:])
        starts = np.concatenate(([0], np.cumsum(lengths.sum(axis=0, dtype=np.int64))))
        if starts[-1] != size:
            raise BitstreamError(f"sectors of {starts[-1]} bytes in a chunk of {size}")
        return cls(np.frombuffer(data[:first], CHECK), starts, lengths)

    def stretch(self, sector: int) -> tuple[int, int]:
        """Where a sector of all keys begins, and its bytes."""
        return int(self.starts[sector]), int(self.starts[sector + 1] - self.starts[sector])

    def split(self, sector: int, data: bytes) -> list[bytes]:
        """The bytes of a sector of each key, out of those of all. Raises BitstreamError where they are damaged."""
        if len(data) != self.stretch(sector)[1] or crc32(data) & 0xFFFF != self.checks[sector]:
            raise BitstreamError(f"damaged: the checksum of its sector {sector} is wrong")
        ends = list(accumulate(self.lengths[:, sector].tolist(), initial=0))
        return [data[a:b] for a, b in pairwise(ends)]
