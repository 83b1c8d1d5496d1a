"""ConvNeXt encoder of HNeRV (Sec. 3.1; ConvNeXt, Sec. 2), on the sphere and on any window of it.

Differs: every stage is c1 wide, and a LayerNorm and a 1x1 convolution make the embedding. HNeRV narrows the last stage
to d, where at the paper's d = 1 the ConvNeXt block is a constant (its LayerNorm over one channel removes the input).
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from nerv360.geometry.window import Window, convolve

__all__ = ["ConvNeXtEncoder"]


CONTRAST = 4.0  # pixels enter centred, with a deviation of about one; uncentred, LayerNorm leaves little but their mean
LAYER_SCALE = 0.1  # measured against ConvNeXt's 1e-6: benchmarks/fitting.tsv


class LayerNorm(nn.LayerNorm):
    """Over the channels of [B, C, H, W]."""

    def forward(self, features: Tensor) -> Tensor:
        return super().forward(features.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvNeXtBlock(nn.Module):
    """f + scale * linear(GELU(linear(LayerNorm(depthwise 7x7(f))))), four times wider inside."""

    HALO = 3

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 2 * self.HALO + 1, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.widen = nn.Linear(channels, 4 * channels)
        self.narrow = nn.Linear(4 * channels, channels)
        self.scale = nn.Parameter(torch.full((channels,), LAYER_SCALE))

    def forward(self, features: Tensor, source: Window, window: Window) -> Tensor:
        """Features of `source` -> features of `window`."""
        halo = window.grown(self.HALO).crop(features, source)
        mixed = convolve(halo, self.depthwise.weight, self.depthwise.bias, window, groups=halo.shape[1])
        mixed = self.norm(mixed.permute(0, 2, 3, 1))
        mixed = self.scale * self.narrow(functional.gelu(self.widen(mixed)))
        return window.crop(features, source) + mixed.permute(0, 3, 1, 2)


class Downsample(nn.Module):
    """Patches of stride x stride -> one cell, with a LayerNorm before (or, in the first stage, after)."""

    def __init__(self, inputs: int, outputs: int, stride: int, first: bool) -> None:
        super().__init__()
        self.stride = stride
        self.before = nn.Identity() if first else LayerNorm(inputs, eps=1e-6)
        self.conv = nn.Conv2d(inputs, outputs, stride, stride)
        self.after = LayerNorm(outputs, eps=1e-6) if first else nn.Identity()

    def forward(self, features: Tensor, window: Window) -> Tensor:
        conv = self.conv
        return self.after(convolve(self.before(features), conv.weight, conv.bias, window, self.stride))


class ConvNeXtEncoder(nn.Module):
    """Panorama [B, 3, H, W] -> embedding [B, d, H / stride, W / stride], or any window of it.

        panorama ─ down ─ block ─ down ─ block ─ ... ─ down ─ block ─ norm ─ project ─ embedding y_t
                    c1      c1     c1      c1           c1      c1     c1       d

    Only the part of the panorama that the window depends on is read and encoded.
    """

    def __init__(self, strides: Sequence[int], channels: int, embedding_channels: int) -> None:
        super().__init__()
        self.strides = tuple(strides)
        inputs = [3] + [channels] * (len(strides) - 1)
        self.downs = nn.ModuleList(
            Downsample(width, channels, stride, first=i == 0)
            for i, (width, stride) in enumerate(zip(inputs, strides, strict=True))
        )
        self.blocks = nn.ModuleList(ConvNeXtBlock(channels) for _ in strides)
        self.norm = LayerNorm(channels, eps=1e-6)
        self.project = nn.Conv2d(channels, embedding_channels, 1)
        self.apply(_initialise)

    def needed(self, window: Window) -> list[tuple[Window, Window]]:
        """Per stage, from the first: the windows (before, after) its block, on the grid of that stage."""
        windows = []
        for stride in reversed(self.strides):
            after = window.reduced()
            before = after.grown(ConvNeXtBlock.HALO).reduced()
            windows.append((before, after))
            window = before.scaled(stride)
        return windows[::-1]

    def reads(self, window: Window) -> Window:
        """The part of the panorama that a window of the embedding depends on."""
        return self.needed(window)[0][0].scaled(self.strides[0])

    def forward(
        self,
        panorama: Tensor,  # [B, 3, H, W], uint8 or in [0, 1], of any size: resampled where the strides do not divide it
        window: Window,  # of the embedding
    ) -> Tensor:  # [B, d, window.rows, window.columns]
        canvas = window.scaled(math.prod(self.strides))
        if panorama.shape[-2:] != (canvas.height, canvas.width):
            panorama = panorama.float() / 255 if panorama.dtype == torch.uint8 else panorama
            panorama = functional.interpolate(panorama, (canvas.height, canvas.width), mode="bilinear")
        features, source = panorama, None
        for stride, down, block, (before, after) in zip(
            self.strides, self.downs, self.blocks, self.needed(window), strict=True
        ):
            patches = before.scaled(stride).crop(features, source)
            if source is None:
                patches = patches.float() / 255 if patches.dtype == torch.uint8 else patches
                patches = CONTRAST * (patches - 0.5)
            features, source = block(down(patches, before), before, after), after
        return self.project(self.norm(window.crop(features, source)))


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
