"""The view that a network is run for, and from its picture to the one that is asked for."""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from nerv360.bitstream.header import SegmentHeader
from nerv360.geometry.viewport import Viewport
from nerv360.types import Picture

__all__ = ["as_picture", "as_tensor", "native_view", "resized"]

FOCAL_TOLERANCE = 0.15  # where the two ways are level, on the short side: benchmarks/focal.tsv
MAX_NATIVE_PIXELS = 1 << 23  # of a view that is decoded larger than asked for
HALF_UP = 1e-6  # halves are rounded up, and what misses one by the arithmetic: in browsers likewise


def native_view(view: Viewport, header: SegmentHeader) -> Viewport:
    """The view itself, or the same field of view on the pixels that the network was trained to give it."""
    shortest, longest = (
        Viewport(hfov_deg=hfov, width=header.view_width, height=header.view_height).focal[0]
        for hfov in reversed(header.hfov_deg)
    )
    scales = []
    for length in view.focal:
        nearest = min(max(length, shortest), longest)
        scales.append(1.0 if abs(nearest / length - 1) <= FOCAL_TOLERANCE else nearest / length)
    pixels = view.width * view.height
    shrink = min(1.0, math.sqrt(max(MAX_NATIVE_PIXELS, pixels) / (pixels * math.prod(scales))))
    sides = [
        max(1, round(side * scale * shrink + HALF_UP))
        for side, scale in zip((view.width, view.height), scales, strict=True)
    ]
    return view if sides == [view.width, view.height] else view.resized(*sides)


def resized(picture: Picture, width: int, height: int) -> Picture:
    """A picture [h, w, 3] in another size; itself, where it has that size."""
    if picture.shape == (height, width, 3):
        return picture
    resampled = functional.interpolate(
        as_tensor(picture), (height, width), mode="bilinear", antialias=True, align_corners=False
    )
    return as_picture(resampled)


def as_tensor(picture: Picture) -> Tensor:
    """uint8 [h, w, 3] -> [1, 3, h, w]."""
    return torch.from_numpy(picture).permute(2, 0, 1)[None].float()


def as_picture(picture: Tensor) -> Picture:
    """[1, 3, h, w] in 0..255 -> uint8 [h, w, 3]."""
    rounded = picture[0].permute(1, 2, 0).round().clamp(0, 255).to(torch.uint8)
    return np.ascontiguousarray(rounded.numpy())
