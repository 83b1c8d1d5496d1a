"""The optimiser and its learning rate (Sec. III-A): Adan, linear warm-up, cosine decay. Adam is HNeRV's own.

Like PyTorch's fused optimisers, both have an attribute `found_inf`, a tensor on their device: where it is 1, a step
changes nothing. So the host need not know whether a gradient is finite.
"""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from nerv360.config import Optimisation

__all__ = ["Adan", "create_optimiser", "learning_rate", "state_names"]

BETAS, EPSILON = (0.98, 0.92, 0.99), 1e-8
STATE = ("step", "exp_avg", "exp_avg_diff", "exp_avg_sq", "previous")  # of a parameter


class Adan(torch.optim.Optimizer):
    """Adaptive Nesterov momentum (Xie et al., 2024, Alg. 1), without weight decay, its corrections for a cold start.

    What it keeps of all parameters, of one device and type, is in one flat array: a step is a few kernels.
    """

    found_inf: Tensor

    def __init__(self, parameters: Iterable[nn.Parameter], learning_rate: float) -> None:
        super().__init__(parameters, {"lr": learning_rate})
        every = self._parameters()
        sizes = torch.tensor([each.numel() for each in every])
        self._owner = torch.arange(len(every)).repeat_interleave(sizes).to(every[0].device)  # of every number
        self._steps = every[0].new_zeros(len(every))
        self._kept = every[0].new_zeros(len(STATE) - 1, len(self._owner))
        self._moving: dict[tuple[bool, ...], tuple[Tensor, Tensor]] = {}
        self.state.update(zip(every, self._parts(), strict=True))

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Move the parameters that have a gradient."""
        every, learning_rate = self._parameters(), self.param_groups[0]["lr"]
        exp_avg, exp_avg_diff, exp_avg_sq, previous = self._kept
        taken, moves = (
            each * (1 - self.found_inf) for each in self._with_gradient(tuple(each.grad is not None for each in every))
        )
        gradient = torch.cat([(each if each.grad is None else each.grad).flatten() for each in every])
        gradient = torch.where(moves > 0, gradient, 0)
        has_previous = (self._steps > 0).to(moves).index_select(0, self._owner)  # the first gradient has none before it
        difference = (gradient - previous) * (moves * has_previous)
        square = torch.add(gradient, difference, alpha=BETAS[1]).square_()
        moments = (exp_avg, gradient), (exp_avg_diff, difference), (exp_avg_sq, square)
        for (mean, value), beta in zip(moments, BETAS, strict=True):
            mean.lerp_(value, moves * (1 - beta))
        previous.lerp_(gradient, moves)
        self._steps += taken
        first, second, third = (1 - beta ** self._steps.clamp_min(1) for beta in BETAS)
        scales = torch.stack((learning_rate / first, learning_rate * BETAS[1] / second, third.rsqrt()))
        of_mean, of_difference, of_square = scales.index_select(1, self._owner)
        move = moves * (exp_avg * of_mean + exp_avg_diff * of_difference)
        move /= (exp_avg_sq.sqrt() * of_square).add_(EPSILON)
        torch._foreach_sub_(every, self._split(move))

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        super().load_state_dict(state_dict)
        for each, part in zip(self._parameters(), self._parts(), strict=True):
            for name, own in part.items():
                own.copy_(self.state[each].get(name, own.new_zeros(())))
        self.state.update(zip(self._parameters(), self._parts(), strict=True))

    def _parts(self) -> list[dict[str, Tensor]]:
        """Of every parameter, what is its own in the flat arrays."""
        parts = [self._steps.unbind(), *map(self._split, self._kept)]
        return [dict(zip(STATE, own, strict=True)) for own in zip(*parts, strict=True)]

    def _parameters(self) -> list[Tensor]:
        parameters: list[Tensor] = self.param_groups[0]["params"]
        return parameters

    def _split(self, flat: Tensor) -> list[Tensor]:
        """The part of every parameter, in its shape."""
        sizes = [each.numel() for each in self._parameters()]
        return [part.view(each.shape) for part, each in zip(torch.split(flat, sizes), self._parameters(), strict=True)]

    def _with_gradient(self, have_gradient: tuple[bool, ...]) -> tuple[Tensor, Tensor]:
        """1 for those parameters, and for their numbers, else 0."""
        if have_gradient not in self._moving:
            parameters = torch.tensor(have_gradient).to(self._steps)
            self._moving[have_gradient] = parameters, parameters.index_select(0, self._owner)
        return self._moving[have_gradient]


def create_optimiser(model: nn.Module, settings: Optimisation) -> torch.optim.Optimizer:
    """Adan or Adam with the betas of its paper, no weight decay."""
    if settings.optimiser == "adam":
        return torch.optim.Adam(model.parameters(), lr=settings.learning_rate, fused=True)
    return Adan(model.parameters(), settings.learning_rate)


def state_names(optimiser: torch.optim.Optimizer) -> set[str]:
    """Names of what one of `create_optimiser` keeps of every parameter that has had a gradient."""
    return set(STATE) if isinstance(optimiser, Adan) else {"step", "exp_avg", "exp_avg_sq"}


def learning_rate(step: int, steps: int, settings: Optimisation) -> float:
    """Rises linearly from its start over the warm-up, then falls to zero along half a cosine."""
    warm = settings.warmup * steps
    if step < warm:
        start = settings.learning_rate_start
        return start + (settings.learning_rate - start) * step / warm
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))
