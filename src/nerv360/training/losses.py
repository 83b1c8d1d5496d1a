"""The distortion loss (Eq. 2; Boosting-NeRV, Sec. 3.4)."""

import torch
from torch import Tensor
from torch.nn import functional

from nerv360.errors import ArgumentError

__all__ = ["MS_SSIM_LEAST_SIDE", "distortion", "ms_ssim", "ms_ssim_window", "squared_error"]

MS_SSIM_LEAST_SIDE = 33
LEVEL_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
LUMINANCE, CONTRAST = 0.01**2, 0.03**2  # constants of SSIM
DEVIATION = 1.5  # pixels, of the Gaussian window


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
    decoded, source = decoded.contiguous(), source.contiguous()
    difference = decoded - source
    pixels, structure = difference.abs().mean(), 1 - ms_ssim(decoded, source)
    return _fourier_error(difference) + loss_lambda * (loss_alpha * pixels + (1 - loss_alpha) * structure)


def _fourier_error(difference: Tensor) -> Tensor:
    """Mean magnitude of real and imaginary parts: half of the spectrum of real numbers mirrors the other half."""
    magnitudes = torch.view_as_real(torch.fft.rfft2(difference)).abs()
    once = magnitudes[..., 0, :].sum()
    if difference.shape[-1] % 2 == 0:
        once = once + magnitudes[..., -1, :].sum()
    return (2 * magnitudes.sum() - once) / (2 * difference.numel())


def ms_ssim(decoded: Tensor, source: Tensor) -> Tensor:
    """Multi-scale structural similarity (Wang et al., 2003) of pictures in [0, 1], as pytorch_msssim computes it.

    Of the moments that it is made of, all are filtered together.
    """
    size = ms_ssim_window(source.shape[-1], source.shape[-2])
    window = torch.arange(size, dtype=source.dtype, device=source.device) - size // 2
    window = torch.exp(-(window**2) / (2 * DEVIATION**2))
    window = window / window.sum()
    levels = []
    for level in range(len(LEVEL_WEIGHTS)):
        if level:
            odd = [side % 2 for side in source.shape[2:]]
            decoded, source = (functional.avg_pool2d(each, 2, padding=odd) for each in (decoded, source))
        moments = torch.cat((decoded, decoded.square() + source.square(), decoded * source), dim=1)
        mean, squares, product = _filtered(moments, window).chunk(3, dim=1)
        source_mean = _filtered(source, window)
        squared_means, product_of_means = mean.square() + source_mean.square(), mean * source_mean
        similarity = (2 * (product - product_of_means) + CONTRAST) / (squares - squared_means + CONTRAST)
        if level == len(LEVEL_WEIGHTS) - 1:
            similarity = similarity * (2 * product_of_means + LUMINANCE) / (squared_means + LUMINANCE)
        levels.append(similarity.mean(dim=(2, 3)).relu() ** LEVEL_WEIGHTS[level])
    return torch.stack(levels).prod(dim=0).mean()


def _filtered(maps: Tensor, window: Tensor) -> Tensor:
    """Every channel of [B, C, h, w], filtered along rows and columns where the window lies within."""
    channels = maps.shape[0] * maps.shape[1]
    along, together = window.expand(channels, 1, 1, -1), maps.flatten(0, 1)[None]
    filtered = functional.conv2d(functional.conv2d(together, along, groups=channels), along.mT, groups=channels)
    return filtered.view(*maps.shape[:2], *filtered.shape[-2:])


def squared_error(decoded: Tensor, source: Tensor) -> Tensor:
    """The mean squared error (HNeRV, Sec. 3.3)."""
    return functional.mse_loss(decoded, source)
