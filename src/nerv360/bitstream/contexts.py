"""Latent integers, each coded with the class that its neighbours foretell (docs/bitstream.md, "Contexts").

Everything here is exact: integers, or doubles that hold integers. layers/contexts.py is the same model with real
numbers, to be fitted.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nerv360.bitstream.entropy import LARGEST, Integers, Reader, Writer
from nerv360.bitstream.laplace import FRACTIONS, SCALES, class_of
from nerv360.bitstream.places import MARGIN, PLACES, Place, other_keys, references
from nerv360.errors import BitstreamError

__all__ = [
    "HIDDEN",
    "MOST",
    "ONE",
    "ONE_MEAN",
    "Contexts",
    "read_contexts",
    "read_latent",
    "write_contexts",
    "write_latent",
]

HIDDEN = 8
ONE, ONE_MEAN = 16, 256  # what stands for 1 in the weights, and in those of the mean
MOST = 255  # magnitudes are told apart up to this sum
PARAMETER_CLASS = class_of(34)
_LOGARITHMS = np.rint(ONE * np.log2(1 + np.arange(MOST + 1)))


@dataclass(frozen=True, eq=False)
class Contexts:
    """The integer network: known magnitudes -> scale; known sums -> mean."""

    mix: Integers  # [4, HIDDEN] of the logarithms of magnitudes near, far and at other keys; whether there are others
    place: Integers  # [places, HIDDEN]
    spread: Integers  # [HIDDEN]
    scale: Integers  # [channels]
    mean: Integers  # [3] of the sums near without other keys, and with; of that at other keys

    @classmethod
    def of(cls, parameters: Integers, channels: int) -> "Contexts":
        """From all its numbers, one behind the other."""
        ends = np.cumsum([4 * HIDDEN, len(PLACES) * HIDDEN, HIDDEN, channels])
        mix, place, spread, scale, mean = np.split(parameters, ends)
        return cls(mix.reshape(4, HIDDEN), place.reshape(-1, HIDDEN), spread, scale, mean)

    @staticmethod
    def size(channels: int) -> int:
        """How many numbers it has."""
        return 5 * HIDDEN + len(PLACES) * HIDDEN + channels + 3

    def parameters(self) -> Integers:
        """Inverse of `of`."""
        return np.concatenate([each.ravel() for each in (self.mix, self.place, self.spread, self.scale, self.mean)])

    def scales(self, place: int, timed: bool, magnitudes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Sums of magnitudes [n, 3] -> steps of the scale [n] beside that of the channel, times ONE^3."""
        known = _LOGARITHMS[np.minimum(magnitudes, MOST)]
        base = ONE * (self.place[place] + timed * self.mix[3]).astype(np.float64)
        hidden = np.maximum(known @ self.mix[:3].astype(np.float64) + base, 0)
        return (hidden @ self.spread.astype(np.float64)).astype(np.int64)


def write_contexts(contexts: Contexts) -> bytes:
    writer, parameters = Writer(), contexts.parameters()
    writer.write(parameters, np.full(len(parameters), PARAMETER_CLASS))
    return writer.finish()


def read_contexts(data: bytes, channels: int) -> Contexts:
    """Inverse of `write_contexts`."""
    reader = Reader(data, Contexts.size(channels))
    parameters = reader.read(np.full(Contexts.size(channels), PARAMETER_CLASS))
    reader.finish()
    return Contexts.of(parameters, channels)


def write_latent(symbols: Integers, contexts: Contexts, first_channel: int) -> bytes:
    """Consecutive keys [keys, channels, rows, columns] of a latent."""
    writer = Writer()
    known = np.zeros_like(symbols)
    for cells, centre, classes in _turns(known, contexts, first_channel):
        writer.write((symbols[cells] - centre).ravel(), classes.ravel())
        known[cells] = symbols[cells]
    return writer.finish()


