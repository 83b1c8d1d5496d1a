"""Entropy coding of integers, each with a class that both sides know (docs/bitstream.md, "Coded integers").

The coder is constriction's range-ANS (32-bit words, 64-bit state, 24-bit probabilities). No floating-point number
decides what it reads: handing it counts that sum to exactly 2^24 - n makes its fixed-point model the table itself.
"""

from functools import cache
from typing import Any

import constriction
import numpy as np
from numpy.typing import NDArray

from nerv360.bitstream.laplace import REACH, counts
from nerv360.errors import BitstreamError

__all__ = ["LARGEST", "Integers", "Reader", "Writer", "read_varint", "write_varint"]

AnsCoder = constriction.stream.stack.AnsCoder
Categorical = constriction.stream.model.Categorical
Integers = NDArray[np.int32]
LARGEST = (1 << 15) - 1  # of weights and latents
MOST_BEYOND = 1 << 20


class Writer:
    """Takes integers in the order in which `Reader` will ask for them."""

    def __init__(self) -> None:
        self._parts: list[tuple[int, Integers]] = []
        self._beyond: list[int] = []

    def write(self, integers: Integers, classes: NDArray[np.integer[Any]]) -> None:
        """Of each integer its class; both [n]."""
        self._beyond += [int(value) for value in np.abs(integers[np.abs(integers) >= REACH]) - REACH]
        order, runs = _by_class(classes)
        symbols = (np.clip(integers, -REACH, REACH) + REACH).astype(np.int32)[order]
        for number, count in runs:
            self._parts.append((number, symbols[:count]))
            symbols = symbols[count:]

    def finish(self) -> bytes:
        """Everything written, as bytes."""
        coder = AnsCoder()
        for number, symbols in reversed(self._parts):
            coder.encode_reverse(symbols, _model(number))
        head = b"".join(write_varint(value) for value in (len(self._beyond), *self._beyond))
        return head + bytes(coder.get_compressed().astype("<u4").tobytes())


class Reader:
    """Gives back what `Writer` took, asked for in the same pieces. Raises BitstreamError where they do not fit."""

    def __init__(self, data: bytes, count: int) -> None:
        """Of so many integers in all."""
        length, offset = read_varint(data, 0)
        if length > min(count, len(data) - offset):
            raise BitstreamError("impossible coded integers")
        self._beyond, offset = _read_varints(data, offset, length)
        if (len(data) - offset) % 4:
            raise BitstreamError("coded integers are not whole words")
        try:
            self._coder = AnsCoder(np.frombuffer(data, dtype="<u4", offset=offset).astype(np.uint32))
        except ValueError:
            raise BitstreamError("impossible coded integers") from None

    def read(self, classes: NDArray[np.integer[Any]]) -> Integers:
        """The next integers [n], of these classes."""
        order, runs = _by_class(classes)
        integers = np.empty(len(classes), dtype=np.int32)
        if len(classes):
            integers[order] = np.concatenate([self._coder.decode(_model(number), count) for number, count in runs])
        integers -= REACH
        outermost = np.flatnonzero(np.abs(integers) == REACH)
        if len(outermost):
            integers[outermost] += np.sign(integers[outermost]) * self._take_beyond(len(outermost))
        return integers

    def _take_beyond(self, count: int) -> Integers:
        """How far the next integers [count] lie beyond the outermost symbols."""
        beyond, self._beyond = self._beyond[:count], self._beyond[count:]
        if len(beyond) < count or (beyond > MOST_BEYOND).any():
            raise BitstreamError("impossible coded integers")
        return beyond.astype(np.int32)

    def finish(self) -> None:
        """Make sure that nothing is left."""
        if len(self._beyond) or not self._coder.is_empty():
            raise BitstreamError("coded integers go on behind the last one")


def _by_class(classes: NDArray[np.integer[Any]]) -> tuple[NDArray[np.intp], list[tuple[int, int]]]:
    """The order in which integers of these classes are coded, and how many each class has, by its number."""
    counts = np.bincount(classes)
    numbers = np.flatnonzero(counts)
    order = np.argsort(classes.astype(np.uint16), kind="stable")  # 16 bits: a radix sort
    return order, list(zip(numbers.tolist(), counts[numbers].tolist(), strict=True))


@cache
def _model(number: int) -> Any:
    return Categorical((counts(number) - 1).astype(np.float64), perfect=False)  # the coder adds 1 to every symbol


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


def _read_varints(data: bytes, offset: int, count: int) -> tuple[NDArray[np.int64], int]:
    """Many at once: a file of nothing else must not take minutes."""
    raw = np.frombuffer(data, dtype=np.uint8, offset=offset)[: 5 * count]
    ends = np.flatnonzero(raw < 128)[:count]
    lengths = np.diff(ends, prepend=-1)
    if len(ends) < count or lengths.max(initial=0) > 5:
        raise BitstreamError("impossible coded integers")
    values = np.zeros(count, dtype=np.int64)
    for place in range(5):
        longer = lengths > place
        values[longer] |= (raw[(ends - lengths + 1)[longer] + place].astype(np.int64) & 127) << 7 * place
    return values, offset + int(lengths.sum())
