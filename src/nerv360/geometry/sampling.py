"""Sample an ERP picture or feature map along rays."""

import torch
from torch import Tensor

from nerv360.geometry.sphere import lonlat_to_pixel, ray_to_lonlat
from nerv360.geometry.window import Window
from nerv360.types import Picture

__all__ = ["sample_sphere", "to_picture"]


def sample_sphere(
    picture: Tensor,  # [B, C, H, W] on the ERP grid, of any resolution and dtype
    rays: Tensor,  # [B or 1, h, w, 3]
) -> Tensor:  # [B, C, h, w] in the dtype of the rays
    """Bilinear samples along the rays, across the seam and over the poles; differentiable in both."""
    height, width = picture.shape[-2:]
    x, y = lonlat_to_pixel(*ray_to_lonlat(rays), width, height)
    window = Window.covering(x, y, height, width)
    return window.sample(window.crop(picture).to(rays.dtype), x, y)


def to_picture(
    sampled: Tensor,  # [3, h, w] red, green and blue, 0..255
) -> Picture:  # [h, w, 3]
    """Samples of a picture, which are rounded where they are."""
    return torch.stack(sampled.round_().to(torch.uint8).unbind(), dim=-1).numpy()
