"""Adam that moves only the cells that a step has read (Kingma and Ba, 2015; selective, as in Gaussian splatting)."""

import torch
from torch import Tensor, nn

__all__ = ["SelectiveAdam"]

BETA1, BETA2 = 0.9, 0.99  # without bias correction: at these two the first step has the right length
EPSILON = 1e-12


class SelectiveAdam(nn.Module):
    """Running moments of a flat array; the time of a step does not grow with the array."""

    exp_avg: Tensor
    exp_avg_sq: Tensor

    def __init__(self, count: int) -> None:
        super().__init__()
        for name in ("exp_avg", "exp_avg_sq"):
            self.register_buffer(name, torch.zeros(count))

    @torch.no_grad()
    def step(
        self,
        values: Tensor,  # changed in place
        index: Tensor,  # [n] which of them, each at most once
        gradient: Tensor,  # [n]
        learning_rate: float,
        skipped: Tensor,  # bool: whether nothing is to change
    ) -> None:
        """Move some of the values along their gradient."""
        before = [each.index_select(0, index) for each in (values, self.exp_avg, self.exp_avg_sq)]
        first = torch.lerp(before[1], gradient, 1 - BETA1)
        second = torch.lerp(before[2], gradient.square(), 1 - BETA2)
        moved = torch.addcdiv(before[0], first, second.sqrt().add_(EPSILON), value=-learning_rate)
        after = (moved, first, second)
        for each, old, new in zip((values, self.exp_avg, self.exp_avg_sq), before, after, strict=True):
            each.scatter_(0, index, torch.where(skipped, old, new))
