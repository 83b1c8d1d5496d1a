"""Where a view reads a grid on the panorama."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from nerv360.geometry.rays import viewport_lonlat, viewport_rays
from nerv360.geometry.sphere import lonlat_to_pixel
from nerv360.geometry.viewport import Viewport
from nerv360.geometry.window import Window

__all__ = ["Footprint", "cells_per_sample"]

LEAST_COSINE = 1e-2  # of the latitude: at the poles themselves a cell has no area


@dataclass(frozen=True)
class Footprint:
    """The samples that a view takes of a grid, one for every block of stride x stride of its pixels."""

    window: Window  # what bilinear sampling reads
    x: Tensor  # [1, h, w] columns, in cells
    y: Tensor  # [1, h, w] rows

    @classmethod
    def of(
        cls,
        view: Viewport,
        stride: int,
        rows: int,  # of the grid
        columns: int,
        whole: int,  # blocks reach to a whole number of so many pixels
        like: Tensor,  # of its device and its precision, but at least float32: half precision would be cells off
    ) -> "Footprint":
        dtype = torch.promote_types(like.dtype, torch.float32)
        x, y = lonlat_to_pixel(*viewport_lonlat(view, stride, whole, dtype, like.device), columns, rows)
        return cls(Window.covering(x, y, rows, columns), x, y)

    def sample(self, cells: Tensor) -> Tensor:
        """Cells of the window [1, C, rows, columns] -> [1, C, h, w]."""
        return self.window.sample(cells, self.x.to(cells.device), self.y.to(cells.device))


def cells_per_sample(view: Viewport, footprint: Footprint, stride: int, whole: int) -> Tensor:
    """Cells of the grid [1, h, w] that lie under each sample: many near the poles."""
    rays = viewport_rays(view, stride, torch.float64, whole)
    forward = viewport_rays(Viewport(view.yaw_deg, view.pitch_deg, 0, 90, None, 1, 1), dtype=torch.float64)[0, 0, 0]
    solid_angle = (rays @ forward) ** 3 * stride**2 / math.prod(view.focal)
    rows, columns = footprint.window.height, footprint.window.width
    latitude = (0.5 - footprint.y.double() / rows) * math.pi
    density = rows * columns / (2 * math.pi**2) / latitude.cos().clamp_min(LEAST_COSINE)
    return (density * solid_angle).float()
