"""Weights that are fitted as the multiples of learned steps that a file will hold, and what those cost.

Not in the paper. Steps are learned as in LSQ (Esser et al., 2020), under uniform noise (Balle et al., 2017).
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from nerv360.bitstream.laplace import SCALES_PER_OCTAVE, WIDE, WIDE_PART
from nerv360.bitstream.layout import STEPS_PER_OCTAVE

__all__ = ["WeightQuantiser", "coded_bits", "laplace_bits", "limited", "noisy", "straight_through"]

INITIAL_STEPS = 16  # per deviation of a fresh tensor
LEAST_LOG_SCALE = -5.0  # of a distribution; a 0 costs nothing there


class WeightQuantiser(nn.Module):
    """The step of every tensor, and the scale of its integers' Laplace distribution, both as logarithms."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.names = list(tensors)
        deviations = [tensor.square().mean().sqrt().item() or 0.1 for tensor in tensors.values()]
        self.log2_step = nn.Parameter(torch.tensor([math.log2(d / INITIAL_STEPS) for d in deviations]))
        self.log_scale = nn.Parameter(torch.full((len(self.names),), math.log(INITIAL_STEPS / 2)))

    def forward(self, tensors: Mapping[str, Tensor], noise: torch.Generator | None) -> tuple[dict[str, Tensor], Tensor]:
        """The tensors as the network will have them, and their bits. With a generator, noise stands in for rounding."""
        quantised, bits = {}, []
        exponents: Tensor = self.log2_step
        if noise is None:
            exponents = straight_through(exponents * STEPS_PER_OCTAVE) / STEPS_PER_OCTAVE
        for name, step, log_scale in zip(self.names, exponents.exp2(), self.log_scale, strict=True):
            integers = tensors[name] / step
            integers = straight_through(integers) if noise is None else noisy(integers, noise)
            quantised[name] = integers * step
            bits.append(laplace_bits(integers, torch.zeros_like(log_scale), log_scale).sum())
        return quantised, torch.stack(bits).sum()


def laplace_bits(values: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """-log2 of the mass that a Laplace distribution has within half a step of each value.

    Of values that are all 0 the scale would fall for ever: it counts as LEAST_LOG_SCALE at least.
    """
    return -torch.log2(_mass((values - mean).abs(), limited(log_scale, LEAST_LOG_SCALE).exp()).clamp_min(1e-9))


def coded_bits(values: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """What integers cost in a file: the same of a Laplace distribution with wide tails (bitstream/laplace.py).

    There the least scale has none, so certain zeros cost 0.003 bits less than here.
    """
    size, scale = (values - mean).abs(), limited(log_scale, LEAST_LOG_SCALE).exp()
    wide = _mass(size, scale * 2 ** (WIDE / SCALES_PER_OCTAVE))
    return -torch.log2(((1 - 1 / WIDE_PART) * _mass(size, scale) + wide / WIDE_PART).clamp_min(1e-9))


def _mass(size: Tensor, scale: Tensor) -> Tensor:
    """Of a Laplace distribution, within half a step of what lies so far from its mean."""
    small = size < 0.5
    within = torch.where(small, size, 0.0)
    inner = 1 - (torch.exp((within - 0.5) / scale) + torch.exp(-(within + 0.5) / scale)) / 2
    outer = 0.5 * torch.exp((0.5 - torch.where(small, 0.5, size)) / scale) * -torch.expm1(-1 / scale)
    return torch.where(small, inner, outer)


def straight_through(values: Tensor) -> Tensor:
    """Rounded; gradients pass as if they were not."""
    return values + (values.round() - values).detach()


def limited(values: Tensor, least: float, most: float | None = None) -> Tensor:
    """Clamped; gradients pass as if they were not, so that they are not lost at a limit."""
    return values + (values.clamp(least, most) - values).detach()


def noisy(values: Tensor, noise: torch.Generator) -> Tensor:
    """With uniform noise as large as the error of rounding."""
    return values + torch.rand(values.shape, generator=noise, device=values.device, dtype=values.dtype) - 0.5
