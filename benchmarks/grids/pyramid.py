"""A picture as the sum of enlarged grids, as nerv360-grid sees it beside its network, fitted with its rate."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from sphere import Layout, Matrix, apply, apply_transposed, reading
from torch import Tensor

from nerv360.entropy.laplace import MAX_SYMBOL, TOTAL_BITS, best_scale, frequencies, model_index
from nerv360.entropy.rate import add_uniform_noise, laplace_bits, round_ste
from nerv360.progress import OnProgress, tracked

__all__ = ["Pyramid"]

FACTORS = (1, 2, 4, 8, 24)  # of the model's grids
NEIGHBOURS = ((0, -1), (-1, 0), (-1, -1), (-1, 1))  # rows down and columns across of cells that may be known before
CONTEXTS = 16


class Pyramid:
    """A picture as the sum of enlarged grids, whose values and rate are fitted together, as those of the model are."""

    def __init__(self, make: Callable[[int], Layout], values: int, start: Callable[[Tensor], Tensor]) -> None:
        self.layouts = [make(values // factor**2) for factor in FACTORS]
        pairs = zip(self.layouts[1:], self.layouts[:-1], strict=True)
        self.enlarging = [reading(coarse, fine.rays()) for coarse, fine in pairs]
        self.grids, picture = [], start(self.layouts[0].rays())
        for matrices in self.enlarging:
            mean = apply_transposed(matrices, picture) / apply_transposed(matrices, torch.ones_like(picture))
            self.grids.append(picture - apply(matrices, mean))
            picture = mean
        self.grids.append(picture)

    def picture(self, grids: Sequence[Tensor]) -> Tensor:
        total = grids[-1]
        for grid, matrices in zip(reversed(grids[:-1]), reversed(self.enlarging), strict=True):
            total = grid + apply(matrices, total)
        return total

    def fit(self, seen: Sequence[Matrix], samples: Tensor, step: float, steps: int, on_progress: OnProgress) -> None:
        """Noise in place of rounding for three quarters of the steps; afterwards grids hold whole numbers."""
        random = torch.Generator().manual_seed(0)
        grids = [(grid / step).requires_grad_() for grid in self.grids]
        self.log_step = torch.full((len(grids), 3), math.log(step)).requires_grad_()
        log_scale = torch.ones(len(grids), 3).requires_grad_()
        groups = [{"params": grids, "lr": 0.2}, {"params": [self.log_step, log_scale], "lr": 0.01}]
        optimiser = torch.optim.Adam(groups, betas=(0.9, 0.99))
        falling = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda done: 1 - done / steps)
        for number in tracked(range(steps), "fitting", steps, on_progress):
            noise = random if number < 0.75 * steps else None
            integers = [add_uniform_noise(grid, noise) if noise else round_ste(grid) for grid in grids]
            bits = [
                laplace_bits(each, torch.zeros(3), scale).sum() for each, scale in zip(integers, log_scale, strict=True)
            ]
            picture = self.picture([each * size.exp() for each, size in zip(integers, self.log_step, strict=True)])
            error = (apply(seen, picture) - samples).square().sum(-1).mean()
            loss = error + 0.15 * step**2 * torch.stack(bits).sum() / self.layouts[0].cells
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            falling.step()
        self.grids = [grid.detach().round() for grid in grids]

    def decoded(self) -> Tensor:
        return self.picture([grid * size.exp() for grid, size in zip(self.grids, self.log_step.detach(), strict=True)])

    def bytes(self) -> int:
        return math.ceil(sum(_bits(*pair) for pair in zip(self.layouts, self.grids, strict=True)) / 8)


def _bits(layout: Layout, grid: Tensor) -> float:
    """Laplace distributions around 0, of one scale for each sum of magnitudes of the neighbours known before."""
    integers, own = grid.numpy().astype(np.int32), torch.arange(layout.cells)
    around = np.zeros_like(integers)
    for offset in NEIGHBOURS:
        index, weight = layout.nearest(layout.rays(*offset))
        cell = index.gather(-1, weight.argmax(-1, keepdim=True))[:, 0]
        around += np.abs(integers[cell]) * (cell < own).numpy()[:, None]
    context = np.minimum(np.rint(2 * np.log2(1 + around)), CONTEXTS - 1)
    bits = 0.0
    for channel in range(3):
        for number in np.unique(context[:, channel]):
            symbols = integers[context[:, channel] == number, channel].clip(-MAX_SYMBOL, MAX_SYMBOL)
            table = frequencies(model_index(best_scale(symbols)))
            bits += 8 + float((TOTAL_BITS - np.log2(table[symbols + MAX_SYMBOL])).sum())
    return bits
