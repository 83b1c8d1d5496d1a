"""Picture quality (docs/conventions.md, "Metrics"). Pictures are uint8 arrays [h, w, 3]."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_msssim import ms_ssim

from nerv360.quality import PEAK, decibels, ws_squared_error
from nerv360.training.losses import MS_SSIM_LEAST_SIDE, ms_ssim_window
from nerv360.types import Picture

__all__ = ["luma", "ms_ssim_of", "ws_psnr"]

BT709_LUMA = np.array([0.2126, 0.7152, 0.0722])


def luma(picture: Picture) -> NDArray[np.float64]:
    """BT.709 luma [h, w] of R'G'B', rounded to 8 bits."""
    return np.rint(picture @ BT709_LUMA)


def ws_psnr(decoded: Picture, source: Picture) -> float:
    """PSNR of ERP panoramas, rows weighted by the cosine of their latitude."""
    return decibels(ws_squared_error(decoded, source))


def ms_ssim_of(decoded: Picture, source: Picture) -> float:
    """MS-SSIM over RGB, five scales, in the window that the picture allows; NaN where it allows none."""
    height, width = source.shape[:2]
    if min(height, width) < MS_SSIM_LEAST_SIDE:
        return math.nan
    a, b = (torch.from_numpy(picture).permute(2, 0, 1)[None].float() for picture in (decoded, source))
    return float(ms_ssim(a, b, data_range=PEAK, win_size=ms_ssim_window(width, height)))
