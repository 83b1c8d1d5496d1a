"""What the integers of latent grids cost, given their neighbours: the model of bitstream/contexts.py, to be fitted.

Not in the paper. As in Cool-Chic (Ladune et al., 2023), a small network foretells the distribution of every integer
from those that are known before it, and is fitted with them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from nerv360.bitstream.contexts import HIDDEN, MOST, ONE, ONE_MEAN, Contexts
from nerv360.bitstream.laplace import SCALES, SCALES_PER_OCTAVE, UNIT_SCALE
from nerv360.bitstream.places import MARGIN, PLACES, Place
from nerv360.layers.quantisation import limited, straight_through

__all__ = ["ContextModel", "Known", "known_of"]

LEAST_LOG_SCALE, MOST_LOG_SCALE = ((scale - UNIT_SCALE) * math.log(2) / SCALES_PER_OCTAVE for scale in (0, SCALES - 1))


class ContextModel(nn.Module):
    """Integers known before a cell -> mean and log scale of the Laplace distribution of its own."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        random = torch.Generator().manual_seed(0)
        self.mix = nn.Parameter(0.3 * torch.randn(4, HIDDEN, generator=random))
        self.place = nn.Parameter(0.3 * torch.randn(HIDDEN, generator=random).repeat(len(PLACES), 1))
        self.spread = nn.Parameter(0.1 * torch.randn(HIDDEN, generator=random))
        self.log_scale = nn.Parameter(torch.ones(channels))
        self.mean = nn.Parameter(torch.full((channels,), 0.5))
        self.timed_mean = nn.Parameter(torch.zeros(2))

    def forward(self, known: "Known") -> tuple[Tensor, Tensor]:
        """Mean and log scale [n] of the distributions of n cells."""
        mix, place, spread, log_scale, mean, timed_mean = (value for value, _, _ in self._rounded())
        logarithms = torch.log2(1 + known.magnitudes.clamp_max(MOST))
        hidden = logarithms @ mix[:3] + place[known.place] + known.timed[:, None] * mix[3]
        log_scale = log_scale[known.channel] + hidden.relu() @ spread
        means = known.means[:, 0] * mean[known.channel] + known.means[:, 1:] @ timed_mean
        return means, limited(log_scale, LEAST_LOG_SCALE, MOST_LOG_SCALE)

    @torch.no_grad()
    def integers(self) -> Contexts:
        """The same as the file holds it."""
        parameters = [((value - offset) * one).round().flatten() for value, one, offset in self._rounded()]
        return Contexts.of(torch.cat(parameters).cpu().numpy().astype(np.int32), len(self.log_scale))

    def _rounded(self) -> list[tuple[Tensor, float, float]]:
        """Every parameter as the file can hold it, how many of its units make one, and what 0 stands for."""
        step = math.log(2) / SCALES_PER_OCTAVE
        scaled = (
            (self.mix, ONE, 0.0),
            (self.place, ONE, 0.0),
            (self.spread, ONE / step, 0.0),
            (self.log_scale, ONE / step, -UNIT_SCALE * step),
            (self.mean, ONE_MEAN, 0.0),
            (self.timed_mean, ONE_MEAN, 0.0),
        )
        return [(straight_through(value * one) / one, one, offset) for value, one, offset in scaled]


@dataclass(frozen=True)
class Known:
    """What is known of n cells before they are coded."""

    magnitudes: Tensor  # [n, 3] summed over the near cells, the far ones, the same cell at other keys
    means: Tensor  # [n, 3] of the near cells without other keys, and with; of the same cell at two other keys
    timed: Tensor  # [n] 1 where other keys are known, else 0
    place: Tensor  # [n] numbers in PLACES
    channel: Tensor  # [n] among those of all latents

    @classmethod
    def join(cls, parts: Sequence["Known"]) -> "Known":
        return cls(*(torch.cat([getattr(part, f.name) for part in parts]) for f in fields(cls)))

    def at(self, index: Tensor) -> "Known":
        """Of some of the cells."""
        return Known(*(getattr(self, f.name)[index] for f in fields(self)))


def known_of(
    values: Tensor,  # [C, rows, columns] whole numbers, on a grid or in a window of one whose corner is (top, left)
    beside: Tensor,  # [0 or 2, C, rows, columns] those of the keys known before
    chosen: Tensor,  # [n] which cells, of rows * columns
    first_channel: int,
    top: int = 0,
    left: int = 0,
) -> Known:
    """What is known of the chosen cells, channel by channel."""
    channels, rows, columns = values.shape
    near, far = _Surroundings.apply(torch.cat((values, values.abs())), top, left)  # type: ignore[no-untyped-call]

    def pick(maps: Tensor) -> Tensor:
        return maps.flatten(-2)[..., chosen].flatten()

    magnitudes = [pick(near[channels:]), pick(far[channels:]), pick(beside.abs().sum(0))]
    channel = torch.arange(first_channel, first_channel + channels, device=values.device)
    timed = float(len(beside) > 0)
    mean = pick(near[:channels]) / 4
    return Known(
        torch.stack(magnitudes, dim=-1),
        torch.stack(((1 - timed) * mean, timed * mean, pick(beside.sum(0)) / 2), dim=-1),
        torch.full_like(mean, timed),
        _place_map(top, left, rows, columns, chosen.device).flatten()[chosen].repeat(channels),
        channel.repeat_interleave(len(chosen)),
    )


def _place_map(top: int, left: int, rows: int, columns: int, device: torch.device) -> Tensor:
    """The number of every cell's place [rows, columns]."""
    places = torch.zeros(rows, columns, dtype=torch.long, device=device)
    for number, place in enumerate(PLACES):
        places[_cells(place, top, left)] = number
    return places


class _Surroundings(torch.autograd.Function):
    """Sums over the near and the far cells known before each [..., rows, columns]; zero beyond the edges."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, top: int, left: int) -> tuple[Tensor, Tensor]:
        ctx.corner = top, left
        padded = functional.pad(values, (MARGIN,) * 4)
        near, far = torch.zeros_like(values), torch.zeros_like(values)
        for place in PLACES:
            cells = _cells(place, top, left)
            for sums, offsets in ((near, place.near), (far, place.far)):
                own = sums[cells]
                for offset in offsets:
                    own += padded[_moved(cells, offset, values.shape)]
        return near, far

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        shape = gradients[0].shape
        padded = functional.pad(torch.zeros_like(gradients[0]), (MARGIN,) * 4)
        for place in PLACES:
            cells = _cells(place, *ctx.corner)
            for gradient, offsets in zip(gradients, (place.near, place.far), strict=True):
                for offset in offsets:
                    padded[_moved(cells, offset, shape)] += gradient[cells]
        return padded[..., MARGIN:-MARGIN, MARGIN:-MARGIN], None, None


def _cells(place: Place, top: int, left: int) -> tuple[Any, ...]:
    """Those of a place, in a window whose corner is (top, left)."""
    corner = ((place.row, top), (place.column, left))
    return (..., *(slice((first - start) % place.spacing, None, place.spacing) for first, start in corner))


def _moved(cells: tuple[Any, ...], offset: Sequence[int], shape: Sequence[int]) -> tuple[Any, ...]:
    """Their neighbours, with a margin around the window."""
    moved = zip(cells[1:], offset, shape[-2:], strict=True)
    return (..., *(slice(s.start + MARGIN + step, size + MARGIN + step, s.step) for s, step, size in moved))
