"""How near a decoded picture is to its source (docs/conventions.md, "Metrics"): what encoders look at, too."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nerv360.types import Picture

__all__ = ["PEAK", "decibels", "psnr", "ws_squared_error"]

PEAK = 255.0
PERFECT_DB = 100.0


def decibels(squared_error: float) -> float:
    """10 log10(255^2 / error) of a mean squared error, in dB; at most 100."""
    return PERFECT_DB if squared_error == 0 else min(PERFECT_DB, 10 * math.log10(PEAK**2 / squared_error))


def psnr(decoded: NDArray[Any], source: NDArray[Any]) -> float:
    """10 log10(255^2 / MSE) in dB; 100 where there is no difference."""
    return decibels(float(np.square(decoded.astype(np.float64) - source).mean()))


def ws_squared_error(decoded: Picture, source: Picture) -> float:
    """Mean squared error of ERP panoramas, rows weighted by the cosine of their latitude."""
    height = source.shape[0]
    weight = np.cos((np.arange(height) + 0.5 - height / 2) * np.pi / height)
    rows = np.square(np.subtract(decoded, source, dtype=np.int32)).mean(axis=(1, 2))
    return float((rows * weight).sum() / weight.sum())
