"""Picture quality (docs/conventions.md, "Metrics"). Pictures are uint8 arrays [h, w, 3]."""

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_msssim import ms_ssim

from nerv360.training.losses import MS_SSIM_LEAST_SIDE, ms_ssim_window
from nerv360.types import Picture

__all__ = ["luma", "ms_ssim_of", "psnr", "ws_psnr"]

PEAK = 255.0
PERFECT_DB = 100.0
BT709_LUMA = np.array([0.2126, 0.7152, 0.0722])


def psnr(decoded: NDArray[Any], source: NDArray[Any]) -> float:
    """10 log10(255^2 / MSE) in dB; 100 where there is no difference."""
    return _decibels(float(np.square(decoded.astype(np.float64) - source).mean()))


def luma(picture: Picture) -> NDArray[np.float64]:
    """BT.709 luma [h, w] of R'G'B', rounded to 8 bits."""
    return np.rint(picture @ BT709_LUMA)


def ws_psnr(decoded: Picture, source: Picture) -> float:
    """PSNR of ERP panoramas, rows weighted by the cosine of their latitude."""
    height = source.shape[0]
    weight = np.cos((np.arange(height) + 0.5 - height / 2) * np.pi / height)
    rows = np.square(decoded.astype(np.float64) - source).mean(axis=(1, 2))
    return _decibels(float((rows * weight).sum() / weight.sum()))


def ms_ssim_of(decoded: Picture, source: Picture) -> float:
    """MS-SSIM over RGB, five scales, in the window that the picture allows; NaN where it allows none."""
    height, width = source.shape[:2]
    if min(height, width) < MS_SSIM_LEAST_SIDE:
        return math.nan
    a, b = (torch.from_numpy(picture).permute(2, 0, 1)[None].float() for picture in (decoded, source))
    return float(ms_ssim(a, b, data_range=PEAK, win_size=ms_ssim_window(width, height)))


def _decibels(error: float) -> float:
    return PERFECT_DB if error == 0 else min(PERFECT_DB, 10 * math.log10(PEAK**2 / error))
