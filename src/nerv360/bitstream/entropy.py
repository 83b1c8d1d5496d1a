"""Entropy coding of integers with frequency tables of integers (docs/bitstream.md, "Coded integers").

The coder is constriction's range-ANS (32-bit words, 64-bit state, 24-bit probabilities). No floating-point number
decides what it reads: handing it counts that sum to exactly 2^24 - n makes its fixed-point model the table itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import constriction
import numpy as np
from numpy.typing import NDArray

from nerv360.errors import BitstreamError

__all__ = ["FrequencyTable", "decode", "encode", "read_varint", "write_varint"]

TABLE_BITS, CODER_BITS = 16, 24
MAX_ALPHABET = 1 << TABLE_BITS

AnsCoder = constriction.stream.stack.AnsCoder
Categorical = constriction.stream.model.Categorical
Integers = NDArray[np.int32]


@dataclass(frozen=True)
class FrequencyTable:
    """How often each symbol lowest, lowest + 1, ... occurs, out of 2^16; every count is at least 1."""

    lowest: int
    counts: tuple[int, ...]

    @classmethod
    def of(cls, symbols: Integers) -> "FrequencyTable":
        """The table that fits these symbols best, to rounding."""
        if symbols.size == 0:
            return cls(0, (1 << TABLE_BITS,))
        lowest = int(symbols.min())
        occurrences = np.bincount((symbols - lowest).ravel())
        shares = occurrences * ((1 << TABLE_BITS) - len(occurrences)) // symbols.size + 1
        shares[shares.argmax()] += (1 << TABLE_BITS) - shares.sum()
        return cls(lowest, tuple(int(share) for share in shares))

    def write(self) -> bytes:
        lowest = 2 * self.lowest if self.lowest >= 0 else -2 * self.lowest - 1
        return b"".join(write_varint(value) for value in (lowest, len(self.counts), *self.counts))

    @classmethod
    def read(cls, data: bytes, offset: int) -> tuple["FrequencyTable", int]:
        """Inverse of `write`: the table and the offset behind it. Raises BitstreamError for an impossible one."""
        lowest, offset = read_varint(data, offset)
        length, offset = read_varint(data, offset)
        if not 1 <= length <= min(MAX_ALPHABET, len(data) - offset) or lowest >= 1 << 32:
            raise BitstreamError("impossible frequency table")
        counts = []
        for _ in range(length):
            count, offset = read_varint(data, offset)
            counts.append(count)
        if min(counts) < 1 or sum(counts) != 1 << TABLE_BITS:
            raise BitstreamError("impossible frequency table")
        first = -(lowest + 1) // 2 if lowest % 2 else lowest // 2
        if first + length > 1 << 31:
            raise BitstreamError("impossible frequency table")
        return cls(first, tuple(counts)), offset

    def model(self) -> Any:
        counts = np.array(self.counts, dtype=np.float64) * (1 << (CODER_BITS - TABLE_BITS))
        return Categorical(counts - 1, perfect=False)  # the coder itself adds 1 to every symbol


def encode(parts: Sequence[tuple[Integers, FrequencyTable]]) -> bytes:
    """Symbols of every part, each with its table, as one stream that `decode` reads in this order."""
    coder = AnsCoder()
    for symbols, table in reversed(parts):
        if symbols.size and len(table.counts) > 1:  # a certain symbol takes no bits
            coder.encode_reverse((symbols.ravel() - table.lowest).astype(np.int32), table.model())
    return bytes(coder.get_compressed().astype("<u4").tobytes())


def decode(data: bytes, parts: Sequence[tuple[int, FrequencyTable]]) -> list[Integers]:
    """Inverse of `encode`, given how many symbols each part has. Raises BitstreamError where they do not fit."""
    if len(data) % 4:
        raise BitstreamError("coded integers are not whole words")
    try:
        coder = AnsCoder(np.frombuffer(data, dtype="<u4").astype(np.uint32))
    except ValueError:
        raise BitstreamError("impossible coded integers") from None
    symbols = [
        _shifted(coder.decode(table.model(), count), table.lowest)
        if len(table.counts) > 1
        else np.full(count, table.lowest, dtype=np.int32)
        for count, table in parts
    ]
    if not coder.is_empty():
        raise BitstreamError("coded integers go on behind the last symbol")
    return symbols


def write_varint(value: int) -> bytes:
    """An unsigned integer, seven bits a byte, least significant first; the top bit says that more follow."""
    data = bytearray()
    while value >= 128:
        data.append(value & 127 | 128)
        value >>= 7
    data.append(value)
    return bytes(data)


def read_varint(data: bytes, offset: int) -> tuple[int, int]:
    """Inverse of `write_varint`: the value and the offset behind it."""
    value = 0
    for shift in range(0, 35, 7):
        if offset >= len(data):
            raise BitstreamError("truncated integer")
        byte, offset = data[offset], offset + 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, offset
    raise BitstreamError("impossible integer")


def _shifted(symbols: Integers, lowest: int) -> Integers:
    """In place: the largest parts of a file are many megabytes."""
    shifted = symbols.astype(np.int32, copy=False)
    shifted += np.int32(lowest)
    return shifted
