"""The 9/7 wavelet by lifting: forward in float32 for the encoder, inverse in integers for everybody.

A plane [H, W] becomes bands in Mallat's layout: the coarsest average at the top left, beside and below it the details,
level by level. Columns go round the sphere, rows are mirrored at the poles. Both sides must be multiples of 2^levels.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

FRACTION_BITS = 4  # of pictures: 1/16 of a level
LIFTING = (-1.586134342059924, -0.052980118572961, 0.882911075530934, 0.443506852043971)  # CDF 9/7
LOW_GAIN = 1.149604398860241  # what makes it orthonormal
C1, C2, C3, C4 = (round(4096 * factor) for factor in LIFTING)
F1, F2, F3, F4 = (np.float32(factor) for factor in LIFTING)
LOW, HIGH = np.float32(LOW_GAIN), np.float32(1 / LOW_GAIN)


@njit(cache=True)
def _lift_rows(into, other, factor, step):
    """into[i] += factor * (other[i] + other[i + step]); mirrored at the poles."""
    rows, columns = into.shape
    for i in range(rows):
        n = i + step
        if n < 0 or n >= rows:
            n = i
        for j in range(columns):
            into[i, j] += factor * (other[i, j] + other[n, j])


@njit(cache=True)
def _lift_columns(into, other, factor, step):
    """The same along rows, round the sphere."""
    rows, columns = into.shape
    for i in range(rows):
        for j in range(columns):
            into[i, j] += factor * (other[i, j] + other[i, (j + step) % columns])


@njit(cache=True)
def forward(plane, levels):
    """float32 plane [H, W] -> orthonormal bands [H, W]."""
    bands = plane.copy()
    h, w = plane.shape
    for _ in range(levels):
        low, high = bands[:h, 0:w:2].copy(), bands[:h, 1:w:2].copy()
        _lift_columns(high, low, F1, 1)
        _lift_columns(low, high, F2, -1)
        _lift_columns(high, low, F3, 1)
        _lift_columns(low, high, F4, -1)
        bands[:h, : w // 2], bands[:h, w // 2 : w] = low * LOW, high * HIGH
        low, high = bands[0:h:2, :w].copy(), bands[1:h:2, :w].copy()
        _lift_rows(high, low, F1, 1)
        _lift_rows(low, high, F2, -1)
        _lift_rows(high, low, F3, 1)
        _lift_rows(low, high, F4, -1)
        h, w = h // 2, w // 2
        bands[:h, : 2 * w], bands[h : 2 * h, : 2 * w] = low * LOW, high * HIGH
    return bands


@njit(cache=True)
def _unlift_rows(into, other, factor, step):
    rows, columns = into.shape
    for i in range(rows):
        n = i + step
        if n < 0 or n >= rows:
            n = i
        for j in range(columns):
            into[i, j] -= (factor * (other[i, j] + other[n, j]) + 2048) >> 12


@njit(cache=True)
def _unlift_columns(into, other, factor, step):
    rows, columns = into.shape
    for i in range(rows):
        for j in range(columns):
            n = j + step
            if n < 0:
                n = columns - 1
            elif n == columns:
                n = 0
            into[i, j] -= (factor * (other[i, j] + other[i, n]) + 2048) >> 12


@njit(cache=True)
def inverse(bands, levels):
    """int32 bands, not normalised (`band_gain`) -> int32 plane, in place. Exact on every machine."""
    rows, columns = bands.shape
    for level in range(levels - 1, -1, -1):
        h, w = rows >> level, columns >> level
        low, high = bands[: h // 2, :w].copy(), bands[h // 2 : h, :w].copy()
        _unlift_rows(low, high, C4, -1)
        _unlift_rows(high, low, C3, 1)
        _unlift_rows(low, high, C2, -1)
        _unlift_rows(high, low, C1, 1)
        bands[0:h:2, :w], bands[1:h:2, :w] = low, high
        low, high = bands[:h, : w // 2].copy(), bands[:h, w // 2 : w].copy()
        _unlift_columns(low, high, C4, -1)
        _unlift_columns(high, low, C3, 1)
        _unlift_columns(low, high, C2, -1)
        _unlift_columns(high, low, C1, 1)
        bands[:h, 0:w:2], bands[:h, 1:w:2] = low, high
    return bands


def band_gain(level: int, high_passes: int) -> float:
    """By how much an orthonormal coefficient is larger than one of `inverse`: of a level >= 1, with 0, 1 or 2 high
    passes.
    """
    return LOW_GAIN ** (2 * level - 2 * high_passes)


def band_slices(rows: int, columns: int, levels: int) -> list[tuple[int, int, slice, slice]]:
    """Every band as (level, high passes, rows, columns)."""
    found = [(levels, 0, slice(0, rows >> levels), slice(0, columns >> levels))]
    for level in range(levels, 0, -1):
        h, w = rows >> level, columns >> level
        found += [
            (level, 1, slice(0, h), slice(w, 2 * w)),
            (level, 1, slice(h, 2 * h), slice(0, w)),
            (level, 2, slice(h, 2 * h), slice(w, 2 * w)),
        ]
    return found


def area_weight(rows: int) -> NDArray[np.float64]:
    """About the cosine of every row's latitude, by exact arithmetic: a parabola, at least 1/16."""
    u = (np.arange(rows) + 0.5) / rows
    return np.maximum(4 * u * (1 - u), 1 / 16)
