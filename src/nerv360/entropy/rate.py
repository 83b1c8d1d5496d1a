"""Differentiable stand-ins for rounding, and the bits that rounded values will take (entropy/laplace.py).

Not in the paper. Uniform noise stands in for rounding as in Balle et al. (2017), Sec. 3.
"""

import torch
from torch import Tensor

from nerv360.entropy.laplace import INVERSE_TAIL_WEIGHT, SCALES_PER_OCTAVE, TAIL_SCALE_STEPS

__all__ = ["add_uniform_noise", "clamp_ste", "laplace_bits", "round_ste", "tailed_laplace_bits"]

MIN_LOG_SCALE = -5.0  # of a distribution: a 0 costs nothing there, and of zeros alone the scale would fall for ever
MIN_PROBABILITY = 1e-9


def laplace_bits(values: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """-log2 of the mass of a Laplace distribution within half a step of each value."""
    scale = clamp_ste(log_scale, MIN_LOG_SCALE).exp()
    return -torch.log2(_mass((values - mean).abs(), scale).clamp_min(MIN_PROBABILITY))


def tailed_laplace_bits(values: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """Bits of integers in a file: the same for the mixture with heavy tails of entropy/laplace.py.

    There the least scale has no tail, so certain zeros cost 0.003 bits less than here.
    """
    distance, scale = (values - mean).abs(), clamp_ste(log_scale, MIN_LOG_SCALE).exp()
    tail = _mass(distance, scale * 2 ** (TAIL_SCALE_STEPS / SCALES_PER_OCTAVE))
    mass = (1 - 1 / INVERSE_TAIL_WEIGHT) * _mass(distance, scale) + tail / INVERSE_TAIL_WEIGHT
    return -torch.log2(mass.clamp_min(MIN_PROBABILITY))


def _mass(distance: Tensor, scale: Tensor) -> Tensor:
    """Mass of a Laplace distribution within half a step of a point at a distance from its mean."""
    small = distance < 0.5
    within = torch.where(small, distance, 0.0)
    inner = 1 - (torch.exp((within - 0.5) / scale) + torch.exp(-(within + 0.5) / scale)) / 2
    outer = 0.5 * torch.exp((0.5 - torch.where(small, 0.5, distance)) / scale) * -torch.expm1(-1 / scale)
    return torch.where(small, inner, outer)


def round_ste(values: Tensor) -> Tensor:
    """Round, with a straight-through gradient."""
    return values + (values.round() - values).detach()


def clamp_ste(values: Tensor, low: float, high: float | None = None) -> Tensor:
    """Clamp, with a straight-through gradient, which is not lost at a bound."""
    return values + (values.clamp(low, high) - values).detach()


def add_uniform_noise(values: Tensor, noise: torch.Generator) -> Tensor:
    """Add noise that is uniform in [-0.5, 0.5), as large as the error of rounding."""
    return values + torch.rand(values.shape, generator=noise, device=values.device, dtype=values.dtype) - 0.5
