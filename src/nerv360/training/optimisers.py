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

    Its arithmetic is on one flat array, a few kernels for all parameters together.
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
        steps = [state["step"] for state in states]
        exp_avg, exp_avg_diff, exp_avg_sq, previous = (_flat(state[name] for state in states) for name in STATE[1:])
        kept = 1 - self.found_inf
        gradient = torch.where(kept > 0, _flat(each.grad for each in parameters if each.grad is not None), 0)
        difference = (gradient - previous) * (kept * (steps[0] > 0))  # the first gradient has none before it
        torch._foreach_add_(steps, kept, alpha=1)  # without alpha, the host asks for the number
        square = torch.add(gradient, difference, alpha=BETAS[1]).square_()
        moments = (exp_avg, gradient), (exp_avg_diff, difference), (exp_avg_sq, square)
        for (mean, value), beta in zip(moments, BETAS, strict=True):
            mean.lerp_(value, kept * (1 - beta))
        previous.lerp_(gradient, kept)
        first, second, third = (1 - beta ** steps[0].clamp_min(1) for beta in BETAS)
        move = exp_avg * (kept * group["lr"] / first) + exp_avg_diff * (kept * group["lr"] * BETAS[1] / second)
        move /= (exp_avg_sq.sqrt() * third.rsqrt()).add_(EPSILON)
        for name, flat in zip(STATE[1:], (exp_avg, exp_avg_diff, exp_avg_sq, previous), strict=True):
            torch._foreach_copy_([state[name] for state in states], _split(flat, parameters))
        torch._foreach_sub_(parameters, _split(move, parameters))

    def _state(self, parameter: Tensor) -> dict[str, Any]:
        """The running moments of a parameter, and the number of its steps."""
        state: dict[str, Any] = self.state[parameter]
        if not state:
            state["step"] = torch.zeros((), device=parameter.device)
            for name in STATE[1:]:
                state[name] = torch.zeros_like(parameter)
        return state


def _flat(tensors: Iterable[Tensor]) -> Tensor:
    return torch.cat([each.flatten() for each in tensors])


def _split(flat: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """Inverse of `_flat`."""
    parts = torch.split(flat, [each.numel() for each in like])
    return [part.view(each.shape) for part, each in zip(parts, like, strict=True)]


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
