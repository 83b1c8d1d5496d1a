"""Context of latent integers as tensors: what is known of a cell before it is coded, with gradients to that."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from nerv360.latents.coding_order import CODING_PASSES, MARGIN, CodingPass

__all__ = ["ContextFeatures", "gather_context"]


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
    near, far = _NeighbourSums.apply(torch.cat((values, values.abs())), top, left)  # type: ignore[no-untyped-call]

    def pick(maps: Tensor) -> Tensor:
        return maps.flatten(-2)[..., chosen].flatten()

    magnitudes = [pick(near[channels:]), pick(far[channels:]), pick(references.abs().sum(0))]
    channel = torch.arange(first_channel, first_channel + channels, device=values.device)
    temporal = float(len(references) > 0)
    mean = pick(near[:channels]) / 4
    return ContextFeatures(
        torch.stack(magnitudes, dim=-1),
        torch.stack(((1 - temporal) * mean, temporal * mean, pick(references.sum(0)) / 2), dim=-1),
        torch.full_like(mean, temporal),
        _pass_map(top, left, rows, columns, chosen.device).flatten()[chosen].repeat(channels),
        channel.repeat_interleave(len(chosen)),
    )


def _pass_map(top: int, left: int, rows: int, columns: int, device: torch.device) -> Tensor:
    """Index of the coding pass of every cell [rows, columns]."""
    passes = torch.zeros(rows, columns, dtype=torch.long, device=device)
    for index, each in enumerate(CODING_PASSES):
        passes[_cells(each, top, left)] = index
    return passes


class _NeighbourSums(torch.autograd.Function):
    """Sums over the near and the far context of each cell [..., rows, columns]; zero beyond the edges."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, top: int, left: int) -> tuple[Tensor, Tensor]:
        ctx.corner = top, left
        padded = functional.pad(values, (MARGIN,) * 4)
        near, far = torch.zeros_like(values), torch.zeros_like(values)
        for each in CODING_PASSES:
            cells = _cells(each, top, left)
            for sums, offsets in ((near, each.near), (far, each.far)):
                own = sums[cells]
                for offset in offsets:
                    own += padded[_shifted(cells, offset, values.shape)]
        return near, far

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        shape = gradients[0].shape
        padded = functional.pad(torch.zeros_like(gradients[0]), (MARGIN,) * 4)
        for each in CODING_PASSES:
            cells = _cells(each, *ctx.corner)
            for gradient, offsets in zip(gradients, (each.near, each.far), strict=True):
                for offset in offsets:
                    padded[_shifted(cells, offset, shape)] += gradient[cells]
        return padded[..., MARGIN:-MARGIN, MARGIN:-MARGIN], None, None


def _cells(coding_pass: CodingPass, top: int, left: int) -> tuple[Any, ...]:
    """Cells of a pass, in a window whose corner is (top, left)."""
    corner = ((coding_pass.row, top), (coding_pass.column, left))
    return (..., *(slice((first - start) % coding_pass.spacing, None, coding_pass.spacing) for first, start in corner))


def _shifted(cells: tuple[Any, ...], offset: Sequence[int], shape: Sequence[int]) -> tuple[Any, ...]:
    """Cells at an offset from these, in the window with a margin."""
    shifted = zip(cells[1:], offset, shape[-2:], strict=True)
    return (..., *(slice(s.start + MARGIN + step, size + MARGIN + step, s.step) for s, step, size in shifted))
