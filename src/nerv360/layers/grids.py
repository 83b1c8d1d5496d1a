"""Latent grids on the panorama while they are fitted: their values, their rate, and steps only where a view looks.

Not in the paper. The noise that stands in for rounding is that of Balle et al. (2017); the grids have the part of
Cool-Chic's latents (Ladune et al., 2023), on the sphere.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nerv360.bitstream.layout import Latent, key_count, keys_at
from nerv360.geometry.footprint import Footprint
from nerv360.geometry.window import Window

__all__ = ["GRID_STEP", "LatentGrids"]

GRID_STEP = 1 / 16  # of the quantiser: grids hold integers times this
BETA1, BETA2 = 0.9, 0.99  # without bias correction: at these two the first step has the right length


@dataclass
class _Touched:
    """A window of one key, as a leaf of the graph."""

    grid: int
    key: int
    index: Tensor  # of its cells within the whole grid
    values: Tensor  # [1, C, rows, columns]


class LatentGrids(nn.Module):
    """The grids' values, in steps of the quantiser.

    They are no parameters of the optimiser: a step moves only the cells under the view (Adam's rule), so that its time
    does not grow with the panorama.
    """

    def __init__(self, latents: Sequence[Latent], width: int, height: int, frames: int) -> None:
        super().__init__()
        self.latents, self.frames = tuple(latents), frames
        for index, latent in enumerate(self.latents):
            shape = (key_count(latent.period, frames), latent.channels, *latent.size(width, height))
            for name in ("values", "momentum", "energy"):
                self.register_buffer(f"{name}{index}", torch.zeros(shape))
        self.log_scale = nn.ParameterList(torch.ones(latent.channels) for latent in self.latents)
        self._touched: list[_Touched] = []

    def values(self, index: int) -> Tensor:
        """A grid [keys, channels, rows, columns]."""
        return self.get_buffer(f"values{index}")

    def read(
        self,
        frame: int,
        footprints: Sequence[Footprint],
        cells: Sequence[Tensor],  # of the grid per sample [1, h, w] (`cells_per_sample`)
        noise: torch.Generator | None,
    ) -> tuple[list[Tensor], Tensor]:
        """The windows of a frame's grids, and the view's share of their bits.

        With a generator, noise stands in for rounding; without, values are rounded and gradients pass straight.
        """
        self._touched = []
        latents, bits = [], torch.zeros((), device=self.log_scale[0].device)
        for index, (latent, footprint, area) in enumerate(zip(self.latents, footprints, cells, strict=True)):
            window = footprint.window.reduced()
            mixed = torch.zeros((), device=bits.device)
            for key, weight in keys_at(latent.period, frame):
                values = self._touch(index, key, window)
                rounded = _rounded(values, noise)
                mixed = mixed + weight * footprint.window.crop(rounded, window)
                spent = _bits(rounded, self.log_scale[index]).sum(1, keepdim=True)
                read = footprint.sample(footprint.window.crop(spent, window))
                share = weight / (latent.period or self.frames)
                bits = bits + share * (read[:, 0] * area.to(read.device)).sum()
            latents.append(GRID_STEP * mixed)
        return latents, bits

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Move the values that the last `read` gave, along their gradients."""
        for touched in self._touched:
            assert touched.values.grad is not None
            gradient = touched.values.grad[0].flatten(1)
            momentum, energy, values = (
                self.get_buffer(f"{name}{touched.grid}")[touched.key].flatten(1)
                for name in ("momentum", "energy", "values")
            )
            first = torch.lerp(momentum[:, touched.index], gradient, 1 - BETA1)
            second = torch.lerp(energy[:, touched.index], gradient.square(), 1 - BETA2)
            momentum[:, touched.index], energy[:, touched.index] = first, second
            values[:, touched.index] -= rate * first / (second.sqrt() + 1e-12)
        self._touched = []

    def _touch(self, index: int, key: int, window: Window) -> Tensor:
        cells = window.indices(self.values(index).device)
        values = self.values(index)[key].flatten(1)[:, cells].reshape(1, -1, window.rows, window.columns)
        self._touched.append(_Touched(index, key, cells, values.requires_grad_()))
        return values


def _rounded(values: Tensor, noise: torch.Generator | None) -> Tensor:
    if noise is not None:
        return values + torch.rand(values.shape, generator=noise, device=noise.device).to(values) - 0.5
    return values + (values.round() - values).detach()


def _bits(values: Tensor, log_scale: Tensor) -> Tensor:
    """-log2 of the mass that a Laplace distribution around zero has within half a step of each value."""
    scale, size = log_scale.exp()[:, None, None], values.abs()
    small = size < 0.5
    inner = 1 - torch.exp(-0.5 / scale) * torch.cosh(torch.where(small, size, 0.0) / scale)
    outer = 0.5 * torch.exp((0.5 - torch.where(small, 0.5, size)) / scale) * -torch.expm1(-1 / scale)
    return -torch.log2(torch.where(small, inner, outer).clamp_min(1e-9))
