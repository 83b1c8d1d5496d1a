"""The sinusoidal NeRV block: convolution, pixel shuffle, sine (Boosting-NeRV, Sec. 3.3)."""

from torch import Tensor, nn
from torch.nn import functional

__all__ = ["SNeRVBlock"]


class SNeRVBlock(nn.Module):
    """[B, inputs, H, W] -> sin(pixel_shuffle(conv(.))) [B, outputs, stride H, stride W]."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv2d(inputs, outputs * stride**2, kernel, padding=kernel // 2)

    def forward(self, features: Tensor) -> Tensor:
        return functional.pixel_shuffle(self.conv(features), self.stride).sin()
