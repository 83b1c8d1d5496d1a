"""Latent integers, each coded with the class that its neighbours foretell (docs/bitstream.md, "Contexts").

Everything here is exact: integers, or doubles that hold multiples of powers of two. layers/contexts.py is the same
model with real numbers, to be fitted.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

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
SEEN = 6  # numbers that are known of a cell: `_seen`
FOR_SCALE = 4  # of them, that its scale depends on
BAND = 1 << 13  # cells that are worked on at a time: they stay in the cache
PARAMETER_CLASS = class_of(34)
_LOGARITHMS = np.rint(ONE * np.log2(1 + np.arange(MOST + 1)))

Numbers = NDArray[np.float64]
Cut = tuple[slice, slice]  # rows and columns of a grid
Cells = tuple[int, slice, slice, slice]  # of the array [keys, channels, rows, columns]


@dataclass(frozen=True, eq=False)
class Contexts:
    """The integer network: known magnitudes -> scale; known sums -> mean."""

    mix: Integers  # [4, HIDDEN] of the logarithms of magnitudes near, far and at other keys; whether there are others
    place: Integers  # [places, HIDDEN]
    spread: Integers  # [HIDDEN]
    scale: Integers  # [channels]
    mean: Integers  # [channels] of the sum near, without other keys
    timed_mean: Integers  # [2] with them: of the sum near, and of that at other keys

    @classmethod
    def of(cls, parameters: Integers, channels: int) -> "Contexts":
        """From all its numbers, one behind the other."""
        ends = np.cumsum([4 * HIDDEN, len(PLACES) * HIDDEN, HIDDEN, channels, channels])
        mix, place, *others = np.split(parameters, ends)
        return cls(mix.reshape(4, HIDDEN), place.reshape(-1, HIDDEN), *others)

    @staticmethod
    def size(channels: int) -> int:
        """How many numbers it has."""
        return 5 * HIDDEN + len(PLACES) * HIDDEN + 2 * channels + 2

    def parameters(self) -> Integers:
        """Inverse of `of`."""
        return np.concatenate([getattr(self, f.name).ravel() for f in fields(self)])

    def layers(self, timed: bool) -> Numbers:
        """Of every place [places, HIDDEN, FOR_SCALE]: what is seen of a cell -> hidden numbers."""
        layers = np.empty((len(PLACES), HIDDEN, FOR_SCALE))
        layers[..., :3] = self.mix[:3].T
        layers[..., 3] = ONE * (self.place + timed * self.mix[3])
        return layers

    def means(self, timed: bool, channels: slice) -> Numbers:
        """What sums near and at other keys add to the mean, in eighths [2, channels or 1, 1, 1]."""
        near, other = (self.timed_mean[:1], self.timed_mean[1]) if timed else (self.mean[channels], 0)
        means = np.stack((2 * near, np.full_like(near, 4 * other)))
        return means[..., None, None] / ONE_MEAN

    def foretell(
        self, seen: Numbers, layer: Numbers, means: Numbers, channels: slice
    ) -> tuple[Integers, NDArray[np.uint16]]:
        """Middle symbols and classes [channels, rows, columns] of cells: of `_seen`, a place's layer, and `means`."""
        shape = seen.shape[1:]
        hidden = np.maximum(layer @ seen[:FOR_SCALE].reshape(FOR_SCALE, -1), 0)
        steps = (self.spread / ONE**3 @ hidden).reshape(shape) + self.scale[channels, None, None] / ONE
        scales = np.clip(np.floor(steps + 0.5), 0, SCALES - 1)
        eighths = np.floor(seen[4] * means[0] + seen[5] * means[1] + 0.5)
        middle = np.floor(eighths / FRACTIONS + 0.5)
        classes = class_of(scales, eighths - FRACTIONS * middle + FRACTIONS // 2)
        return middle.astype(np.int32), classes.astype(np.uint16)


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
    for cells, centre, classes in _turns(symbols, contexts, first_channel):
        writer.write((symbols[cells] - centre).ravel(), classes.ravel())
    return writer.finish()


def read_latent(
    data: bytes, contexts: Contexts, first_channel: int, shape: tuple[int, int, int, int]
) -> NDArray[np.int16]:
    """Inverse of `write_latent`. Raises BitstreamError."""
    reader = Reader(data, math.prod(shape))
    known = np.zeros(shape, dtype=np.int16)
    for cells, centre, classes in _turns(known, contexts, first_channel):
        integers = centre + reader.read(classes.ravel()).reshape(centre.shape)
        if np.abs(integers).max(initial=0) > LARGEST:
            raise BitstreamError("impossible latent")
        known[cells] = integers
    reader.finish()
    return known


def _turns(
    known: NDArray[np.integer[Any]], contexts: Contexts, first_channel: int
) -> Iterator[tuple[Cells, Integers, NDArray[np.uint16]]]:
    """Cells that are coded together, their middle symbols and classes; `known` must hold them before the next turn."""
    keys, channels, rows, columns = known.shape
    numbers = slice(first_channel, first_channel + channels)
    around = np.zeros((2, channels, rows + 2 * MARGIN, columns + 2 * MARGIN), dtype=np.int16)
    cuts = [(slice(p.row, rows, p.spacing), slice(p.column, columns, p.spacing)) for p in PLACES]
    places = [(cut, _bands(place, channels, *cut)) for place, cut in zip(PLACES, cuts, strict=True)]
    for key, before, behind in references(keys):
        beside = known[other_keys(before, behind)]
        timed = len(beside) > 0
        means = contexts.means(timed, numbers)
        for (cut, bands), layer in zip(places, contexts.layers(timed), strict=True):
            if not bands:  # the grid is smaller
                continue
            parts = [contexts.foretell(_seen(around, beside, band), layer, means, numbers) for band in bands]
            centre, classes = (np.concatenate(each, axis=1) for each in zip(*parts, strict=True))
            yield (key, slice(None), *cut), centre, classes
            own, inner = known[key, :, *cut], _moved(*cut, (0, 0))
            around[0, :, *inner], around[1, :, *inner] = own, np.minimum(np.abs(own), MOST)


@dataclass(frozen=True)
class _Band:
    """Cells of a place in some rows of a grid, and their neighbours in the grid with a margin."""

    own: Cut
    near: list[Cut]
    far: list[Cut]


def _bands(place: Place, channels: int, down: slice, across: slice) -> list[_Band]:
    """All cells of a place, as many rows at a time as fit the cache."""
    bands, in_a_row = [], channels * len(range(across.start, across.stop, across.step))
    step = place.spacing * max(1, BAND // max(1, in_a_row))
    for start in range(down.start, down.stop, step) if in_a_row else ():
        rows = slice(start, min(start + step, down.stop), place.spacing)
        near, far = ([_moved(rows, across, offset) for offset in offsets] for offsets in (place.near, place.far))
        bands.append(_Band((rows, across), near, far))
    return bands


def _seen(
    around: NDArray[np.int16],  # [2, channels, rows, columns] the key's integers and magnitudes, with a margin of zeros
    beside: NDArray[np.integer[Any]],  # [0 or 2, channels, rows, columns] the other keys
    band: _Band,
) -> Numbers:
    """Of every cell [SEEN, channels, rows, columns]: logarithms of the magnitudes near, far and at other keys; 1; the
    sums near and at other keys."""
    others = beside[:, :, *band.own]
    near = np.zeros((2, *others.shape[1:]), dtype=np.int32)
    far = np.zeros(others.shape[1:], dtype=np.int32)
    for cut in band.near:
        near += around[:, :, *cut]
    for cut in band.far:
        far += around[1, :, *cut]
    seen = np.empty((SEEN, *far.shape))
    for row, magnitudes in enumerate((near[1], far, np.abs(others).sum(axis=0))):
        _LOGARITHMS.take(magnitudes, out=seen[row], mode="clip")  # all beyond MOST are as MOST
    seen[3], seen[4], seen[5] = 1, near[0], others.sum(axis=0)
    return seen


def _moved(down: slice, across: slice, offset: tuple[int, int]) -> Cut:
    """Where the cells at an offset from these lie in the grid with a margin."""
    top, left = MARGIN + offset[0], MARGIN + offset[1]
    return (
        slice(top + down.start, top + down.stop, down.step),
        slice(left + across.start, left + across.stop, across.step),
    )
