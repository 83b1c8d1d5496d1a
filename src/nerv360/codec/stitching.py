"""Views -> a whole panorama, for networks that decode only views."""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional

from nerv360.bitstream.header import SegmentHeader
from nerv360.codec.resampling import as_tensor
from nerv360.errors import ArgumentError
from nerv360.geometry.rays import viewport_rays
from nerv360.geometry.sphere import lonlat_to_ray, pixel_to_lonlat
from nerv360.geometry.viewport import Viewport
from nerv360.models.memory import check_bytes
from nerv360.types import Picture

__all__ = ["check_patches", "patches_of", "stitch"]

PATCH_FOV_DEG = 60.0
TILE = 256
MOST_DRAWN = 64  # pixels of views for one of the panorama; 4 are usual
BYTES_PER_PIXEL = 32  # of the panorama: of its sum, its weights, and itself


def patches_of(header: SegmentHeader) -> Sequence[Viewport]:
    """Square viewports that cover the sphere with overlap, at the focal length of training."""
    focal = header.trained_view().focal[0]
    side = max(1, round(2 * focal * math.tan(math.radians(PATCH_FOV_DEG / 2))))
    look = Viewport(hfov_deg=PATCH_FOV_DEG, width=side, height=side)
    rings = ((-90, 1), (-45, 6), (0, 8), (45, 6), (90, 1))
    return [replace(look, yaw_deg=360 * k / n - 180, pitch_deg=pitch) for pitch, n in rings for k in range(n)]


def check_patches(views: Sequence[Viewport], pixels: int, max_memory: int | None) -> None:
    """Raises ArgumentError where the views of a panorama of so many pixels have far more; OutOfMemory."""
    drawn = sum(view.width * view.height for view in views)
    if drawn > MOST_DRAWN * pixels + (1 << 20):
        raise ArgumentError(f"panorama: would be stitched from {drawn:,} pixels for {pixels:,}; ask for views")
    check_bytes(3 * drawn + BYTES_PER_PIXEL * pixels, "the panorama", max_memory)


def stitch(patches: Sequence[tuple[Viewport, Picture]], width: int, height: int) -> Tensor:
    """Square viewports [h, w, 3] -> panorama [1, 3, height, width], blended with weights that fall to the edges."""
    panorama = torch.zeros(1, 3, height, width)
    weights = torch.zeros(height, width)
    for view, picture in patches:
        source = as_tensor(picture)
        for top, left in product(range(0, height, TILE), range(0, width, TILE)):
            rows, columns = (
                torch.arange(first, min(first + TILE, end), dtype=torch.float32) + 0.5
                for first, end in ((top, height), (left, width))
            )
            y, x = torch.meshgrid(rows, columns, indexing="ij")
            rays = lonlat_to_ray(*pixel_to_lonlat(x, y, width, height))
            if not _may_see(view, rays):
                continue
            plane, weight = _project(view, rays)
            sampled = functional.grid_sample(source, plane[None].to(source), align_corners=False, padding_mode="border")
            panorama[..., top : top + TILE, left : left + TILE] += weight.to(source) * sampled
            weights[top : top + TILE, left : left + TILE] += weight.to(source)
    return panorama.div_(weights)


def _may_see(view: Viewport, rays: Tensor) -> bool:
    """Whether any of the rays [h, w, 3] may lie in a square view."""
    half_diagonal = math.atan(math.sqrt(2) * math.tan(math.radians(view.hfov_deg / 2)))
    return bool((rays @ _axes(view).to(rays)[2]).max() > math.cos(half_diagonal) - 1e-4)


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
