"""Adam that moves only the cells that a step has read (Kingma and Ba, 2015; selective, as in Gaussian splatting)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["SelectiveAdam"]

BETA1, BETA2 = 0.9, 0.99  # without bias correction: at these two the first step has the right length
EPSILON = 1e-12


class SelectiveAdam(nn.Module):
    """Running moments of arrays [keys, channels, rows, columns]; the time of a step does not grow with the arrays."""

    def __init__(self, shapes: Sequence[tuple[int, int, int, int]]) -> None:
        super().__init__()
        for index, shape in enumerate(shapes):
            for name in ("exp_avg", "exp_avg_sq"):
                self.register_buffer(f"{name}{index}", torch.zeros(shape))

    @torch.no_grad()
    def step(
        self,
        values: Tensor,  # [keys, channels, rows, columns] of array `index`; changed in place
        index: int,
        key: int,
        cells: Tensor,  # [n] of rows * columns, each at most once
        gradient: Tensor,  # [channels, n]
        learning_rate: float,
        skipped: Tensor,  # bool: whether nothing is to change
    ) -> None:
        """Move the cells of one key along their gradient."""
        exp_avg, exp_avg_sq = (self.get_buffer(f"{name}{index}")[key].flatten(1) for name in ("exp_avg", "exp_avg_sq"))
        before = exp_avg[:, cells], exp_avg_sq[:, cells]
        first = torch.lerp(before[0], gradient, 1 - BETA1)
        second = torch.lerp(before[1], gradient.square(), 1 - BETA2)
        move = learning_rate * first / (second.sqrt() + EPSILON)
        exp_avg[:, cells], exp_avg_sq[:, cells] = torch.where(
            skipped, torch.stack(before), torch.stack((first, second))
        )
        values[key].flatten(1)[:, cells] -= torch.where(skipped, 0, move)
