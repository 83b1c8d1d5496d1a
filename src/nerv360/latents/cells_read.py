"""Which cells of the latent grids a view reads, and how much of each."""

from collections.abc import Sequence

import torch
from torch import Tensor

from nerv360.geometry.footprint import Footprint
from nerv360.geometry.window import Window

__all__ = ["CellsRead"]


class CellsRead:
    """Weights of the cells of every window that a view reads.

    The host has to know how many are not 0. That number is on its way to it from the beginning, so who makes this a
    step ahead does not wait.
    """

    def __init__(
        self,
        footprints: Sequence[Footprint],
        cells_per_sample: Sequence[Tensor],  # [1, h, w] of every grid (geometry/footprint.py)
    ) -> None:
        pairs = zip(footprints, cells_per_sample, strict=True)
        self.weights = {footprint.window: _sampling_weight(footprint, area) for footprint, area in pairs}
        counts = torch.stack([weight.count_nonzero() for weight in self.weights.values()])
        self._counts, self._arrived = counts.to("cpu", non_blocking=True), None
        if counts.device.type != "cpu":
            self._arrived = torch.get_device_module(counts.device).Event()
            self._arrived.record()

    def indices(self) -> dict[Window, Tensor]:
        """Indices [n] of the cells of every window, reduced, whose weight is not 0."""
        if self._arrived is not None:
            self._arrived.synchronize()
        pairs = zip(self.weights.items(), self._counts.tolist(), strict=True)
        return {window: weight.nonzero_static(size=count)[:, 0] for (window, weight), count in pairs}


def _sampling_weight(footprint: Footprint, area: Tensor) -> Tensor:
    """How much a view reads of every cell of the reduced window [rows * columns]: the adjoint of sampling."""
    window = footprint.window.reduced()
    cells = area.new_zeros(1, 1, window.rows, window.columns, requires_grad=True)
    read = footprint.sample(footprint.window.crop(cells, window))
    (weight,) = torch.autograd.grad((read[:, 0] * area).sum(), cells)
    return weight.flatten()
