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
    """Step of every tensor, and scale of the Laplace distribution of its integers, both as logarithms."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.names = list(tensors)
        deviations = [tensor.square().mean().sqrt().item() or 0.1 for tensor in tensors.values()]
        self.log2_step = nn.Parameter(torch.tensor([math.log2(d / INITIAL_STEPS) for d in deviations]))
        self.log_scale = nn.Parameter(torch.full((len(self.names),), math.log(INITIAL_STEPS / 2)))

    def forward(self, tensors: Mapping[str, Tensor], noise: torch.Generator | None) -> tuple[dict[str, Tensor], Tensor]:
        """The quantised tensors and their bits in all; with a generator, noise stands in for rounding."""
        quantized, bits = {}, []
        exponents: Tensor = self.log2_step
        if noise is None:
            exponents = round_ste(exponents * STEPS_PER_OCTAVE) / STEPS_PER_OCTAVE
        for name, step, log_scale in zip(self.names, exponents.exp2(), self.log_scale, strict=True):
            integers = tensors[name] / step
            integers = round_ste(integers) if noise is None else add_uniform_noise(integers, noise)
            quantized[name] = integers * step
            bits.append(laplace_bits(integers, torch.zeros_like(log_scale), log_scale).sum())
        return quantized, torch.stack(bits).sum()
