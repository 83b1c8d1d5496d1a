"""Pictures of nerv360-motion from bands and vectors, as docs/motion-bitstream.md has them. int32, which wraps."""

import math
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Bands = dict[tuple[int, int], Array]  # by level and number: [rows, columns]; the average is number 0 of the last level

LEVELS = (4, 3, 3)


def limited(x: Any) -> Any:
    return np.clip(x, -32768, 32767)


def painted(bands: Bands, plane: int, step: float, predicted: list[Array]) -> Array:
    """The inverse wavelet, on top of the predictions by the references."""
    levels = LEVELS[plane]
    low = dequantized(bands[levels, 0], plane, step, levels, 0)
    for level in range(levels, 0, -1):
        right, below, both = (
            dequantized(bands[level, number], plane, step, level, 1 + number // 3) for number in (1, 2, 3)
        )
        left, right = merged(low, below, turns=False), merged(right, both, turns=False)
        low = merged(left.T, right.T, turns=True).T
    return limited(low + sum(predicted, len(predicted) // 2) // max(1, len(predicted)))


def dequantized(band: Array, plane: int, step: float, level: int, e: int) -> Array:
    factors = []
    for row in range(len(band)):
        u = (row + 0.5) / len(band)
        area = max(4 * u * (1 - u), 1 / 16)
        gain = 1.149604398860241 ** (2 * level - 2 * e)
        factors.append(round(step * (0.6 if plane else 1) / math.sqrt(area) / gain * 256))
    scaled = band * np.array(factors, np.int32)[:, None]
    return np.where(abs(band) == 1, scaled - (scaled * np.int32(12) >> 8), scaled) + 8 >> 4


def merged(low: Array, high: Array, turns: bool) -> Array:
    """The samples [2 n, ...] of two halves [n, ...], which go round or end."""

    def lift(k: int, a: Array, b: Array) -> Array:
        return np.int32(k) * (a + b) + np.int32(2048) >> 12

    def before(a: Array) -> Array:
        return np.concatenate((a[-1:] if turns else a[:1], a[:-1]))

    def after(a: Array) -> Array:
        return np.concatenate((a[1:], a[:1] if turns else a[-1:]))

    low = low - lift(1817, high, before(high))
    high = high - lift(3616, low, after(low))
    low = low - lift(-217, high, before(high))
    high = high - lift(-6497, low, after(low))
    return np.stack((low, high), axis=1).reshape(2 * len(low), *low.shape[1:])


@cache
def taps() -> Array:
    """[phase, tap]"""
    table = np.zeros((64, 6), np.int32)
    for p in range(64):
        z = p / 64 + 2 - np.arange(6)
        q = np.sinc(z) * np.sinc(z / 3)
        table[p] = np.rint(64 * q / q.sum())
    table[:32, 2] += 64 - table[:32].sum(axis=1)
    table[32:, 3] += 64 - table[32:].sum(axis=1)
    return table


def compensated(reference: Array, field: Array, plane: int, width: int, height: int) -> Array:
    n, per_quarter, shift = (16, 16, 13) if plane == 0 else (8, 8, 11)
    if plane:
        width, height = width // 2, height // 2
    total = np.int32(1 << shift - 1)
    for i, row_weight in windows(reference.shape[0], n):
        for j, column_weight in windows(reference.shape[1], n):
            vectors = field[np.clip(i, 0, len(field) - 1)[:, None], j % field.shape[1]] * per_quarter
            values = fractional(reference, vectors.astype(np.int32), width, height)
            total = total + values * row_weight[:, None] * column_weight
    return (total >> shift).astype(np.int16).astype(np.int32)


def windows(size: int, n: int) -> list[tuple[Array, Array]]:
    """The two nodes whose windows hold each row or column, which may lie beyond the ends; their weights."""
    place = np.arange(size, dtype=np.int32)
    first = (place - n // 2) // n
    c = place - n * (first + 1) + n // 2  # in the second one's window
    return [(first, 2 * n - 2 * c - 1), (first + 1, 2 * c + 1)]


def fractional(reference: Array, vectors: Array, width: int, height: int) -> Array:
    x, y = vectors[..., 0], vectors[..., 1]
    rows, columns = np.indices(reference.shape)
    value = np.int32(32)
    for k in range(6):
        along = np.int32(4)
        for tap in range(6):
            pixel = on_sphere(reference, rows + (y >> 6) + k - 2, columns + (x >> 6) + tap - 2, width, height)
            along = along + taps()[x & 63, tap] * pixel
        value = value + taps()[y & 63, k] * (along >> 3)
    return value >> 6


def on_sphere(reference: Array, rows: Array, columns: Array, width: int, height: int) -> Array:
    rows = rows % (2 * height)
    beyond = rows >= height
    rows = np.where(beyond, 2 * height - 1 - rows, rows)
    return reference[rows, (columns + beyond * (width // 2)) % width]


def colours(planes: list[Array], width: int, height: int) -> Array:
    y, u, v = planes[0][:height, :width], *(enlarged(plane)[:height, :width] for plane in planes[1:])
    grey = y / (16 * math.sqrt(3)) + 128
    across, down = u / (256 * math.sqrt(2)), v / (256 * math.sqrt(6))
    picture = np.stack((grey + across + down, grey - 2 * down, grey - across + down), axis=-1)
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def enlarged(plane: Array) -> Array:
    """Twice the rows and columns, times 16."""
    rows, columns = plane.shape
    y, x = np.indices((2 * rows, 2 * columns))
    r, c = y // 2, x // 2
    beside_r, beside_c = np.clip(r + y % 2 * 2 - 1, 0, rows - 1), (c + x % 2 * 2 - 1) % columns
    return 9 * plane[r, c] + 3 * (plane[r, beside_c] + plane[beside_r, c]) + plane[beside_r, beside_c]
