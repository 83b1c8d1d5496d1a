"""Context model in integers, and latents coded under it (docs/bitstream.md, "Contexts").

All arithmetic is exact: integers, or doubles that hold multiples of powers of two. latents/context_model.py is the same
model in real numbers, to be fitted.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nerv360.entropy.laplace import FRACTIONS, SCALES, model_index
from nerv360.entropy.range_coder import MAX_ABS_VALUE, Integers, SymbolDecoder, SymbolEncoder
from nerv360.errors import BitstreamError
from nerv360.latents.coding_order import CODING_PASSES, MARGIN, CodingPass, key_coding_order, reference_keys

__all__ = [
    "FIXED_POINT_ONE",
    "FIXED_POINT_ONE_MEAN",
    "HIDDEN",
    "MAX_MAGNITUDE_SUM",
    "IntegerContextModel",
    "read_context_model",
    "read_latent",
    "write_context_model",
    "write_latent",
]

HIDDEN = 8
FIXED_POINT_ONE, FIXED_POINT_ONE_MEAN = 16, 256  # 1 as a weight of the scale, and as one of the mean
MAX_MAGNITUDE_SUM = 255  # larger sums count as this
FEATURES = 6  # of a cell: `_context_features`
SCALE_FEATURES = 4  # the first of them, which the scale depends on
BAND = 1 << 13  # cells that are worked on at a time: they stay in the cache
PARAMETER_MODEL = model_index(34)
_LOGARITHMS = np.rint(FIXED_POINT_ONE * np.log2(1 + np.arange(MAX_MAGNITUDE_SUM + 1)))

Numbers = NDArray[np.float64]
Cut = tuple[slice, slice]  # rows and columns of a grid
Cells = tuple[int, slice, slice, slice]  # of the array [keys, channels, rows, columns]


@dataclass(frozen=True, eq=False)
class IntegerContextModel:
    """A small network: log magnitudes of the context -> scale; signed sums of the context -> mean."""

    input_weight: Integers  # [4, HIDDEN] of log magnitudes near, far, at the reference keys; of there being such keys
    pass_bias: Integers  # [passes, HIDDEN]
    scale_weight: Integers  # [HIDDEN]
    scale_bias: Integers  # [channels]
    mean_weight: Integers  # [channels] of the near sum, where there are no reference keys
    temporal_mean_weight: Integers  # [2] of the near sum and of the sum at the reference keys, where there are

    @classmethod
    def of(cls, parameters: Integers, channels: int) -> "IntegerContextModel":
        """Build from all parameters, concatenated in the order of the fields."""
        ends = np.cumsum([4 * HIDDEN, len(CODING_PASSES) * HIDDEN, HIDDEN, channels, channels])
        input_weight, pass_bias, *others = np.split(parameters, ends)
        return cls(input_weight.reshape(4, HIDDEN), pass_bias.reshape(-1, HIDDEN), *others)

    @staticmethod
    def size(channels: int) -> int:
        """Number of parameters."""
        return 5 * HIDDEN + len(CODING_PASSES) * HIDDEN + 2 * channels + 2

    def parameters(self) -> Integers:
        """Inverse of `of`."""
        return np.concatenate([getattr(self, f.name).ravel() for f in fields(self)])

    def hidden_weights(self, temporal: bool) -> Numbers:
        """Weights [passes, HIDDEN, SCALE_FEATURES] of the hidden layer, with or without reference keys."""
        weights = np.empty((len(CODING_PASSES), HIDDEN, SCALE_FEATURES))
        weights[..., :3] = self.input_weight[:3].T
        weights[..., 3] = FIXED_POINT_ONE * (self.pass_bias + temporal * self.input_weight[3])
        return weights

    def mean_weights(self, temporal: bool, channels: slice) -> Numbers:
        """Weights [2, channels or 1, 1, 1] of the near sum and of the sum at the reference keys, in eighths."""
        near, other = self.mean_weight[channels], np.int32(0)
        if temporal:
            near, other = self.temporal_mean_weight[:1], self.temporal_mean_weight[1]
        weights = np.stack((2 * near, np.full_like(near, 4 * other)))
        return weights[..., None, None] / FIXED_POINT_ONE_MEAN

    def predict(
        self, features: Numbers, hidden_weight: Numbers, mean_weight: Numbers, channels: slice
    ) -> tuple[Integers, NDArray[np.uint16]]:
        """Middle symbols and models (entropy/laplace.py) [channels, rows, columns] of cells.

        `features` are those of `_context_features`, `hidden_weight` that of the pass, of `hidden_weights`.
        """
        shape = features.shape[1:]
        hidden = np.maximum(hidden_weight @ features[:SCALE_FEATURES].reshape(SCALE_FEATURES, -1), 0)
        bias = self.scale_bias[channels, None, None] / FIXED_POINT_ONE
        scales = (self.scale_weight / FIXED_POINT_ONE**3 @ hidden).reshape(shape) + bias
        scales = np.clip(np.floor(scales + 0.5), 0, SCALES - 1)
        eighths = np.floor(features[4] * mean_weight[0] + features[5] * mean_weight[1] + 0.5)
        middle = np.floor(eighths / FRACTIONS + 0.5)
        models = model_index(scales, eighths - FRACTIONS * middle + FRACTIONS // 2)
        return middle.astype(np.int32), models.astype(np.uint16)


def write_context_model(model: IntegerContextModel) -> bytes:
    """Code the parameters, all under one distribution."""
    encoder, parameters = SymbolEncoder(), model.parameters()
    encoder.encode(parameters, np.full(len(parameters), PARAMETER_MODEL))
    return encoder.finish()


def read_context_model(data: bytes, channels: int) -> IntegerContextModel:
    """Inverse of `write_context_model`. Raises BitstreamError."""
    size = IntegerContextModel.size(channels)
    decoder = SymbolDecoder(data, size)
    parameters = decoder.decode(np.full(size, PARAMETER_MODEL))
    decoder.finish()
    return IntegerContextModel.of(parameters, channels)


def write_latent(symbols: Integers, model: IntegerContextModel, first_channel: int) -> bytes:
    """Code a key group [keys, channels, rows, columns]; its channels are counted among those of all latents."""
    encoder = SymbolEncoder()
    for cells, middle, models in _coding_passes(symbols, model, first_channel):
        integers = symbols[cells] - middle
        encoder.encode(integers.ravel(), np.broadcast_to(models, integers.shape).ravel())
    return encoder.finish()


def read_latent(
    data: bytes, model: IntegerContextModel, first_channel: int, shape: tuple[int, int, int, int]
) -> NDArray[np.int16]:
    """Inverse of `write_latent`. Raises BitstreamError."""
    decoder = SymbolDecoder(data, math.prod(shape))
    known = np.zeros(shape, dtype=np.int16)
    for cells, middle, models in _coding_passes(known, model, first_channel):
        target = known[cells]
        if middle.size < target.size:
            places, integers = decoder.decode_sparse(models.ravel(), target[0].size)
            _check_range(integers)
            target[np.unravel_index(places, target.shape)] = integers
        else:
            integers = middle + decoder.decode(models.ravel()).reshape(middle.shape)
            _check_range(integers)
            target[...] = integers
    decoder.finish()
    return known


def _check_range(integers: Integers) -> None:
    if np.abs(integers).max(initial=0) > MAX_ABS_VALUE:
        raise BitstreamError("impossible latent")


def _coding_passes(
    known: NDArray[np.integer[Any]], model: IntegerContextModel, first_channel: int
) -> Iterator[tuple[Cells, Integers, NDArray[np.uint16]]]:
    """Cells that are coded together, with their middle symbols and models [channels, rows, columns].

    Where all that is known around them is 0, these are [channels, 1, 1]: the middle is 0, and a channel has one model.
    `known` must hold the integers of these cells before the next are asked for.
    """
    keys, channels, rows, columns = known.shape
    numbers = slice(first_channel, first_channel + channels)
    around = np.zeros((2, channels, rows + 2 * MARGIN, columns + 2 * MARGIN), dtype=np.int16)
    cuts = [(slice(p.row, rows, p.spacing), slice(p.column, columns, p.spacing)) for p in CODING_PASSES]
    zero, clean = set(range(keys)), True  # keys that are 0 as far as they are known; whether `around` is
    for key, before, after in key_coding_order(keys):
        others = reference_keys(before, after)
        references: NDArray[np.integer[Any]] | None = None  # until they are needed
        mean_weights = model.mean_weights(bool(others), numbers)
        passes = zip(CODING_PASSES, cuts, model.hidden_weights(bool(others)), strict=True)
        for coding_pass, cut, hidden_weight in passes:
            own, inner = known[key, :, *cut], _shifted(*cut, (0, 0))
            if not own.size:  # the grid is smaller
                continue
            if zero.issuperset((key, *others)):
                features = iter([_features_of_zeros(channels)])
            else:
                references = known[others] if references is None else references
                bands = _bands(coding_pass, channels, *cut)
                features = map(partial(_context_features, around, references), bands)
            predicted = [model.predict(each, hidden_weight, mean_weights, numbers) for each in features]
            middle, models = (np.concatenate(each, axis=1) for each in zip(*predicted, strict=True))
            yield (key, slice(None), *cut), middle, models
            if own.any():
                zero.discard(key)
            elif clean:
                continue
            clean = False
            around[0, :, *inner], around[1, :, *inner] = own, np.minimum(np.abs(own), MAX_MAGNITUDE_SUM)


@dataclass(frozen=True)
class _Band:
    """Cells of a pass in some rows of a grid, and their context in the grid with a margin."""

    own: Cut
    near: list[Cut]
    far: list[Cut]


def _bands(coding_pass: CodingPass, channels: int, down: slice, across: slice) -> list[_Band]:
    """All cells of a pass, as many rows at a time as fit the cache."""
    bands, in_a_row = [], channels * len(range(across.start, across.stop, across.step))
    step = coding_pass.spacing * max(1, BAND // max(1, in_a_row))
    for start in range(down.start, down.stop, step) if in_a_row else ():
        rows = slice(start, min(start + step, down.stop), coding_pass.spacing)
        contexts = (coding_pass.near, coding_pass.far)
        near, far = ([_shifted(rows, across, offset) for offset in offsets] for offsets in contexts)
        bands.append(_Band((rows, across), near, far))
    return bands


def _context_features(
    around: NDArray[np.int16],  # [2, channels, rows, columns] the key's integers and magnitudes, with a margin of zeros
    references: NDArray[np.integer[Any]],  # [0 or 2, channels, rows, columns] the reference keys
    band: _Band,
) -> Numbers:
    """Features [FEATURES, channels, rows, columns] of every cell.

    Logarithms of the magnitudes near, far and at the reference keys; 1; the sums near and at the reference keys.
    """
    others = references[:, :, *band.own]
    near = np.zeros((2, *others.shape[1:]), dtype=np.int32)
    far = np.zeros(others.shape[1:], dtype=np.int32)
    for cut in band.near:
        near += around[:, :, *cut]
    for cut in band.far:
        far += around[1, :, *cut]
    features = np.empty((FEATURES, *far.shape))
    for row, magnitudes in enumerate((near[1], far, np.abs(others).sum(axis=0))):
        _LOGARITHMS.take(magnitudes, out=features[row], mode="clip")  # beyond MAX_MAGNITUDE_SUM as at it
    features[3], features[4], features[5] = 1, near[0], others.sum(axis=0)
    return features


def _features_of_zeros(channels: int) -> Numbers:
    """Features [FEATURES, channels, 1, 1] of cells around which all is 0."""
    features = np.zeros((FEATURES, channels, 1, 1))
    features[3] = 1
    return features


def _shifted(down: slice, across: slice, offset: tuple[int, int]) -> Cut:
    """Cells at an offset from these, in the grid with a margin."""
    top, left = MARGIN + offset[0], MARGIN + offset[1]
    return (
        slice(top + down.start, top + down.stop, down.step),
        slice(left + across.start, left + across.stop, across.step),
    )
