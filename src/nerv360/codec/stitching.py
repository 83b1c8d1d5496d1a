"""Views -> a whole panorama, for networks that decode only views."""

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from nerv360.bitstream.header import SegmentHeader
from nerv360.geometry.rays import viewport_rays
from nerv360.geometry.sphere import lonlat_to_ray, pixel_to_lonlat
from nerv360.geometry.viewport import Viewport

__all__ = ["patches_of", "stitch"]

PATCH_FOV_DEG = 60.0
BAND = 128


def patches_of(header: SegmentHeader) -> Sequence[Viewport]:
    """Square viewports that cover the sphere with overlap, at the focal length of training."""
    focal = header.trained_view().focal[0]
    side = max(1, round(2 * focal * math.tan(math.radians(PATCH_FOV_DEG / 2))))
    look = Viewport(hfov_deg=PATCH_FOV_DEG, width=side, height=side)
    rings = ((-90, 1), (-45, 6), (0, 8), (45, 6), (90, 1))
    return [replace(look, yaw_deg=360 * k / n - 180, pitch_deg=pitch) for pitch, n in rings for k in range(n)]


def stitch(patches: Sequence[tuple[Viewport, Tensor]], width: int, height: int) -> Tensor:
    """Square viewports [1, C, h, w] -> panorama [1, C, height, width], blended with weights that fall to the edges."""
    bands = []
    for top in range(0, height, BAND):
        rows = torch.arange(top, min(top + BAND, height), dtype=torch.float32) + 0.5
        y, x = torch.meshgrid(rows, torch.arange(width, dtype=torch.float32) + 0.5, indexing="ij")
        rays = lonlat_to_ray(*pixel_to_lonlat(x, y, width, height))
        total, weights = torch.zeros(1), torch.zeros(1)
        for view, picture in patches:
            plane, weight = _project(view, rays)
            sampled = functional.grid_sample(
                picture, plane[None].to(picture), align_corners=False, padding_mode="border"
            )
            total, weights = total + weight.to(picture) * sampled, weights + weight.to(picture)
        bands.append(total / weights)
    return torch.cat(bands, dim=-2)


def _project(view: Viewport, rays: Tensor) -> tuple[Tensor, Tensor]:
    """Rays [h, w, 3] -> positions [h, w, 2] on the view's picture in [-1, 1], and weights, 0 outside it."""
    right, up, forward = _axes(view).to(rays).unbind(0)
    depth = (rays @ forward).clamp(min=1e-6)
    half = math.tan(math.radians(view.hfov_deg / 2))
    plane = torch.stack((rays @ right, -(rays @ up)), dim=-1) / (depth * half)[..., None]
    weight = (1 - plane.abs().amax(dim=-1)).clamp(min=0) * (rays @ forward > 0)
    return plane.clamp(-2, 2), weight


def _axes(view: Viewport) -> Tensor:
    """The camera's right, up and forward directions [3, 3], read off its rays."""
    corners = viewport_rays(replace(view, width=2, height=2, hfov_deg=90, vfov_deg=90), dtype=torch.float64)[0]
    right = corners[0, 1] - corners[0, 0]
    up = corners[0, 0] - corners[1, 0]
    return functional.normalize(torch.stack((right, up, corners.sum(dim=(0, 1)))), dim=-1)
