"""Range coder for integers, each under a model that both sides know (docs/bitstream.md, "Coded integers").

The coder is constriction's range-ANS (32-bit words, 64-bit state, 24-bit probabilities). No floating-point number
decides what it reads: handing it frequencies that sum to exactly 2^24 - n makes its fixed-point model the table itself.
"""

from functools import cache
from typing import Any

import constriction
import numpy as np
from numpy.typing import NDArray

from nerv360.entropy.laplace import MAX_SYMBOL, frequencies
from nerv360.errors import BitstreamError

__all__ = ["MAX_ABS_VALUE", "Integers", "SymbolDecoder", "SymbolEncoder", "read_varint", "write_varint"]

AnsCoder = constriction.stream.stack.AnsCoder
Categorical = constriction.stream.model.Categorical
Integers = NDArray[np.int32]
MAX_ABS_VALUE = (1 << 15) - 1  # of quantised weights and latents
MAX_ESCAPE = 1 << 20
RUN = 1 << 20  # integers of one model that are looked at together


class SymbolEncoder:
    """Encode integers, in the order in which `SymbolDecoder` will decode them."""

    def __init__(self) -> None:
        self._parts: list[tuple[int, Integers]] = []
        self._escapes: list[int] = []

    def encode(self, integers: Integers, models: NDArray[np.integer[Any]]) -> None:
        """Encode integers [n] under models [n] (laplace.py)."""
        self._escapes += [int(value) for value in np.abs(integers[np.abs(integers) >= MAX_SYMBOL]) - MAX_SYMBOL]
        order, runs = _by_model(models)
        symbols = (np.clip(integers, -MAX_SYMBOL, MAX_SYMBOL) + MAX_SYMBOL).astype(np.int32)[order]
        for number, count in runs:
            self._parts.append((number, symbols[:count]))
            symbols = symbols[count:]

    def finish(self) -> bytes:
        """All that was encoded, as bytes: the number of escapes, the escapes as varints, the words of the coder."""
        coder = AnsCoder()
        for number, symbols in reversed(self._parts):
            coder.encode_reverse(symbols, _model(number))
        head = b"".join(write_varint(value) for value in (len(self._escapes), *self._escapes))
        return head + bytes(coder.get_compressed().astype("<u4").tobytes())


class SymbolDecoder:
    """Decode what `SymbolEncoder` encoded, in the same batches. Raises BitstreamError where the bytes do not fit."""

    def __init__(self, data: bytes, count: int) -> None:
        """`count` bounds the number of integers in all."""
        length, offset = read_varint(data, 0)
        if length > min(count, len(data) - offset):
            raise BitstreamError("impossible coded integers")
        self._escapes, offset = _read_varints(data, offset, length)
        if (len(data) - offset) % 4:
            raise BitstreamError("coded integers are not whole words")
        try:
            self._coder = AnsCoder(np.frombuffer(data, dtype="<u4", offset=offset).astype(np.uint32))
        except ValueError:
            raise BitstreamError("impossible coded integers") from None

    def decode(self, models: NDArray[np.integer[Any]]) -> Integers:
        """The next integers [n], under models [n]."""
        order, runs = _by_model(models)
        integers = np.empty(len(models), dtype=np.int32)
        if len(models):
            integers[order] = np.concatenate([self._coder.decode(_model(number), count) for number, count in runs])
        integers -= MAX_SYMBOL
        return self._with_escapes(integers)

    def decode_sparse(self, models: NDArray[np.integer[Any]], repeats: int) -> tuple[NDArray[np.intp], Integers]:
        """What is not 0 of the next integers [n * repeats], under models [n], each of which holds for so many of them.

        Gives where, in order, and what. Takes memory as there is of that.
        """
        places, values = [np.empty(0, np.intp)], [np.empty(0, np.int32)]
        for number in np.unique(models).tolist():
            alike = np.flatnonzero(models == number)
            for first in range(0, len(alike) * repeats, RUN):
                symbols = self._coder.decode(_model(number), min(RUN, len(alike) * repeats - first))
                found = np.flatnonzero(symbols != MAX_SYMBOL)
                owner, at = np.divmod(first + found, repeats)
                places.append(alike[owner] * repeats + at)
                values.append(symbols[found].astype(np.int32) - MAX_SYMBOL)
        where = np.concatenate(places)
        order = np.argsort(where)
        return where[order], self._with_escapes(np.concatenate(values)[order])

    def _with_escapes(self, integers: Integers) -> Integers:
        outermost = np.flatnonzero(np.abs(integers) == MAX_SYMBOL)
        if len(outermost):
            integers[outermost] += np.sign(integers[outermost]) * self._take_escapes(len(outermost))
        return integers

    def _take_escapes(self, count: int) -> Integers:
        """The next escapes [count]: what is added to the magnitude of an outermost symbol."""
        escapes, self._escapes = self._escapes[:count], self._escapes[count:]
        if len(escapes) < count or (escapes > MAX_ESCAPE).any():
            raise BitstreamError("impossible coded integers")
        return escapes.astype(np.int32)

    def finish(self) -> None:
        """Check that nothing is left. Raises BitstreamError."""
        if len(self._escapes) or not self._coder.is_empty():
            raise BitstreamError("coded integers go on behind the last one")


def _by_model(models: NDArray[np.integer[Any]]) -> tuple[NDArray[np.intp], list[tuple[int, int]]]:
    """The order in which integers are coded, grouped by model, and (model, count) of every group."""
    frequencies = np.bincount(models)
    numbers = np.flatnonzero(frequencies)
    order = np.argsort(models.astype(np.uint16), kind="stable")  # 16 bits: a radix sort
    return order, list(zip(numbers.tolist(), frequencies[numbers].tolist(), strict=True))


@cache
def _model(number: int) -> Any:
    return Categorical((frequencies(number) - 1).astype(np.float64), perfect=False)  # the coder adds 1 to every symbol


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
    """Decode many varints at once: a file of nothing else must not take minutes."""
    raw = np.frombuffer(data, dtype=np.uint8, offset=offset)[: 5 * count]
    ends = np.flatnonzero(raw < 128)[:count]
    lengths = np.diff(ends, prepend=-1)
    if len(ends) < count or lengths.max(initial=0) > 5:
        raise BitstreamError("impossible coded integers")
    values = np.zeros(count, dtype=np.int64)
    for byte in range(5):
        longer = lengths > byte
        values[longer] |= (raw[(ends - lengths + 1)[longer] + byte].astype(np.int64) & 127) << 7 * byte
    return values, offset + int(lengths.sum())
