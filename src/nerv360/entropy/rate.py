"""Differentiable stand-ins for rounding, and the bits that rounded values will take (entropy/laplace.py).

Not in the paper. Uniform noise stands in for rounding as in Balle et al. (2017), Sec. 3.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from nerv360.entropy.laplace import INVERSE_TAIL_WEIGHT, SCALES_PER_OCTAVE, TAIL_SCALE_STEPS

__all__ = ["add_uniform_noise", "clamp_ste", "laplace_bits", "round_ste", "tailed_laplace_bits"]

MIN_LOG_SCALE = -5.0  # of a distribution: a 0 costs nothing there, and of zeros alone the scale would fall for ever
MIN_PROBABILITY = 1e-9
TAILED = (
    (1 - 1 / INVERSE_TAIL_WEIGHT, 1.0),
    (1 / INVERSE_TAIL_WEIGHT, 2 ** (TAIL_SCALE_STEPS / SCALES_PER_OCTAVE)),
)


def laplace_bits(values: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """-log2 of the mass of a Laplace distribution within half a step of each value."""
    bits: Tensor = _LaplaceBits.apply(values - mean, log_scale, ((1.0, 1.0),))  # type: ignore[no-untyped-call]
    return bits


def tailed_laplace_bits(values: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """Bits of integers in a file: the same for the mixture with heavy tails of entropy/laplace.py.

    There the least scale has no tail, so certain zeros cost 0.003 bits less than here.
    """
    bits: Tensor = _LaplaceBits.apply(values - mean, log_scale, TAILED)  # type: ignore[no-untyped-call]
    return bits


class _LaplaceBits(torch.autograd.Function):
    """-log2 of the mass within half a step of `offset` from the mean of a mixture of Laplace distributions.

    Its gradients are written out: a few kernels where autograd takes dozens. That to the scale is not lost at its
    least; offset and log scale are of one shape, or the log scale is a single number.
    """

    @staticmethod
    def forward(
        ctx: Any,
        offset: Tensor,
        log_scale: Tensor,
        mixture: Sequence[tuple[float, float]],  # weight, and scale as a multiple
    ) -> Tensor:
        rate = log_scale.clamp_min(MIN_LOG_SCALE).neg().exp()
        distance = offset.abs()
        inner, outer = distance - 0.5, distance + 0.5
        away, inside = inner.abs(), inner < 0
        parts = []  # of the mass, and of its derivatives to the distance and to the log scale
        for weight, scale in mixture:
            decay = rate / scale
            near, far = torch.exp(-decay * away), torch.exp(-decay * outer)
            half, slope = weight / 2, weight / 2 * decay
            parts.append(
                (
                    half * (torch.where(inside, 2 - near, near) - far),
                    slope * (far - near),
                    slope * (near * inner - far * outer),
                )
            )
        mass, by_distance, by_scale = (sum(each[1:], start=each[0]) for each in zip(*parts, strict=True))
        by_mass = torch.where(mass < MIN_PROBABILITY, 0, -1 / (math.log(2) * mass))
        ctx.save_for_backward(by_mass * by_distance * offset.sign(), by_mass * by_scale)
        ctx.single = log_scale.ndim == 0
        return -torch.log2(mass.clamp_min(MIN_PROBABILITY))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        by_offset, by_scale = (gradients[0] * each for each in ctx.saved_tensors)
        return by_offset, by_scale.sum() if ctx.single else by_scale, None


def round_ste(values: Tensor) -> Tensor:
    """Round, with a straight-through gradient."""
    return values + (values.round() - values).detach()


def clamp_ste(values: Tensor, low: float, high: float | None = None) -> Tensor:
    """Clamp, with a straight-through gradient, which is not lost at a bound."""
    return values + (values.clamp(low, high) - values).detach()


def add_uniform_noise(values: Tensor, noise: torch.Generator) -> Tensor:
    """Add noise that is uniform in [-0.5, 0.5), as large as the error of rounding."""
    return values + torch.rand(values.shape, generator=noise, device=values.device, dtype=values.dtype) - 0.5
