"""Ways to lay cells on the sphere. What a view reads in them is linear in their values, and here a sparse matrix.

Angles are radians, conventions those of docs/conventions.md.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from nerv360.geometry.sphere import lonlat_to_pixel, lonlat_to_ray, pixel_to_lonlat, ray_to_lonlat

__all__ = ["LAYOUTS", "Faces", "Layout", "Rows", "apply", "apply_transposed", "reading"]


class Rows:
    """Cells on circles of latitude: ERP, and whatever else has other latitudes or other numbers of columns."""

    extension = None

    def __init__(self, latitudes: Tensor, columns: Tensor, phase: float | Tensor = 0.5) -> None:  # north to south
        self.columns, self.phase = columns, torch.full_like(latitudes, 1) * phase  # of a row's first cell, in cells
        self.first, self.cells = columns.cumsum(0) - columns, int(columns.sum())
        self.latitudes = torch.cat((math.pi - latitudes[:1], latitudes, -math.pi - latitudes[-1:]))  # over the poles

    def rays(self, down: int = 0, across: int = 0) -> Tensor:
        """Of all cells, or of what lies so many rows and columns beside them [cells, 3]."""
        row = torch.arange(len(self.columns)).repeat_interleave(self.columns)
        x = torch.arange(self.cells) - self.first[row] + self.phase[row] + across
        lon, _ = pixel_to_lonlat(x, x, self.columns[row], 1)  # type: ignore[arg-type]
        return lonlat_to_ray(lon, self.latitudes[1 + row + down])

    def read(self, rays: Tensor) -> tuple[Tensor, Tensor]:
        """Cells and weights [n, 4] of bilinear samples."""
        lon, lat = ray_to_lonlat(rays)
        above = (torch.searchsorted(-self.latitudes.to(lat), -lat) - 1).clamp(0, len(self.columns))
        top, bottom = self.latitudes.to(lat)[above], self.latitudes.to(lat)[above + 1]
        part = (top - lat) / (top - bottom)
        index, weight = [], []
        for row, share in ((above - 1, 1 - part), (above, part)):
            real = row.clamp(0, len(self.columns) - 1)
            x, _ = lonlat_to_pixel(lon + math.pi * (row != real), lat, self.columns[real], 1)  # type: ignore[arg-type]
            x = x - self.phase[real].to(x)
            left = x.floor()
            for column, amount in ((left, share * (1 - x + left)), (left + 1, share * (x - left))):
                index.append(self.first[real] + column.long() % self.columns[real])
                weight.append(amount)
        return torch.stack(index, -1), torch.stack(weight, -1)

    nearest = read


class Faces:
    """The six faces of a cube, with straight or with equi-angular coordinates, each with a border of one cell."""

    def __init__(self, values: int, equiangular: bool) -> None:
        self.side, self.equiangular = round(math.sqrt(values / 6)), equiangular
        self.cells = 6 * self.side**2
        self.extension = Matrix(*self.nearest(self._rays(torch.arange(-1, self.side + 1))), self.cells)

    def rays(self, down: int = 0, across: int = 0) -> Tensor:
        return self._rays(torch.arange(self.side), down, across)

    def _rays(self, cells: Tensor, down: int = 0, across: int = 0) -> Tensor:
        face, v, u = torch.cartesian_prod(torch.arange(6.0).double(), *2 * [(cells + 0.5).double()]).unbind(-1)
        v, u = (2 * (edge + step) / self.side - 1 for edge, step in ((v, down), (u, across)))
        if self.equiangular:
            v, u = (torch.tan(math.pi / 4 * angle) for angle in (v, u))
        ray = torch.stack((1 - 2 * (face % 2), u, v), -1)  # its largest coordinate, and the two behind it
        return ray.gather(-1, (torch.arange(3) - (face[:, None] / 2).long()) % 3)

    def place(self, rays: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Face, column and row (from edge to edge) of every ray."""
        x, y, z = rays.unbind(-1)
        wide, high, deep = x.abs(), y.abs(), z.abs()
        first, second = (wide >= high) & (wide >= deep), high >= deep
        large, u, v = (
            torch.where(first, a, torch.where(second, b, c)) for a, b, c in ((x, y, z), (y, z, x), (z, x, y))
        )
        face = torch.where(first, 0, torch.where(second, 2, 4)) + (large < 0)
        u, v = u / large.abs(), v / large.abs()
        if self.equiangular:
            u, v = (4 / math.pi * torch.atan(slope) for slope in (u, v))
        return face, (u + 1) * (self.side / 2), (v + 1) * (self.side / 2)

    def read(self, rays: Tensor) -> tuple[Tensor, Tensor]:
        """Of the faces with their borders."""
        face, x, y = self.place(rays)
        return _four(face, x + 1, y + 1, self.side + 2)

    def nearest(self, rays: Tensor) -> tuple[Tensor, Tensor]:
        """Of the faces alone: beyond a face's outermost cells, those."""
        face, x, y = self.place(rays)
        return _four(face, x.clamp(0.5, self.side - 0.5), y.clamp(0.5, self.side - 0.5), self.side)


