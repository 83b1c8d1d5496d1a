"""Context of latent integers as tensors: what is known of a cell before it is coded, with gradients to that."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from nerv360.latents.coding_order import CODING_PASSES, MARGIN
from nerv360.transfer import to_device

__all__ = [
    "ContextFeatures",
    "coding_passes",
    "concatenate_padded",
    "context_offsets",
    "context_sums",
    "gather_context",
    "padded_index",
    "padded_size",
]

PERIOD = max(each.spacing for each in CODING_PASSES)
NEAR, FAR = (max(len(getattr(each, kind)) for each in CODING_PASSES) for kind in ("near", "far"))
ABSENT = (-(1 << 30), 0)  # rows and columns of a neighbour that a pass does not have


@dataclass(frozen=True)
class ContextFeatures:
    """What is known of n cells before they are coded."""

    magnitudes: Tensor  # [n, 3] summed over the near context, the far context, the same cell at the reference keys
    means: Tensor  # [n, 3] of the near context without reference keys, and with; of the same cell at the reference keys
    temporal: Tensor  # [n] 1 where there are reference keys, else 0
    coding_pass: Tensor  # [n] index in CODING_PASSES
    channel: Tensor  # [n] index among the channels of all latents

    @classmethod
    def join(cls, parts: Sequence["ContextFeatures"]) -> "ContextFeatures":
        """Concatenate along the cells."""
        return cls(*(torch.cat([getattr(part, f.name) for part in parts]) for f in fields(cls)))

    def at(self, index: Tensor) -> "ContextFeatures":
        """Those of some of the cells."""
        return ContextFeatures(*(getattr(self, f.name)[index] for f in fields(self)))


def gather_context(
    values: Tensor,  # [C, rows, columns] whole numbers, on a grid or in a window of one whose corner is (top, left)
    references: Tensor,  # [0 or 2, C, rows, columns] those of the reference keys
    chosen: Tensor,  # [n] which cells, of rows * columns
    first_channel: int,
    top: int = 0,
    left: int = 0,
) -> ContextFeatures:
    """Context features of the chosen cells, channel by channel."""
    channels, rows, columns = values.shape
    starts = torch.arange(channels, device=values.device)[:, None] * padded_size(rows, columns)
    index = (starts + padded_index(chosen, columns)).flatten()
    coding_pass = coding_passes(top, left, rows, columns, chosen.device).flatten()[chosen].repeat(channels)
    offsets = context_offsets([columns], values.device)
    near, *magnitudes = context_sums(concatenate_padded([values]), index, offsets, coding_pass)

    def pick(maps: Tensor) -> Tensor:
        return maps.flatten(-2)[..., chosen].flatten()

    channel = torch.arange(first_channel, first_channel + channels, device=values.device)
    temporal, mean = float(len(references) > 0), near / 4
    return ContextFeatures(
        torch.stack((*magnitudes, pick(references.abs().sum(0))), dim=-1),
        torch.stack(((1 - temporal) * mean, temporal * mean, pick(references.sum(0)) / 2), dim=-1),
        torch.full_like(mean, temporal),
        coding_pass,
        channel.repeat_interleave(len(chosen)),
    )


def padded_size(rows: int, columns: int) -> int:
    """Numbers that a map takes in `concatenate_padded`."""
    return (rows + 2 * MARGIN) * (columns + MARGIN)


def concatenate_padded(maps: Sequence[Tensor]) -> Tensor:
    """Maps [C, rows, columns] of several sizes in one flat array, with zeros wherever the context of a cell may lie.

    MARGIN rows of zeros are above and below every map, MARGIN columns on its right: what is left of a row is the margin
    of the row before. The array begins with MARGIN zeros, so number 0 is zero.
    """
    parts = [functional.pad(each, (0, MARGIN, MARGIN, MARGIN)).flatten() for each in maps]
    return torch.cat((maps[0].new_zeros(MARGIN), *parts))


def padded_index(cells: Tensor, columns: int | Tensor) -> Tensor:
    """Index in `concatenate_padded`, less the sizes of the maps before, of cells that count row * columns + column."""
    return MARGIN + (MARGIN + cells // columns) * (columns + MARGIN) + cells % columns


def context_offsets(columns: Sequence[int], device: torch.device) -> Tensor:
    """Offsets of the near, then the far context of a cell in `concatenate_padded`, for every width of a map and every
    coding pass [NEAR + FAR, widths * passes]."""
    down, right = _offsets(device)
    lines = to_device(torch.tensor(columns), device)[:, None] + MARGIN
    return torch.addcmul(right, down, lines).flatten(1)


def context_sums(
    padded: Tensor,  # of `concatenate_padded`
    index: Tensor,  # [n] of cells in it
    offsets: Tensor,  # of `context_offsets`
    offset_index: Tensor,  # [n] width * passes + pass of every cell
) -> tuple[Tensor, Tensor, Tensor]:
    """Sum over the near context of every cell [n], and sums of magnitudes over its near and its far context."""
    sums: tuple[Tensor, Tensor, Tensor] = _ContextSums.apply(padded, index, offsets, offset_index)  # type: ignore[no-untyped-call]
    return sums


class _ContextSums(torch.autograd.Function):
    """The same, one neighbour of all cells after the other: no array holds all neighbours."""

    @staticmethod
    def forward(ctx: Any, padded: Tensor, *cells: Tensor) -> tuple[Tensor, ...]:
        ctx.save_for_backward(padded, *cells)
        near, near_magnitude, far_magnitude = padded.new_zeros(3, len(cells[0]))
        for number, neighbour in enumerate(_neighbours(*cells)):
            value = padded.gather(0, neighbour)
            if number < NEAR:
                near += value
                near_magnitude += value.abs_()
            else:
                far_magnitude += value.abs_()
        return near, near_magnitude, far_magnitude

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        near, near_magnitude, far_magnitude = gradients
        padded, *cells = ctx.saved_tensors
        signs, gradient = padded.sgn(), torch.zeros_like(padded)
        for number, neighbour in enumerate(_neighbours(*cells)):
            sign = signs.gather(0, neighbour)
            if number < NEAR:
                gradient.scatter_add_(0, neighbour, torch.addcmul(near, sign, near_magnitude))
            else:
                gradient.scatter_add_(0, neighbour, sign.mul_(far_magnitude))
        return gradient, None, None, None


def _neighbours(index: Tensor, offsets: Tensor, offset_index: Tensor) -> Iterator[Tensor]:
    """Index of every neighbour [n] of the cells; 0 for one that their pass does not have."""
    return (each.index_select(0, offset_index).add_(index).clamp_min_(0) for each in offsets)


@cache
def _offsets(device: torch.device) -> tuple[Tensor, Tensor]:
    """Rows down and columns to the right, of the context of every coding pass [NEAR + FAR, 1, passes]."""
    padded = [
        [*each.near, *[ABSENT] * (NEAR - len(each.near)), *each.far, *[ABSENT] * (FAR - len(each.far))]
        for each in CODING_PASSES
    ]
    down, right = to_device(torch.tensor(padded), device).permute(2, 1, 0)[:, :, None].contiguous()
    return down, right


def coding_passes(top: int, left: int, rows: int, columns: int, device: torch.device) -> Tensor:
    """Index of the coding pass of every cell [rows, columns] of a window whose corner is (top, left)."""
    down = torch.arange(top, top + rows, device=device) % PERIOD
    right = torch.arange(left, left + columns, device=device) % PERIOD
    return _passes(device).index_select(0, down).index_select(1, right)


@cache
def _passes(device: torch.device) -> Tensor:
    """The same of the cells after which they repeat [PERIOD, PERIOD]."""
    passes = torch.zeros(PERIOD, PERIOD, dtype=torch.int32)
    for index, each in enumerate(CODING_PASSES):
        passes[each.row :: each.spacing, each.column :: each.spacing] = index
    return to_device(passes, device)
