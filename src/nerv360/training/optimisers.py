"""The optimiser and its learning rate (Sec. III-A): Adan, linear warm-up, cosine decay. Adam is HNeRV's own."""

import math

import torch
from pytorch_optimizer import Adan
from torch import nn

from nerv360.config import Optimisation

__all__ = ["create_optimiser", "learning_rate"]


def create_optimiser(model: nn.Module, settings: Optimisation) -> torch.optim.Optimizer:
    """Adan or Adam with the betas of its paper, no weight decay."""
    if settings.optimiser == "adam":
        return torch.optim.Adam(model.parameters(), lr=settings.learning_rate)
    return Adan(model.parameters(), lr=settings.learning_rate, betas=(0.98, 0.92, 0.99), weight_decay=0.0)


def learning_rate(step: int, steps: int, settings: Optimisation) -> float:
    """Rises linearly from its start over the warm-up, then falls to zero along half a cosine."""
    warm = settings.warmup * steps
    if step < warm:
        start = settings.learning_rate_start
        return start + (settings.learning_rate - start) * step / warm
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))