def _four(face: Tensor, x: Tensor, y: Tensor, side: int) -> tuple[Tensor, Tensor]:
    left, top = ((edge - 0.5).floor().clamp(0, side - 2) for edge in (x, y))
    right, below = x - 0.5 - left, y - 0.5 - top
    corner = (face * side + top.long()) * side + left.long()
    index = torch.stack((corner, corner + 1, corner + side, corner + side + 1), -1)
    return index, torch.stack(((1 - right) * (1 - below), right * (1 - below), (1 - right) * below, right * below), -1)


Layout = Rows | Faces


def erp(values: int) -> Rows:
    rows = round(math.sqrt(values / 2))
    return Rows(_even(rows), torch.full((rows,), 2 * rows))


def thinned(values: int) -> Rows:
    """ERP with fewer columns towards the poles, in proportion to the cosine of the latitude."""
    rows = round(math.sqrt(values * math.pi / 4))
    return Rows(_even(rows), (2 * rows * _even(rows).cos()).round().long().clamp_min(4))


def cylinder(values: int) -> Rows:
    """Lambert's equal-area cylinder; its cells are square at 30 degrees (Behrmann)."""
    rows = round(math.sqrt(values / (0.75 * math.pi)))
    return Rows(_even(rows).mul(2 / math.pi).asin(), torch.full((rows,), round(0.75 * math.pi * rows)))


def healpix(values: int) -> Rows:
    """HEALPix (Gorski et al., 2005), read between its rings."""
    side = round(math.sqrt(values / 12))
    ring = torch.arange(1, 4 * side)
    cap, number = torch.minimum(ring, 4 * side - ring).double(), ring.double()
    z = torch.where(
        cap < side, (1 - cap.square() / (3 * side**2)) * (2 * side - number).sign(), (4 - 2 * number / side) / 3
    )
    shifted = (cap >= side) & ((ring - side) % 2 == 1)
    return Rows(z.asin(), 4 * cap.clamp_max(side).long(), torch.where(shifted, 0.0, 0.5).double())


def _even(rows: int) -> Tensor:
    return (0.5 - (torch.arange(rows).double() + 0.5) / rows) * math.pi


LAYOUTS: dict[str, Callable[[int], Layout]] = {
    "ERP": erp,
    "cubemap": lambda values: Faces(values, equiangular=False),
    "EAC": lambda values: Faces(values, equiangular=True),
    "thinned ERP": thinned,
    "HEALPix": healpix,
    "equal-area cylinder": cylinder,
}


class Matrix:
    """Sparse: each output is a weighted sum of some inputs."""

    def __init__(self, index: Tensor, weight: Tensor, inputs: int) -> None:  # [outputs, terms] each
        self.index, self.weight = index, weight.float()
        column, order = index.flatten().sort(stable=True)
        self.back = order // index.shape[1], self.weight.flatten()[order]
        self.starts = torch.searchsorted(column, torch.arange(inputs))

    def __call__(self, values: Tensor) -> Tensor:
        return embedding_bag(self.index, values, mode="sum", per_sample_weights=self.weight)

    def transposed(self, outputs: Tensor) -> Tensor:
        rows, weight = self.back
        return embedding_bag(rows, outputs, self.starts, mode="sum", per_sample_weights=weight)


class Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, matrix: Matrix) -> Tensor:
        ctx.matrix = matrix
        return matrix(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return ctx.matrix.transposed(gradients[0].contiguous()), None


def reading(layout: Layout, rays: Tensor) -> list[Matrix]:
    """What to apply to the layout's values, one behind the other, to have their samples along the rays."""
    extension = [] if layout.extension is None else [layout.extension]
    inputs = len(extension[0].index) if extension else layout.cells
    return [*extension, Matrix(*layout.read(rays.reshape(-1, 3)), inputs)]


def apply(matrices: Sequence[Matrix], values: Tensor) -> Tensor:
    for matrix in matrices:
        values = Product.apply(values, matrix)  # type: ignore[no-untyped-call]
    return values


def apply_transposed(matrices: Sequence[Matrix], samples: Tensor) -> Tensor:
    for matrix in reversed(matrices):
        samples = matrix.transposed(samples)
    return samples
