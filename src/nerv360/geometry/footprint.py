"""Where a view reads a grid on the panorama."""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nerv360.geometry.rays import rotation
from nerv360.geometry.viewport import Viewport
from nerv360.geometry.window import Window, sample_at
from nerv360.transfer import to_device

__all__ = ["Footprint", "cells_per_sample", "window_of"]

BAND = 1 << 16  # directions computed at a time: they stay in the cache
POLE_MARGIN = 2.0  # samples: a view whose edge comes as near to a pole is taken to contain it
ROUNDING = 1e-3  # cells by which samples in single precision may be off
LEAST_COSINE = 1e-2  # of the latitude: at the poles themselves a cell has no area

Floats = NDArray[np.float64]


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
        window = window_of(view, stride, rows, columns, whole)
        plane, matrix = _camera_plane(view, stride, whole), _level_matrix(view.pitch_deg, view.roll_deg)
        dtype = torch.promote_types(like.dtype, torch.float32)
        x, y = (to_device(torch.from_numpy(axis), like.device, dtype) for axis in plane)
        y = y[:, None]
        points = torch.empty(1, len(y), len(x), 2, dtype=dtype, device=like.device)
        per_lon, per_lat = columns / math.pi / window.columns, -2 * rows / math.pi / window.rows
        at_middle, at_equator = (
            2 * (_middle(view, columns) - window.left) / window.columns - 1,
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
        return Footprint(window, self.points * _like(_size(self.window) / _size(window), self.points))

    def sample(
        self,
        cells: Tensor,  # of the window [1, C, rows, columns]
        displacement: Tensor | None = None,  # [1, 2, h, w] cells by which the content has moved right and down
    ) -> Tensor:  # [1, C, h, w]
        if not len(self.points):
            return cells
        points = self.points.to(cells.device)
        if displacement is not None:
            points = points - displacement.permute(0, 2, 3, 1) * _like(2 / _size(self.window), points)
        return sample_at(cells, points)


def _like(values: Tensor, points: Tensor) -> Tensor:
    return to_device(values, points.device, points.dtype)


def _size(window: Window) -> Tensor:
    return torch.tensor([window.columns, window.rows], dtype=torch.float64)


@lru_cache(maxsize=16)
def _level_matrix(pitch_deg: float, roll_deg: float) -> Floats:
    """Camera-to-world rotation [3, 3] of a view at yaw 0."""
    angles = (torch.tensor([angle], dtype=torch.float64) for angle in (0, pitch_deg, roll_deg))
    matrix: Floats = rotation(*angles)[0].numpy()
    return matrix


def _camera_plane(view: Viewport, stride: int, whole: int) -> tuple[Floats, Floats]:
    """Where the rays through the middles of the blocks meet the plane at distance 1: x [w] right, y [h] up."""

    def axis(size: int, focal: float) -> Floats:
        middles = (np.arange(-(-size // whole) * whole // stride) + 0.5) * stride
        return (middles - size / 2).astype(np.float64) / focal

    across, down = view.focal
    return axis(view.width, across), axis(view.height, -down)


def _middle(view: Viewport, columns: int) -> float:
    """The column that a view looks at."""
    return (view.yaw_deg / 360 + 0.5) % 1 * columns


def window_of(view: Viewport, stride: int, rows: int, columns: int, whole: int) -> Window:
    """What the samples of a view read of a grid, as in `Footprint.of`: they are extreme on its edge, or at a pole."""
    (x, y), matrix = _camera_plane(view, stride, whole), _level_matrix(view.pitch_deg, view.roll_deg)
    middle = _middle(view, columns)
    across = np.concatenate((x, x, np.repeat(x[[0, -1]], len(y))))
    up = np.concatenate((np.repeat(y[[0, -1]], len(x)), y, y))
    right, above, forward = (a * across + b * up + c for a, b, c in matrix)
    lon, lat = np.arctan2(right, forward), np.arctan2(above, np.hypot(right, forward))
    left, right_end = (middle + columns * float(extreme) / (2 * math.pi) for extreme in (lon.min(), lon.max()))
    top, bottom = (rows * (0.5 - float(extreme) / math.pi) for extreme in (lat.max(), lat.min()))
    for pole, sign in ((0.0, 1.0), (float(rows), -1.0)):
        *place, depth = (sign * matrix[1]).tolist()  # the pole, as the camera sees it
        if depth > 0 and all(_near(at / depth, axis) for at, axis in zip(place, (x, y), strict=True)):
            left, right_end = middle - columns / 2, middle + columns / 2
            top, bottom = min(top, pole), max(bottom, pole)
    first_row, first_column = (math.floor(edge - 0.5 - ROUNDING) for edge in (top, left))
    last_row, last_column = (math.floor(edge - 0.5 + ROUNDING) + 1 for edge in (bottom, right_end))
    return Window(rows, columns, first_row, first_column, last_row - first_row + 1, last_column - first_column + 1)


def _near(place: float, axis: Floats) -> bool:
    spacing = abs(float(axis[-1] - axis[0])) / max(1, len(axis) - 1)
    return float(axis.min()) - POLE_MARGIN * spacing <= place <= float(axis.max()) + POLE_MARGIN * spacing


def cells_per_sample(view: Viewport, footprint: Footprint, stride: int, whole: int) -> Tensor:
    """Cells of the grid [1, h, w] that lie under each sample: many near the poles.

    A sample covers the solid angle area / n^3, where n is the length of its ray to the camera's plane; a cell that of
    pi / rows * 2 pi / columns, times the cosine of its latitude.
    """
    x, y = (_like(torch.from_numpy(axis), footprint.points) for axis in _camera_plane(view, stride, whole))
    y = y[:, None]
    a, b, c = _level_matrix(view.pitch_deg, view.roll_deg)[1].tolist()
    squared_length, up = x.square() + (y.square() + 1), a * x + (b * y + c)
    level = torch.maximum(squared_length - up.square(), LEAST_COSINE**2 * squared_length).sqrt()  # n cos(latitude)
    density = footprint.window.height * footprint.window.width / (2 * math.pi**2)
    return (density * stride**2 / math.prod(view.focal) / (squared_length * level))[None]
