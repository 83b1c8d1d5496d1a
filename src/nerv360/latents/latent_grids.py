"""Latent grids that are fitted: their values, their rate, and steps only where a view reads them.

Not in the paper. Values are fitted under uniform noise (Balle et al., 2017) with a context model that is fitted beside
them, like the latents of Cool-Chic (Ladune et al., 2023), here on the sphere.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nerv360.entropy.rate import add_uniform_noise, laplace_bits, round_ste, tailed_laplace_bits
from nerv360.geometry.footprint import Footprint
from nerv360.geometry.window import Window
from nerv360.latents.cells_read import CellsRead
from nerv360.latents.coding_order import key_coding_order, reference_keys
from nerv360.latents.context_features import ContextFeatures, gather_context
from nerv360.latents.context_model import ContextModel
from nerv360.latents.grid import GRID_STEP, FrameTime, LatentGrid, interpolation_weights, key_count
from nerv360.latents.key_groups import keys_per_group
from nerv360.latents.selective_adam import SelectiveAdam

__all__ = ["LatentGrids"]

CONTEXT_STEPS = 0.25  # fraction of the steps under noise in which the context model learns


@dataclass
class _GatheredWindow:
    """A window of one key, as a leaf of the graph."""

    grid: int
    key: int
    cells: Tensor  # [n] indices in the grid
    values: Tensor  # [1, C, rows, columns]


@dataclass
class _CodedCells:
    """Cells that a view reads, with what their bits depend on."""

    share: Tensor  # [n] of the bits of each that this view, of this frame, accounts for
    channel: Tensor  # [n]
    values: Tensor  # [n]
    rounded: Tensor  # [n]
    context: ContextFeatures | None  # of the rounded values, where the context model learns


class LatentGrids(nn.Module):
    """Values of all grids, in quantiser steps.

    They are no parameters: a step moves only the cells under the view, and its time does not grow with the panorama.
    """

    def __init__(self, latents: Sequence[LatentGrid], width: int, height: int, frames: int, group_size: int) -> None:
        super().__init__()
        self.latents, self.frames, self.group_size = tuple(latents), frames, group_size
        shapes = [(key_count(each.key_interval, frames), each.channels, *each.size(width, height)) for each in latents]
        for index, shape in enumerate(shapes):
            self.register_buffer(f"values{index}", torch.zeros(shape))
        self.optimiser = SelectiveAdam(shapes)
        self.frame_usage = [_frame_usage(latent.key_interval, frames) for latent in self.latents]
        channels = sum(latent.channels for latent in self.latents)
        self.log_scale = nn.Parameter(torch.ones(channels))  # of every channel, whatever the context
        self.context_model = ContextModel(channels)
        self._gathered: list[_GatheredWindow] = []

    def values(self, index: int) -> Tensor:
        """Values of a grid [keys, channels, rows, columns]."""
        return self.get_buffer(f"values{index}")

    def sample_windows(
        self,
        frame: int,
        footprints: Sequence[Footprint],
        cells: CellsRead,  # of these footprints
        noise: torch.Generator | None,
    ) -> tuple[list[Tensor], Tensor]:
        """Windows of the keys around a frame [keys, channels, rows, columns] of every grid, and the view's bits.

        With a generator, noise stands in for rounding, and the bits are those of every channel's own distribution: the
        context model only learns. Without, values are rounded, gradients pass straight through, and the bits are those
        of the file.
        """
        self._gathered = []
        learning = noise is None or random.Random(noise.initial_seed()).random() < CONTEXT_STEPS
        read = cells.indices()
        latents: list[Tensor] = []
        coded: list[_CodedCells] = []
        for index, (latent, footprint) in enumerate(zip(self.latents, footprints, strict=True)):
            window, weight = footprint.window.reduced(), cells.weights[footprint.window]
            keys = []
            for key, share in interpolation_weights(latent.key_interval, FrameTime(frame, self.frames)):
                gathered = self._gather_window(index, key, window)
                rounded = gathered.values.detach().round() if noise else round_ste(gathered.values)
                values = add_uniform_noise(gathered.values, noise) if noise else rounded
                keys.append(footprint.window.crop(values, window))
                chosen = read[footprint.window]
                chosen_share = share / self.frame_usage[index][key] * weight[chosen]
                coded.append(self._coded_cells(gathered, window, values, rounded, chosen, chosen_share, learning))
            latents.append(GRID_STEP * torch.cat(keys))
        return latents, self._bits(coded, noise is not None)

    def step(self, learning_rate: float, skipped: Tensor) -> None:
        """Move the values that the last `sample_windows` gave, along their gradients; none where `skipped` is true."""
        for each in self._gathered:
            assert each.values.grad is not None
            gradient = each.values.grad[0].flatten(1)
            values = self.values(each.grid)
            self.optimiser.step(values, each.grid, each.key, each.cells, gradient, learning_rate, skipped)
        self._gathered = []

    def _gather_window(self, index: int, key: int, window: Window) -> _GatheredWindow:
        cells = window.indices(self.values(index).device)
        values = self.values(index)[key].flatten(1)[:, cells].reshape(1, -1, window.rows, window.columns)
        self._gathered.append(_GatheredWindow(index, key, cells, values.requires_grad_()))
        return self._gathered[-1]

    def _coded_cells(
        self,
        gathered: _GatheredWindow,
        window: Window,
        values: Tensor,
        rounded: Tensor,
        chosen: Tensor,  # [n] of rows * columns
        share: Tensor,  # [n]
        learning: bool,
    ) -> _CodedCells:
        """Those of a window's cells [1, C, rows, columns] that have a share in the view."""
        channels = values.shape[1]
        first_channel = sum(latent.channels for latent in self.latents[: gathered.grid])
        channel = torch.arange(first_channel, first_channel + channels, device=share.device)
        context = None
        if learning:
            references = self._references(gathered)
            context = gather_context(rounded[0], references, chosen, first_channel, window.top, window.left)
        return _CodedCells(
            share.repeat(channels),
            channel.repeat_interleave(len(chosen)),
            values[0].flatten(1)[:, chosen].flatten(),
            rounded[0].flatten(1)[:, chosen].flatten(),
            context,
        )

    def _bits(self, cells: Sequence[_CodedCells], noisy: bool) -> Tensor:
        """Bits of all cells; under noise, those of the context model count only in the gradient."""
        share = torch.cat([each.share for each in cells])
        coded = share.new_zeros(())
        if contexts := [each.context for each in cells if each.context is not None]:
            rounded = torch.cat([each.rounded for each in cells])
            coded = (share * tailed_laplace_bits(rounded, *self.context_model(ContextFeatures.join(contexts)))).sum()
        if not noisy:
            return coded
        log_scale = self.log_scale[torch.cat([each.channel for each in cells])]
        values = torch.cat([each.values for each in cells])
        spent = (share * laplace_bits(values, torch.zeros_like(log_scale), log_scale)).sum()
        return spent + coded - coded.detach()

    def _references(self, gathered: _GatheredWindow) -> Tensor:
        """The same window [0 or 2, C, rows, columns], rounded, of the reference keys."""
        keys = self.values(gathered.grid)
        step = keys_per_group(self.latents[gathered.grid].key_interval, self.group_size)
        start = gathered.key // step * step
        order = key_coding_order(min(step, len(keys) - start))
        before, after = next(pair for key, *pair in order if key == gathered.key - start)
        shape = gathered.values.shape[1:]
        found = [
            keys[start + other].flatten(1)[:, gathered.cells].reshape(shape).round()
            for other in reference_keys(before, after)
        ]
        return torch.stack(found) if found else keys.new_zeros(0, *shape)


def _frame_usage(key_interval: int, frames: int) -> list[float]:
    """Number of frames that every key is used by, each counted with its interpolation weight."""
    usage = [0.0] * key_count(key_interval, frames)
    for frame in range(frames):
        for key, weight in interpolation_weights(key_interval, FrameTime(frame, frames)):
            usage[key] += weight
    return usage
