"""A rectangle of an ERP grid, and exact local work in it: cropping, convolution, sampling.

A window's rows and columns may reach beyond the seam and the poles, where the grid goes on as the sphere does
(docs/conventions.md): columns wrap, and row -1-k is row k shifted by half the width. Whatever a window computes
equals what the whole grid would have computed there; tests/test_window.py holds that to float tolerance.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["Window", "convolve", "sample_at"]


@dataclass(frozen=True)
class Window:
    """Rows [top, top + rows) and columns [left, left + columns) of an ERP grid of height x width cells."""

    height: int
    width: int
    top: int
    left: int
    rows: int
    columns: int

    @classmethod
    def whole(cls, height: int, width: int) -> "Window":
        return cls(height, width, 0, 0, height, width)

    @classmethod
    def covering(cls, x: Tensor, y: Tensor, height: int, width: int) -> "Window":
        """The smallest window that holds the four neighbours of every point (pixel-edge coordinates)."""
        x, y = x.detach().double().flatten(), y.detach().double().flatten()
        x = x[0] + (x - x[0] + width / 2) % width - width / 2  # unwrapped around the first point
        left, top = (int((v.min() - 0.5).floor()) for v in (x, y))
        right, bottom = (int((v.max() - 0.5).floor()) + 2 for v in (x, y))
        if right - left >= width:
            left, right = -1, width + 1
        return cls(height, width, top, left, bottom - top, right - left)

    def grown(self, margin: int) -> "Window":
        top, left = self.top - margin, self.left - margin
        return replace(self, top=top, left=left, rows=self.rows + 2 * margin, columns=self.columns + 2 * margin)

    def scaled(self, factor: int) -> "Window":
        """The same region on a grid `factor` times finer."""
        fields = (self.height, self.width, self.top, self.left, self.rows, self.columns)
        return Window(*(factor * field for field in fields))

    def reduced(self) -> "Window":
        """Without cells that occur twice: a window all round the sphere needs no overlap, and none over a pole."""
        if self.columns < self.width:
            over_a_pole = self.top < 0 or self.top + self.rows > self.height
            if over_a_pole and self.columns > self.width // 2:  # what lies beyond may be in the window twice
                return replace(self, left=0, columns=self.width).reduced()
            return self
        top, bottom = max(self.top, 0), min(self.top + self.rows, self.height)
        if self.top < 0:
            bottom = max(bottom, min(-self.top, self.height))
        if self.top + self.rows > self.height:
            top = min(top, max(2 * self.height - self.top - self.rows, 0))
        return Window(self.height, self.width, top, 0, bottom - top, self.width)

    def covers(self, other: "Window") -> bool:
        """Whether all cells of the other window, of the same grid, can be cropped from this one's."""
        top, left = other.top - self.top, other.left - self.left
        inside = min(top, left) >= 0 and top + other.rows <= self.rows and left + other.columns <= self.columns
        return inside or self == Window.whole(self.height, self.width)

    def sheets(self) -> Iterator[tuple[int, int, bool]]:
        """Runs of rows (first, end, turned) within the window; turned rows lie beyond a pole."""
        row, end = self.top, self.top + self.rows
        while row < end:
            sheet = row // self.height
            stop = min(end, (sheet + 1) * self.height)
            yield row - self.top, stop - self.top, sheet % 2 == 1
            row = stop

    def crop(self, cells: Tensor, source: "Window | None" = None) -> Tensor:
        """This window's cells [B, C, rows, columns], taken from those of `source` (default: the whole grid).

        The source must contain the window, or go all round and contain its rows' true positions.
        """
        source = source or Window.whole(self.height, self.width)
        top, left = self.top - source.top, self.left - source.left
        inside = min(top, left) >= 0 and top + self.rows <= source.rows and left + self.columns <= source.columns
        if inside or source.columns < source.width:
            return cells[..., top : top + self.rows, left : left + self.columns]
        cells = cells[..., : source.width]  # once round, where the source overlaps itself
        column = torch.arange(self.left, self.left + self.columns, device=cells.device)
        parts = []
        for first, end, turned in self.sheets():
            row = (self.top + first) % (2 * self.height)  # and those behind it, within one sheet
            row = (2 * self.height - row - (end - first) if turned else row) - source.top
            part = cells[..., row : row + end - first, :]
            part = part.flip(-2) if turned else part
            parts.append(_columns(part, column - source.left, turned))
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-2)

    def rectangles(self) -> list[tuple[slice, slice]]:
        """Rows and columns of the whole grid that hold all cells of this window."""
        if self.top < 0 or self.top + self.rows > self.height or self.columns >= self.width:
            around = replace(self, left=0, columns=self.width).reduced()
            return [(slice(around.top, around.top + around.rows), slice(0, self.width))]
        rows, left = slice(self.top, self.top + self.rows), self.left % self.width
        first, beyond = slice(left, min(left + self.columns, self.width)), left + self.columns - self.width
        return [(rows, first)] if beyond <= 0 else [(rows, first), (rows, slice(0, beyond))]

    def indices(self, device: torch.device) -> Tensor:
        """Of this window's cells in the whole grid, flattened [rows * columns]; none occurs twice in a reduced one."""
        row = torch.arange(self.top, self.top + self.rows, device=device) % (2 * self.height)
        turned = row >= self.height
        row = torch.where(turned, 2 * self.height - 1 - row, row)
        column = torch.arange(self.left, self.left + self.columns, device=device)[None] + turned[:, None] * (
            self.width // 2
        )
        return (row[:, None] * self.width + column % self.width).flatten()

    def sample(self, cells: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """Bilinear samples [B, C, h, w] of this window's cells at points [B or 1, h, w] that it covers."""
        centre, half = self.left + self.columns / 2, self.width / 2
        x = (x - centre + half) % self.width - half + self.columns / 2  # wrapped around the window's centre
        y = y - self.top
        return sample_at(cells, torch.stack((2 * x / self.columns - 1, 2 * y / self.rows - 1), dim=-1))


def sample_at(cells: Tensor, points: Tensor) -> Tensor:
    """Bilinear samples [B, C, h, w] of a window's cells at [B or 1, h, w, 2] column and row in [-1, 1]."""
    precise = torch.promote_types(cells.dtype, torch.float32)  # positions in half precision would be cells off
    sampled = functional.grid_sample(
        cells.to(precise),
        points.to(precise).expand(cells.shape[0], -1, -1, -1),
        mode="bilinear",
        padding_mode="border",
        align_corners=False,
    )
    return sampled.to(cells.dtype)


def _columns(part: Tensor, column: Tensor, turned: bool) -> Tensor:
    """Columns modulo the width; half a turn on for rows beyond a pole (between two columns if W is odd)."""
    width = part.shape[-1]
    if not turned:
        return part.index_select(-1, column % width)
    near = part.index_select(-1, (column + width // 2) % width)
    if width % 2 == 0:
        return near
    return (near.float() + part.index_select(-1, (column + width // 2 + 1) % width).float()) / 2


def convolve(
    cells: Tensor,  # [B, C, rows * stride + kernel - stride, ...] what the output window needs, halo included
    weight: Tensor,
    bias: Tensor | None,
    window: Window,  # of the output
    stride: int = 1,
    groups: int = 1,
) -> Tensor:
    """Convolution without padding. Beyond a pole the picture is upside down, and so is the kernel there.

    The result beyond a pole is therefore again the true continuation of the result on this side.
    """
    overlap = weight.shape[-2] - stride
    parts = [
        functional.conv2d(
            cells[..., first * stride : end * stride + overlap, :],
            weight.flip(-2) if turned else weight,
            bias,
            stride,
            groups=groups,
        )
        for first, end, turned in window.sheets()
    ]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-2)
