"""Context of latent integers as tensors: what is known of a cell before it is coded, with gradients to that."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from nerv360.latents.coding_order import CODING_PASSES, MARGIN

__all__ = ["ContextFeatures", "coding_passes", "gather_context", "neighbour_sums"]

PERIOD = max(each.spacing for each in CODING_PASSES)


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
    near, far = neighbour_sums(values, top, left)

    def pick(maps: Tensor) -> Tensor:
        return maps.flatten(-2)[..., chosen].flatten()

    magnitudes = [pick(near[channels:]), pick(far), pick(references.abs().sum(0))]
    channel = torch.arange(first_channel, first_channel + channels, device=values.device)
    temporal = float(len(references) > 0)
    mean = pick(near[:channels]) / 4
    return ContextFeatures(
        torch.stack(magnitudes, dim=-1),
        torch.stack(((1 - temporal) * mean, temporal * mean, pick(references.sum(0)) / 2), dim=-1),
        torch.full_like(mean, temporal),
        coding_passes(top, left, rows, columns, chosen.device).flatten()[chosen].repeat(channels),
        channel.repeat_interleave(len(chosen)),
    )


def neighbour_sums(values: Tensor, top: int, left: int) -> tuple[Tensor, Tensor]:
    """Of every cell [C, rows, columns]: sums of values, then of magnitudes [2 C, rows, columns] over its near context,
    and of magnitudes over its far context [C, rows, columns]; zero beyond the edges."""
    both = torch.cat((values, values.abs()))
    sums: tuple[Tensor, Tensor] = _NeighbourSums.apply(both, len(values), top, left)  # type: ignore[no-untyped-call]
    return sums


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
    return passes.to(device)


class _NeighbourSums(torch.autograd.Function):
    """Sums over the near context, and from a channel on over the far one."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, far_from: int, top: int, left: int) -> tuple[Tensor, Tensor]:
        ctx.far_from, ctx.corner = far_from, (top, left)
        padded = functional.pad(values, (MARGIN,) * 4)
        near, far = torch.zeros_like(values), torch.zeros_like(values[far_from:])
        for own, neighbours in _neighbours(near, far, padded, far_from, top, left):
            for each in neighbours:
                own += each
        return near, far

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        near, far = (gradient.contiguous() for gradient in gradients)
        padded = functional.pad(torch.zeros_like(near), (MARGIN,) * 4)
        for own, neighbours in _neighbours(near, far, padded, ctx.far_from, *ctx.corner):
            for each in neighbours:
                each += own
        return padded[..., MARGIN:-MARGIN, MARGIN:-MARGIN], None, None, None


def _neighbours(
    near: Tensor,  # [C, rows, columns]
    far: Tensor,  # those from a channel on
    padded: Tensor,  # [C, rows + 2 MARGIN, columns + 2 MARGIN]
    far_from: int,
    top: int,
    left: int,
) -> Iterator[tuple[Tensor, Iterator[Tensor]]]:
    """Views of the cells of every coding pass in the near and the far sums, and of their neighbours."""
    line = padded.stride(1)
    for each in CODING_PASSES:
        row, column = (each.row - top) % each.spacing, (each.column - left) % each.spacing
        for sums, read, offsets in ((near, padded, each.near), (far, padded[far_from:], each.far)):
            own = sums[:, row :: each.spacing, column :: each.spacing]
            size, stride = own.shape, (read.stride(0), each.spacing * line, each.spacing)
            first = read.storage_offset() + (row + MARGIN) * line + column + MARGIN
            yield own, (read.as_strided(size, stride, first + down * line + right) for down, right in offsets)
