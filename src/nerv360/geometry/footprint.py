"""Where a view reads a grid on the panorama."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from nerv360.geometry.rays import rotation, viewport_rays
from nerv360.geometry.sphere import ray_to_lonlat
from nerv360.geometry.viewport import Viewport
from nerv360.geometry.window import Window, sample_at

__all__ = ["Footprint", "cells_per_sample"]

BAND = 1 << 16  # directions computed at a time: they stay in the cache
POLE_MARGIN = 2.0  # samples: a view whose edge comes as near to a pole is taken to contain it
ROUNDING = 1e-3  # cells by which samples in single precision may be off
LEAST_COSINE = 1e-2  # of the latitude: at the poles themselves a cell has no area


@dataclass(frozen=True)
class Footprint:
    """The samples that a view takes of a grid, one for every block of stride x stride of its pixels."""

    window: Window  # what bilinear sampling reads
    points: Tensor  # [1, h, w, 2] column and row within the window, in [-1, 1]; [0]: every cell as it is

    @classmethod
    def everything(cls, window: Window) -> "Footprint":
        """All cells of a window, as they are."""
        return cls(window, torch.empty(0))

    @classmethod
    @torch.inference_mode(False)  # what decoding has computed, fitting may use
    @torch.no_grad()
    def of(
        cls,
        view: Viewport,
        stride: int,
        rows: int,  # of the grid
        columns: int,
        whole: int,  # blocks reach to a whole number of so many pixels
        like: Tensor,  # of its device and its precision, but at least float32: half precision would be cells off
    ) -> "Footprint":
        """Where the rays of `viewport_rays` meet the grid, without the rays themselves.

        Longitudes are counted from the middle of the view: there they do not jump, unless it contains a pole.
        """
        x, y = (
            ((torch.arange(-(-size // whole) * whole // stride, dtype=torch.float64) + 0.5) * stride - size / 2) / focal
            for size, focal in zip((view.width, view.height), view.focal, strict=True)
        )
        level = (torch.tensor([angle], dtype=torch.float64) for angle in (0, view.pitch_deg, view.roll_deg))
        matrix = rotation(*level)[0]
        middle = (view.yaw_deg / 360 + 0.5) % 1 * columns
        window = _window(matrix, x, -y, middle, rows, columns)
        dtype = torch.promote_types(like.dtype, torch.float32)
        points = torch.empty(1, len(y), len(x), 2, dtype=dtype, device=like.device)
        x, y = x.to(points), -y.to(points)[:, None]
        per_lon, per_lat = columns / math.pi / window.columns, -2 * rows / math.pi / window.rows
        at_middle, at_equator = (
            2 * (middle - window.left) / window.columns - 1,
            (rows - 2 * window.top) / window.rows - 1,
        )
        for top in range(0, len(y), band := max(1, BAND // len(x))):
            right, up, forward = (a * x + (b * y[top : top + band] + c) for a, b, c in matrix.tolist())
            across, down = points[0, top : top + band].unbind(-1)
            across.copy_(torch.atan2(right, forward).mul_(per_lon).add_(at_middle))
            down.copy_(torch.atan2(up, torch.hypot(right, forward)).mul_(per_lat).add_(at_equator))
        return cls(window, points)

    def grown(self, margin: int) -> "Footprint":
        """The same samples in a window larger by so many cells on every side."""
        window = self.window.grown(margin)
        return Footprint(window, self.points * (_size(self.window) / _size(window)).to(self.points))

    def sample(
        self,
        cells: Tensor,  # of the window [1, C, rows, columns]
        displacement: Tensor | None = None,  # [1, 2, h, w] cells by which the content has moved right and down
    ) -> Tensor:  # [1, C, h, w]
        if not len(self.points):
            return cells
        points = self.points.to(cells.device)
        if displacement is not None:
            points = points - displacement.permute(0, 2, 3, 1) * (2 / _size(self.window)).to(points)
        return sample_at(cells, points)


def _size(window: Window) -> Tensor:
    return torch.tensor([window.columns, window.rows], dtype=torch.float64)


def _window(matrix: Tensor, x: Tensor, y: Tensor, middle: float, rows: int, columns: int) -> Window:
    """What the samples at columns x and rows y of a camera's plane read: they are extreme on its edge, or at a pole."""
    edge = [torch.cartesian_prod(*pair) for pair in ((x, y[[0, -1]]), (x[[0, -1]], y))]
    across, up = torch.cat(edge).unbind(-1)
    lon, lat = ray_to_lonlat(torch.stack((across, up, torch.ones_like(up)), dim=-1) @ matrix.T)
    left, right = (middle + columns * float(extreme) / (2 * math.pi) for extreme in lon.aminmax())
    top, bottom = (rows * (0.5 - float(extreme) / math.pi) for extreme in reversed(lat.aminmax()))
    for pole, sign in ((0.0, 1.0), (float(rows), -1.0)):
        *place, depth = (sign * matrix[1]).tolist()  # the pole, as the camera sees it
        if depth > 0 and all(_near(at / depth, axis) for at, axis in zip(place, (x, y), strict=True)):
            left, right = middle - columns / 2, middle + columns / 2
            top, bottom = min(top, pole), max(bottom, pole)
    first_row, first_column = (math.floor(edge - 0.5 - ROUNDING) for edge in (top, left))
    last_row, last_column = (math.floor(edge - 0.5 + ROUNDING) + 1 for edge in (bottom, right))
    return Window(rows, columns, first_row, first_column, last_row - first_row + 1, last_column - first_column + 1)


def _near(place: float, axis: Tensor) -> bool:
    spacing = abs(float(axis[-1] - axis[0])) / max(1, len(axis) - 1)
    return float(axis.min()) - POLE_MARGIN * spacing <= place <= float(axis.max()) + POLE_MARGIN * spacing


def cells_per_sample(view: Viewport, footprint: Footprint, stride: int, whole: int) -> Tensor:
    """Cells of the grid [1, h, w] that lie under each sample: many near the poles."""
    device, centre = footprint.points.device, Viewport(view.yaw_deg, view.pitch_deg, 0, 90, None, 1, 1)
    rays = viewport_rays(view, stride, torch.float64, whole, device)
    forward = viewport_rays(centre, dtype=torch.float64, device=device)[0, 0, 0]
    solid_angle = (rays @ forward) ** 3 * stride**2 / math.prod(view.focal)
    rows, columns = footprint.window.height, footprint.window.width
    _, latitude = ray_to_lonlat(rays)
    density = rows * columns / (2 * math.pi**2) / latitude.cos().clamp_min(LEAST_COSINE)
    return (density * solid_angle).float()
