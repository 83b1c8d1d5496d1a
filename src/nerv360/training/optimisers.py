"""The optimiser and its learning rate (Sec. III-A): Adan, linear warm-up, cosine decay. Adam is HNeRV's own."""

import math

import torch
from pytorch_optimizer import Adan
from torch import nn

from nerv360.config import EncodingConfig

__all__ = ["create_optimiser", "learning_rate"]


def create_optimiser(model: nn.Module, config: EncodingConfig) -> torch.optim.Optimizer:
    """Adan or Adam with the betas of its paper, no weight decay."""
    if config.optimiser == "adam":
        return torch.optim.Adam(model.parameters(), lr=config.learning_rate)
    return Adan(model.parameters(), lr=config.learning_rate, betas=(0.98, 0.92, 0.99), weight_decay=0.0)


def learning_rate(step: int, steps: int, config: EncodingConfig) -> float:
    """Rises linearly from its start over the warm-up, then falls to zero along half a cosine."""
    warm = config.warmup * steps
    if step < warm:
        start = config.learning_rate_start
        return start + (config.learning_rate - start) * step / warm
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))
