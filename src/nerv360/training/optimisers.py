"""The optimiser and its learning rate (Sec. III-A): Adan, linear warm-up, cosine decay. Adam is HNeRV's own.

Like PyTorch's fused optimisers, both have an attribute `found_inf`, a tensor on their device: where it is 1, a step
changes nothing. So the host need not know whether a gradient is finite.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from nerv360.config import Optimisation

__all__ = ["Adan", "create_optimiser", "learning_rate", "state_names"]

BETAS, EPSILON = (0.98, 0.92, 0.99), 1e-8
STATE = ("step", "exp_avg", "exp_avg_diff", "exp_avg_sq", "previous")  # of a parameter


class Adan(torch.optim.Optimizer):
    """Adaptive Nesterov momentum (Xie et al., 2024, Alg. 1), without weight decay, its corrections for a cold start.

    A few kernels for all parameters together.
    """

    found_inf: Tensor

    def __init__(self, parameters: Iterable[nn.Parameter], learning_rate: float) -> None:
        super().__init__(parameters, {"lr": learning_rate})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Move the parameters that have a gradient."""
        (group,) = self.param_groups
        parameters: list[Tensor] = [each for each in group["params"] if each.grad is not None]
        states = [self._state(each) for each in parameters]
        steps, exp_avg, exp_avg_diff, exp_avg_sq, previous = ([state[name] for state in states] for name in STATE)
        kept = 1 - self.found_inf
        gradients = [torch.where(kept > 0, each.grad, 0) for each in parameters if each.grad is not None]
        differences = torch._foreach_sub(gradients, previous)
        torch._foreach_mul_(differences, kept * (steps[0] > 0))  # the first gradient has none before it
        torch._foreach_add_(steps, kept, alpha=1)  # without alpha, the host asks for the number
        squares = torch._foreach_add(gradients, differences, alpha=BETAS[1])
        torch._foreach_mul_(squares, squares)
        moments = (exp_avg, gradients), (exp_avg_diff, differences), (exp_avg_sq, squares)
        for (means, values), beta in zip(moments, BETAS, strict=True):
            _approach(means, values, kept * (1 - beta))
        _approach(previous, gradients, kept)
        first, second, third = (1 - beta ** steps[0].clamp_min(1) for beta in BETAS)
        moves = torch._foreach_mul(exp_avg, kept * group["lr"] / first)
        torch._foreach_add_(moves, torch._foreach_mul(exp_avg_diff, kept * group["lr"] * BETAS[1] / second))
        scales = torch._foreach_sqrt(exp_avg_sq)
        torch._foreach_mul_(scales, third.rsqrt())
        torch._foreach_add_(scales, EPSILON)
        torch._foreach_div_(moves, scales)
        torch._foreach_sub_(parameters, moves)

    def _state(self, parameter: Tensor) -> dict[str, Any]:
        """The running moments of a parameter, and the number of its steps."""
        state: dict[str, Any] = self.state[parameter]
        if not state:
            state["step"] = torch.zeros((), device=parameter.device)
            for name in STATE[1:]:
                state[name] = torch.zeros_like(parameter)
        return state


def _approach(means: list[Tensor], values: Sequence[Tensor], share: Tensor) -> None:
    """means += share (values - means)."""
    distances = torch._foreach_sub(list(values), means)
    torch._foreach_mul_(distances, share)
    torch._foreach_add_(means, distances)


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
