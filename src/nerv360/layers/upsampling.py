"""Upsampling blocks: convolution, pixel shuffle, activation (NeRV, Sec. 3.2; Boosting-NeRV, Sec. 3.3)."""

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["NeRVBlock", "SNeRVBlock", "pixel_shuffle"]


def pixel_shuffle(features: Tensor, stride: int) -> Tensor:
    """[B, C stride^2, H, W] -> [B, C, stride H, stride W], channels last in memory, as the next convolution wants them.

    PyTorch's own keeps that order on a CPU alone.
    """
    return functional.pixel_shuffle(features, stride).contiguous(memory_format=torch.channels_last)


class Upsampling(nn.Module):
    """[B, inputs, H, W] -> pixel_shuffle(conv(.)) [B, outputs, stride H, stride W]."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv2d(inputs, outputs * stride**2, kernel, padding=kernel // 2)

    def forward(self, features: Tensor) -> Tensor:
        return pixel_shuffle(self.conv(features), self.stride)


class NeRVBlock(Upsampling):
    """GELU(pixel_shuffle(conv(.)))."""

    def forward(self, features: Tensor) -> Tensor:
        return functional.gelu(super().forward(features))


class SNeRVBlock(Upsampling):
    """The sinusoidal NeRV block: sin(pixel_shuffle(conv(.)))."""

    def forward(self, features: Tensor) -> Tensor:
        return super().forward(features).sin()
