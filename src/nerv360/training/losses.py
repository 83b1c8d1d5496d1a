"""The distortion loss (Eq. 2; Boosting-NeRV, Sec. 3.4)."""

import torch
from pytorch_msssim import ms_ssim
from torch import Tensor
from torch.nn import functional

from nerv360.errors import ArgumentError

__all__ = ["MS_SSIM_LEAST_SIDE", "distortion", "ms_ssim_window", "squared_error"]

MS_SSIM_LEAST_SIDE = 33


def ms_ssim_window(width: int, height: int) -> int:
    """Side of the Gaussian window of MS-SSIM: 11, or the largest odd one that five scales of the picture hold.

    Raises ArgumentError for a picture too small for five scales of any window.
    """
    if min(width, height) < MS_SSIM_LEAST_SIDE:
        raise ArgumentError(f"{width}x{height}: MS-SSIM needs at least {MS_SSIM_LEAST_SIDE} pixels a side")
    largest = (min(width, height) - 1) // 16 + 1
    return min(11, largest - (largest + 1) % 2)


def distortion(
    decoded: Tensor,  # [B, 3, h, w] in [0, 1]
    source: Tensor,  # [B, 3, h, w] in [0, 1]
    loss_lambda: float,
    loss_alpha: float,
) -> Tensor:
    """L1(FFT) + lambda alpha L1 + lambda (1 - alpha) (1 - MS-SSIM).

    The Fourier term is the mean over the real and imaginary parts of the unnormalised transform.
    """
    window = ms_ssim_window(source.shape[-1], source.shape[-2])
    fourier = torch.view_as_real(torch.fft.fft2(decoded - source)).abs().mean()
    pixels = functional.l1_loss(decoded, source)
    structure = 1 - ms_ssim(decoded.contiguous(), source.contiguous(), data_range=1.0, win_size=window)
    return fourier + loss_lambda * (loss_alpha * pixels + (1 - loss_alpha) * structure)


def squared_error(decoded: Tensor, source: Tensor) -> Tensor:
    """The mean squared error (HNeRV, Sec. 3.3)."""
    return functional.mse_loss(decoded, source)
