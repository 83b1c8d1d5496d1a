"""What a step reads of the latent grids: cells of all windows in one flat array, and how much a view has of each."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nerv360.geometry.footprint import Footprint
from nerv360.geometry.window import Window
from nerv360.latents.coding_order import CODING_PASSES
from nerv360.latents.context_features import (
    coding_passes,
    concatenate_padded,
    context_offsets,
    context_sums,
    padded_index,
    padded_size,
)
from nerv360.latents.grid import FrameTime, interpolation_weights
from nerv360.latents.grid_layout import GridLayout
from nerv360.transfer import to_device

__all__ = ["CellsRead", "CodedCells", "WindowRead"]


@dataclass(frozen=True)
class WindowRead:
    """The keys of some grids in one window: numbers [channels, rows, columns] that follow one another."""

    window: Window  # reduced
    channels: int  # of all keys of all those grids
    keys: list[tuple[int, int]]  # (grid, number of its keys), in order

    @property
    def size(self) -> int:
        """Number of values."""
        return self.channels * self.window.rows * self.window.columns

    def coding_passes(self, device: torch.device) -> Tensor:
        """Of every value [size]."""
        window = self.window
        passes = coding_passes(window.top, window.left, window.rows, window.columns, device)
        return passes.expand(self.channels, -1, -1).flatten()


@dataclass(frozen=True)
class CodedCells:
    """Cells that a view has a share of [n]."""

    place: Tensor  # in the flat array
    share: Tensor  # of the bits of each that this view, of this frame, accounts for
    row: Tensor  # in CellsRead.table, the channel of a key
    coding_pass: Tensor


class CellsRead:
    """The keys around a frame, in the windows that a view reads.

    The host has to know how many cells have a share. That number is on its way to it from the beginning, so who makes
    this a step ahead does not wait.
    """

    def __init__(
        self,
        layout: GridLayout,
        frame: int,
        footprints: Sequence[Footprint],
        cells_per_sample: Sequence[Tensor],  # [1, h, w] of every grid (geometry/footprint.py)
    ) -> None:
        device = cells_per_sample[0].device
        sampled: dict[Window, list[int]] = {}  # grids by what they read
        for grid, footprint in enumerate(footprints):
            sampled.setdefault(footprint.window.reduced(), []).append(grid)
        weights = [_sampling_weight(footprints[grids[0]], cells_per_sample[grids[0]]) for grids in sampled.values()]
        self.windows: list[WindowRead] = []
        table, windows, shares, start, padded_start = [], [], [], 0, 0
        for window, grids in sampled.items():
            counts, first_offset = [], len(self.windows) * len(CODING_PASSES)
            for grid in grids:
                keys = interpolation_weights(layout.latents[grid].key_interval, FrameTime(frame, layout.frames))
                counts.append((grid, len(keys)))
                for (key, weight), channel in itertools.product(keys, range(layout.latents[grid].channels)):
                    table.append(layout.row(grid, key, channel))
                    windows.append((start, padded_start, window.columns, first_offset))
                    shares.append(weight / layout.frame_usage[grid][key])
                    start += window.rows * window.columns
                    padded_start += padded_size(window.rows, window.columns)
            channels = sum(count * layout.latents[grid].channels for grid, count in counts)
            self.windows.append(WindowRead(window, channels, counts))
        self.table = to_device(torch.tensor(table), device).T  # what `layout.row` gives of every channel of every key
        self._windows = to_device(torch.tensor(windows), device).T.contiguous()  # and its window, for context_sums
        self._offsets = context_offsets([each.window.columns for each in self.windows], device)
        rows = [each.channels for each in self.windows]
        starts, share = (torch.split(each, rows) for each in (self.table[0], to_device(torch.tensor(shares), device)))
        cells = [each.window.indices(device) for each in self.windows]
        self.index = torch.cat([(a[:, None] + b).flatten() for a, b in zip(starts, cells, strict=True)])
        self._share = torch.cat([(a[:, None] * b).flatten() for a, b in zip(share, weights, strict=True)])
        self._passes = torch.cat([each.coding_passes(device) for each in self.windows])
        count = self._share.count_nonzero()
        self._count, self._arrived = count.to("cpu", non_blocking=True), None
        if device.type != "cpu":
            self._arrived = torch.get_device_module(device).Event()
            self._arrived.record()

    def maps(self, flat: Tensor) -> list[tuple[WindowRead, Tensor]]:
        """Every window, with its part [channels, rows, columns] of the flat array."""
        parts = torch.split(flat, [each.size for each in self.windows])
        return [
            (w, part.view(w.channels, w.window.rows, w.window.columns))
            for w, part in zip(self.windows, parts, strict=True)
        ]

    def coded(self) -> CodedCells:
        """Those that have a share."""
        if self._arrived is not None:
            self._arrived.synchronize()
        place = self._share.nonzero_static(size=int(self._count))[:, 0]
        row = torch.searchsorted(self._windows[0], place, right=True) - 1
        return CodedCells(place, self._share.index_select(0, place), row, self._passes.index_select(0, place))

    def context_sums(self, cells: CodedCells, flat: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Sums over the contexts of the cells (latents/context_features.py)."""
        start, padded_start, columns, first_offset = self._windows.index_select(1, cells.row)
        index = padded_start + padded_index(cells.place - start, columns)
        padded = concatenate_padded([maps for _, maps in self.maps(flat)])
        return context_sums(padded, index, self._offsets, first_offset + cells.coding_pass)


def _sampling_weight(footprint: Footprint, area: Tensor) -> Tensor:
    """How much a view reads of every cell of the reduced window [rows * columns]: the adjoint of sampling."""
    window = footprint.window.reduced()
    cells = area.new_zeros(1, 1, window.rows, window.columns, requires_grad=True)
    read = footprint.sample(footprint.window.crop(cells, window))
    (weight,) = torch.autograd.grad((read[:, 0] * area).sum(), cells)
    return weight.flatten()