def read_latent(data: bytes, contexts: Contexts, first_channel: int, shape: tuple[int, int, int, int]) -> Integers:
    """Inverse of `write_latent`. Raises BitstreamError."""
    reader = Reader(data, math.prod(shape))
    known = np.zeros(shape, dtype=np.int32)
    for cells, centre, classes in _turns(known, contexts, first_channel):
        integers = centre + reader.read(classes.ravel()).reshape(centre.shape)
        if np.abs(integers).max(initial=0) > LARGEST:
            raise BitstreamError("impossible latent")
        known[cells] = integers
    reader.finish()
    return known


Cells = tuple[int, slice, slice, slice]  # of the array [keys, channels, rows, columns]


def _turns(
    known: Integers, contexts: Contexts, first_channel: int
) -> Iterator[tuple[Cells, NDArray[np.int64], NDArray[np.int64]]]:
    """Cells that are coded together, their middle symbols and classes; `known` must hold them before the next turn."""
    keys, channels, rows, columns = known.shape
    base = contexts.scale[first_channel : first_channel + channels, None, None].astype(np.int64) * ONE**2
    for key, before, behind in references(keys):
        beside = [known[other] for other in other_keys(before, behind)]
        padded = np.zeros((channels, rows + 2 * MARGIN, columns + 2 * MARGIN), dtype=np.int32)
        inner = padded[:, MARGIN:-MARGIN, MARGIN:-MARGIN]
        for number, place in enumerate(PLACES):
            cut = (slice(place.row, None, place.spacing), slice(place.column, None, place.spacing))
            cells = (key, slice(None), *cut)
            own = known[cells]
            near, sums = _near(padded, place, place.near, own.shape)
            far, _ = _near(padded, place, place.far, own.shape)
            other, total = np.zeros_like(own), np.zeros_like(own)
            for each in beside:
                other += np.abs(each[cells[1:]])
                total += each[cells[1:]]
            mean = contexts.mean.astype(np.int64)  # untrusted: with large sums too much for 32 bits
            foretold = 2 * mean[1 if beside else 0] * sums + 4 * mean[2] * total
            eighths = (foretold + ONE_MEAN // 2) // ONE_MEAN
            centre = (eighths + FRACTIONS // 2) // FRACTIONS
            steps = np.broadcast_to(base, own.shape) + _steps(contexts, number, bool(beside), near, far, other)
            scale = np.clip((steps + ONE**3 // 2) // ONE**3, 0, SCALES - 1)
            yield cells, centre, class_of(scale, eighths - FRACTIONS * centre + FRACTIONS // 2)
            inner[(slice(None), *cut)] = known[cells]


def _steps(contexts: Contexts, place: int, timed: bool, *magnitudes: Integers) -> NDArray[np.int64]:
    """`Contexts.scales`, worked out only where something is known: elsewhere all cells are alike."""
    (nothing,) = contexts.scales(place, timed, np.zeros((1, 3), dtype=np.int64))
    steps = np.full(magnitudes[0].shape, nothing, dtype=np.int64)
    something = np.logical_or.reduce(magnitudes)
    steps[something] = contexts.scales(place, timed, np.stack([each[something] for each in magnitudes], axis=-1))
    return steps


def _near(
    padded: Integers, place: Place, offsets: tuple[tuple[int, int], ...], shape: tuple[int, ...]
) -> tuple[Integers, Integers]:
    """Sums of the magnitudes of the cells at these offsets, and of themselves."""
    magnitudes, sums = np.zeros(shape, dtype=np.int32), np.zeros(shape, dtype=np.int32)
    for down, right in offsets:
        top, left = MARGIN + place.row + down, MARGIN + place.column + right
        rows, columns = (
            slice(start, start + (n - 1) * place.spacing + 1, place.spacing)
            for start, n in zip((top, left), shape[1:], strict=True)
        )
        if shape[1] and shape[2]:
            moved = padded[:, rows, columns]
            magnitudes += np.abs(moved)
            sums += moved
    return magnitudes, sums
