"""Conditional affine transforms: TAT (Boosting-NeRV, Sec. 3.2) and STAT (NeRV360, Eq. 1).

They are one module; TAT is conditioned on time, STAT on time and viewpoint.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from nerv360.geometry.window import Window, convolve

__all__ = ["AffineResidualBlock", "AffineTransform"]


class AffineTransform(nn.Module):
    """gamma f + beta (Eq. 1), with gamma = 1 + scale(condition) and beta = shift(condition)."""

    def __init__(self, condition: int, channels: int) -> None:
        super().__init__()
        self.scale, self.shift = (
            nn.Sequential(nn.Linear(condition, condition), nn.ReLU(), nn.Linear(condition, channels)) for _ in range(2)
        )

    def modulation(self, condition: Tensor) -> Tensor:
        """Condition [N, condition] -> gamma and beta [2, N, C, 1, 1]: they do not depend on the features."""
        gamma, beta = 1 + self.scale(condition), self.shift(condition)
        return torch.stack((gamma, beta))[..., None, None]

    def forward(
        self,
        features: Tensor,  # [N, C, H, W]
        modulation: Tensor,  # [2, 1 or N, C, 1, 1]
    ) -> Tensor:
        return torch.addcmul(modulation[1], modulation[0], features)  # without a product in memory


class AffineResidualBlock(nn.Module):
    """f + conv(affine(GELU(conv(affine(f))))), both convolutions 3x3.

    On a flat picture the convolutions are zero-padded. On the ERP grid, `window` is the output's, and the
    features given reach HALO cells further on every side.
    """

    HALO = 2

    def __init__(self, condition: int, channels: int) -> None:
        super().__init__()
        self.affine0 = AffineTransform(condition, channels)
        self.conv0 = nn.Conv2d(channels, channels, 3)
        self.affine1 = AffineTransform(condition, channels)
        self.conv1 = nn.Conv2d(channels, channels, 3)

    def modulation(self, condition: Tensor) -> Tensor:
        """Condition [N, condition] -> those of both transforms [4, N, C, 1, 1]."""
        return torch.cat((self.affine0.modulation(condition), self.affine1.modulation(condition)))

    def forward(self, features: Tensor, modulation: Tensor, window: Window | None = None) -> Tensor:
        inner, skip = None, features
        if window is not None:
            inner = window.grown(1)
            skip = window.crop(features, source=window.grown(self.HALO))
        return skip + _conv3(self.conv1, self._inside(features, modulation, inner), window)

    def _inside(self, features: Tensor, modulation: Tensor, window: Window | None) -> Tensor:
        """affine(GELU(conv(affine(f)))): in a call of its own, that lets go of all but its result."""
        mixed = functional.gelu(_conv3(self.conv0, self.affine0(features, modulation[:2]), window))
        return self.affine1(mixed, modulation[2:])


def _conv3(conv: nn.Conv2d, features: Tensor, window: Window | None) -> Tensor:
    if window is None:
        return functional.conv2d(features, conv.weight, conv.bias, padding=1)
    return convolve(features, conv.weight, conv.bias, window)
