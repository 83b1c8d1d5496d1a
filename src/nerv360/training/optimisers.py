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
from nerv360.transfer import to_device

__all__ = ["Adan", "create_optimiser", "learning_rate", "state_names"]

BETAS, EPSILON = (0.98, 0.92, 0.99), 1e-8
STATE = ("step", "exp_avg", "exp_avg_diff", "exp_avg_sq", "previous")  # of a parameter


class Adan(torch.optim.Optimizer):
    """Adaptive Nesterov momentum (Xie et al., 2024, Alg. 1), without weight decay, its corrections for a cold start.

    The state of all parameters, which share device and type, lies in flat arrays: a step is a few kernels.
    """

    found_inf: Tensor

    def __init__(self, parameters: Iterable[nn.Parameter], learning_rate: float) -> None:
        super().__init__(parameters, {"lr": learning_rate})
        first, *_ = tensors = self._parameters()
        sizes = torch.tensor([each.numel() for each in tensors])
        self._parameter_index = to_device(torch.arange(len(tensors)).repeat_interleave(sizes), first.device)
        self._steps = first.new_zeros(len(tensors))
        self._moments = first.new_zeros(len(STATE) - 1, len(self._parameter_index))
        self._gradient_masks: dict[tuple[bool, ...], tuple[Tensor, Tensor]] = {}
        self.state.update(zip(tensors, self._state_views(), strict=True))

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Move the parameters that have a gradient."""
        (group,), parameters = self.param_groups, self._parameters()
        exp_avg, exp_avg_diff, exp_avg_sq, previous = self._moments
        masks = self._gradient_mask(tuple(each.grad is not None for each in parameters))
        taken, moves = (mask * (1 - self.found_inf) for mask in masks)
        gradient = torch.cat([(each if each.grad is None else each.grad).flatten() for each in parameters])
        gradient = torch.where(moves > 0, gradient, 0)
        has_previous = (self._steps > 0).to(moves).index_select(0, self._parameter_index)
        difference = (gradient - previous) * (moves * has_previous)
        square = torch.add(gradient, difference, alpha=BETAS[1]).square_()
        moments = (exp_avg, gradient), (exp_avg_diff, difference), (exp_avg_sq, square)
        for (mean, value), beta in zip(moments, BETAS, strict=True):
            mean.lerp_(value, moves * (1 - beta))
        previous.lerp_(gradient, moves)
        self._steps += taken
        first, second, third = (1 - beta ** self._steps.clamp_min(1) for beta in BETAS)
        scales = torch.stack((group["lr"] / first, group["lr"] * BETAS[1] / second, third.rsqrt()))
        of_mean, of_difference, of_square = scales.index_select(1, self._parameter_index)
        move = moves * (exp_avg * of_mean + exp_avg_diff * of_difference)
        move /= (exp_avg_sq.sqrt() * of_square).add_(EPSILON)
        torch._foreach_sub_(parameters, self._split(move))

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        super().load_state_dict(state_dict)
        for each, part in zip(self._parameters(), self._state_views(), strict=True):
            for name, own in part.items():
                own.copy_(self.state[each][name])
        self.state.update(zip(self._parameters(), self._state_views(), strict=True))

    def _state_views(self) -> list[dict[str, Tensor]]:
        """The state of every parameter: its part of the flat arrays."""
        parts = [self._steps.unbind(), *map(self._split, self._moments)]
        return [dict(zip(STATE, own, strict=True)) for own in zip(*parts, strict=True)]

    def _parameters(self) -> list[Tensor]:
        (group,) = self.param_groups
        parameters: list[Tensor] = group["params"]
        return parameters

    def _split(self, flat: Tensor) -> list[Tensor]:
        """The part of every parameter, in its shape."""
        sizes = [each.numel() for each in self._parameters()]
        return [part.view(each.shape) for part, each in zip(torch.split(flat, sizes), self._parameters(), strict=True)]

    def _gradient_mask(self, have_gradient: tuple[bool, ...]) -> tuple[Tensor, Tensor]:
        """1 for those parameters, and for their numbers, else 0."""
        if have_gradient not in self._gradient_masks:
            parameters = to_device(torch.tensor(have_gradient), self._steps.device, self._steps.dtype)
            self._gradient_masks[have_gradient] = parameters, parameters.index_select(0, self._parameter_index)
        return self._gradient_masks[have_gradient]


def create_optimiser(model: nn.Module, settings: Optimisation) -> torch.optim.Optimizer:
    """Adan or Adam with the betas of its paper, no weight decay."""
    if settings.optimiser == "adam":
        return torch.optim.Adam(model.parameters(), lr=settings.learning_rate, fused=True)
    return Adan(model.parameters(), settings.learning_rate)


def state_names(optimiser: torch.optim.Optimizer) -> set[str]:
    """Names in the state of a parameter, by an optimiser of `create_optimiser`."""
    return set(STATE) if isinstance(optimiser, Adan) else {"step", "exp_avg", "exp_avg_sq"}


def learning_rate(step: int, steps: int, settings: Optimisation) -> float:
    """Rises linearly from its start over the warm-up, then falls to zero along half a cosine."""
    warm = settings.warmup * steps
    if step < warm:
        start = settings.learning_rate_start
        return start + (settings.learning_rate - start) * step / warm
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))
