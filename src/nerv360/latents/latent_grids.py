"""Latent grids that are fitted: their values, their rate, and steps only where a view reads them.

Not in the paper. Values are fitted under uniform noise (Balle et al., 2017) with a context model that is fitted beside
them, like the latents of Cool-Chic (Ladune et al., 2023), here on the sphere.
"""

import random
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nerv360.entropy.rate import add_uniform_noise, laplace_bits, round_ste, tailed_laplace_bits
from nerv360.geometry.window import Window
from nerv360.latents.cells_read import CellsRead, CodedCells
from nerv360.latents.context_features import ContextFeatures
from nerv360.latents.context_model import ContextModel
from nerv360.latents.grid import GRID_STEP, LatentGrid
from nerv360.latents.grid_layout import GridLayout
from nerv360.latents.selective_adam import SelectiveAdam

__all__ = ["LatentGrids"]

CONTEXT_STEPS = 0.25  # fraction of the steps under noise in which the context model learns


class LatentGrids(nn.Module):
    """Values of all grids, in quantiser steps, in one flat array: a step gathers, codes and moves those of all at once.

    They are no parameters: a step moves only the cells under the view, and its time does not grow with the panorama.
    """

    flat: Tensor

    def __init__(self, latents: Sequence[LatentGrid], width: int, height: int, frames: int, group_size: int) -> None:
        super().__init__()
        self.layout = GridLayout(latents, width, height, frames, group_size)
        self.register_buffer("flat", torch.zeros(self.layout.values))
        self.optimiser = SelectiveAdam(self.layout.values)
        self.log_scale = nn.Parameter(torch.ones(self.layout.channels))  # of every channel, whatever the context
        self.context_model = ContextModel(self.layout.channels)
        self._gathered: tuple[Tensor, Tensor] | None = None  # places in the array; values there, leaves of the graph

    def values(self, index: int) -> Tensor:
        """Values of a grid [keys, channels, rows, columns]."""
        return self.flat[self.layout.starts[index] : self.layout.starts[index + 1]].view(self.layout.shapes[index])

    def sample_windows(
        self,
        windows: Sequence[Window],  # of every grid
        read: CellsRead,  # in these windows
        noise: torch.Generator | None,
    ) -> tuple[list[Tensor], Tensor]:
        """Windows of the keys around a frame [keys, channels, rows, columns] of every grid, and the view's bits.

        With a generator, noise stands in for rounding, and the bits are those of every channel's own distribution: the
        context model only learns. Without, values are rounded, gradients pass straight through, and the bits are those
        of the file.
        """
        gathered = self.flat.index_select(0, read.index).requires_grad_()
        self._gathered = read.index, gathered
        rounded = gathered.detach().round() if noise else round_ste(gathered)
        values = add_uniform_noise(gathered, noise) if noise else rounded
        latents: dict[int, Tensor] = {}
        for each, maps in read.maps(GRID_STEP * values):
            channels = [count * self.layout.latents[grid].channels for grid, count in each.keys]
            for (grid, count), keys in zip(each.keys, torch.split(maps, channels), strict=True):
                latents[grid] = windows[grid].crop(keys.view(count, -1, *keys.shape[1:]), each.window)
        return [latents[grid] for grid in range(len(windows))], self._bits(read, values, rounded, noise)

    def step(self, learning_rate: float, skipped: Tensor) -> None:
        """Move the values that the last `sample_windows` gave, along their gradients; none where `skipped` is true."""
        assert self._gathered is not None
        index, gathered = self._gathered
        assert gathered.grad is not None
        self.optimiser.step(self.flat, index, gathered.grad, learning_rate, skipped)
        self._gathered = None

    def _bits(self, read: CellsRead, values: Tensor, rounded: Tensor, noise: torch.Generator | None) -> Tensor:
        """Bits of all cells that have a share; under noise, those of the context model count only in the gradient."""
        cells = read.coded()
        bits = values.new_zeros(())
        if noise is None or random.Random(noise.initial_seed()).random() < CONTEXT_STEPS:
            context = self._context(read, cells, rounded)
            coded = tailed_laplace_bits(rounded.index_select(0, cells.place), *self.context_model(context))
            bits = (cells.share * coded).sum()
        if noise is None:
            return bits
        log_scale = self.log_scale.index_select(0, read.table[1].index_select(0, cells.row))
        spent = laplace_bits(values.index_select(0, cells.place), torch.zeros_like(log_scale), log_scale)
        return (cells.share * spent).sum() + bits - bits.detach()

    def _context(self, read: CellsRead, cells: CodedCells, rounded: Tensor) -> ContextFeatures:
        """What is known of the coded cells before they are."""
        near, *magnitudes = read.context_sums(cells, rounded)
        channel, temporal, before, after = read.table[1:].index_select(1, cells.row)
        at = read.index.index_select(0, cells.place)
        references = self.flat.index_select(0, torch.cat((at + before, at + after))).round().view(2, -1) * temporal
        mean = near / 4
        return ContextFeatures(
            torch.stack((*magnitudes, references.abs().sum(0)), dim=-1),
            torch.stack(((1 - temporal) * mean, temporal * mean, references.sum(0) / 2), dim=-1),
            temporal.to(mean),
            cells.coding_pass,
            channel,
        )
