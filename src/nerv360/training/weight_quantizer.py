"""Quantisation-aware fitting of the weights: learned steps, and the bits of the rounded weights.

Not in the paper. Steps are learned as in LSQ (Esser et al., 2020), under uniform noise (Balle et al., 2017).
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from nerv360.bitstream.weights import STEPS_PER_OCTAVE
from nerv360.entropy.rate import add_uniform_noise, laplace_bits, round_ste

__all__ = ["WeightQuantizer"]

INITIAL_STEPS = 16  # per standard deviation of a fresh tensor


class WeightQuantizer(nn.Module):
    """Step of every tensor, and scale of the Laplace distribution of its integers, both as logarithms.

    All tensors are quantised in one pass.
    """

    owner: Tensor  # [n] index of the tensor of every weight

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.names = list(tensors)
        deviations = [tensor.square().mean().sqrt().item() or 0.1 for tensor in tensors.values()]
        self.log2_step = nn.Parameter(torch.tensor([math.log2(d / INITIAL_STEPS) for d in deviations]))
        self.log_scale = nn.Parameter(torch.full((len(self.names),), math.log(INITIAL_STEPS / 2)))
        sizes = torch.tensor([tensor.numel() for tensor in tensors.values()])
        self.register_buffer("owner", torch.arange(len(sizes)).repeat_interleave(sizes), persistent=False)

    def forward(self, tensors: Mapping[str, Tensor], noise: torch.Generator | None) -> tuple[dict[str, Tensor], Tensor]:
        """The quantised tensors and their bits in all; with a generator, noise stands in for rounding."""
        exponents: Tensor = self.log2_step
        if noise is None:
            exponents = round_ste(exponents * STEPS_PER_OCTAVE) / STEPS_PER_OCTAVE
        ordered = [_in_memory_order(tensors[name]) for name in self.names]
        step = exponents.exp2().index_select(0, self.owner)
        integers = torch.cat([tensor.flatten() for tensor in ordered]) / step
        integers = round_ste(integers) if noise is None else add_uniform_noise(integers, noise)
        log_scale = self.log_scale.index_select(0, self.owner)
        bits = laplace_bits(integers, torch.zeros_like(log_scale), log_scale).sum()
        parts = torch.split(integers * step, [tensor.numel() for tensor in ordered])
        shaped = [part.view(tensor.shape) for part, tensor in zip(parts, ordered, strict=True)]
        return dict(zip(self.names, map(_in_logical_order, shaped), strict=True)), bits


def _in_memory_order(weight: Tensor) -> Tensor:
    """A kernel [O, I, h, w] as [O, h, w, I]: so lie its numbers (models/build.py)."""
    return weight.permute(0, 2, 3, 1) if weight.ndim == 4 else weight


def _in_logical_order(weight: Tensor) -> Tensor:
    """Inverse of `_in_memory_order`."""
    return weight.permute(0, 3, 1, 2) if weight.ndim == 4 else weight
