"""Latent grids on the panorama while they are fitted: their values, their rate, and steps only where a view looks.

Not in the paper. The noise that stands in for rounding is that of Balle et al. (2017); the grids have the part of
Cool-Chic's latents (Ladune et al., 2023), on the sphere.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nerv360.bitstream.layout import GRID_STEP, Latent, Moment, key_count, keys_at, keys_per_chunk
from nerv360.bitstream.places import other_keys, references
from nerv360.geometry.footprint import Footprint
from nerv360.geometry.window import Window
from nerv360.layers.contexts import ContextModel, Known, known_of
from nerv360.layers.quantisation import coded_bits, laplace_bits, noisy, straight_through

__all__ = ["LatentGrids"]

LEARNING_SHARE = 0.25  # of the steps with noise, in which the contexts learn
BETA1, BETA2 = 0.9, 0.99  # without bias correction: at these two the first step has the right length


@dataclass
class _Touched:
    """A window of one key, as a leaf of the graph."""

    grid: int
    key: int
    index: Tensor  # of its cells within the whole grid
    values: Tensor  # [1, C, rows, columns]


class LatentGrids(nn.Module):
    """The grids' values, in steps of the quantiser.

    They are no parameters of the optimiser: a step moves only the cells under the view (Adam's rule), so that its time
    does not grow with the panorama.
    """

    def __init__(self, latents: Sequence[Latent], width: int, height: int, frames: int, group_size: int) -> None:
        super().__init__()
        self.group_size = group_size
        self.latents, self.frames = tuple(latents), frames
        for index, latent in enumerate(self.latents):
            shape = (key_count(latent.period, frames), latent.channels, *latent.size(width, height))
            for name in ("values", "momentum", "energy"):
                self.register_buffer(f"{name}{index}", torch.zeros(shape))
        self.uses = [_uses(latent.period, frames) for latent in self.latents]
        channels = sum(latent.channels for latent in self.latents)
        self.log_scale = nn.Parameter(torch.ones(channels))  # of every channel, whatever its neighbours
        self.contexts = ContextModel(channels)
        self._touched: list[_Touched] = []

    def values(self, index: int) -> Tensor:
        """A grid [keys, channels, rows, columns]."""
        return self.get_buffer(f"values{index}")

    def read(
        self,
        frame: int,
        footprints: Sequence[Footprint],
        cells: Sequence[Tensor],  # of the grid per sample [1, h, w] (`cells_per_sample`)
        noise: torch.Generator | None,
    ) -> tuple[list[Tensor], Tensor]:
        """The windows of the keys around a frame [keys, channels, rows, columns], and the view's share of their bits.

        With a generator, noise stands in for rounding, and the bits are those of every channel's own distribution: the
        contexts only learn. Without, values are rounded, gradients pass straight, and the bits are those of the file.
        """
        self._touched = []
        learning = noise is None or torch.rand((), generator=noise, device=noise.device).item() < LEARNING_SHARE
        latents, first_channel = [], 0
        values, rounded, channels, known, paid = [], [], [], [], []
        shares = {footprint.window: _share(footprint, area) for footprint, area in zip(footprints, cells, strict=True)}
        for index, (latent, footprint) in enumerate(zip(self.latents, footprints, strict=True)):
            window, share = footprint.window.reduced(), shares[footprint.window]
            chosen = share.nonzero()[:, 0]
            own = torch.arange(first_channel, first_channel + latent.channels, device=share.device)
            keys = []
            for key, weight in keys_at(latent.period, Moment(frame, self.frames)):
                touched = self._touch(index, key, window)
                whole = touched.values.detach().round() if noise else straight_through(touched.values)
                seen = noisy(touched.values, noise) if noise else whole
                keys.append(footprint.window.crop(seen, window))
                paid.append(weight / self.uses[index][key] * share[chosen].repeat(latent.channels))
                channels.append(own.repeat_interleave(len(chosen)))
                values.append(seen[0].flatten(1)[:, chosen].flatten())
                if learning:
                    rounded.append(whole[0].flatten(1)[:, chosen].flatten())
                    beside = self._beside(touched)
                    known.append(known_of(whole[0], beside, chosen, first_channel, window.top, window.left))
            latents.append(GRID_STEP * torch.cat(keys))
            first_channel += latent.channels
        part = torch.cat(paid)
        coded = part.new_zeros(())
        if learning:
            coded = (part * coded_bits(torch.cat(rounded), *self.contexts(Known.join(known)))).sum()
        if noise is None:
            return latents, coded
        log_scale = self.log_scale[torch.cat(channels)]
        spent = (part * laplace_bits(torch.cat(values), torch.zeros_like(log_scale), log_scale)).sum()
        return latents, spent + coded - coded.detach()

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Move the values that the last `read` gave, along their gradients."""
        for touched in self._touched:
            assert touched.values.grad is not None
            gradient = touched.values.grad[0].flatten(1)
            momentum, energy, values = (
                self.get_buffer(f"{name}{touched.grid}")[touched.key].flatten(1)
                for name in ("momentum", "energy", "values")
            )
            first = torch.lerp(momentum[:, touched.index], gradient, 1 - BETA1)
            second = torch.lerp(energy[:, touched.index], gradient.square(), 1 - BETA2)
            momentum[:, touched.index], energy[:, touched.index] = first, second
            values[:, touched.index] -= rate * first / (second.sqrt() + 1e-12)
        self._touched = []

    def _touch(self, index: int, key: int, window: Window) -> _Touched:
        cells = window.indices(self.values(index).device)
        values = self.values(index)[key].flatten(1)[:, cells].reshape(1, -1, window.rows, window.columns)
        self._touched.append(_Touched(index, key, cells, values.requires_grad_()))
        return self._touched[-1]

    def _beside(self, touched: _Touched) -> Tensor:
        """The same window, rounded, of the two keys that are coded before this one; of none [0, ...] for the first."""
        keys = self.values(touched.grid)
        step = keys_per_chunk(self.latents[touched.grid].period, self.group_size)
        start = touched.key // step * step
        order = references(min(step, len(keys) - start))
        before, behind = next(known for key, *known in order if key == touched.key - start)
        shape = touched.values.shape[1:]
        found = [
            keys[start + other].flatten(1)[:, touched.index].reshape(shape).round()
            for other in other_keys(before, behind)
        ]
        return torch.stack(found) if found else keys.new_zeros(0, *shape)


def _uses(period: int, frames: int) -> list[float]:
    """By how many frames every key is used."""
    uses = [0.0] * key_count(period, frames)
    for frame in range(frames):
        for key, weight in keys_at(period, Moment(frame, frames)):
            uses[key] += weight
    return uses


def _share(footprint: Footprint, area: Tensor) -> Tensor:
    """How much a view reads of every cell of the reduced window [rows * columns]: what sampling does, backwards."""
    window = footprint.window.reduced()
    cells = area.new_zeros(1, 1, window.rows, window.columns, requires_grad=True)
    read = footprint.sample(footprint.window.crop(cells, window))
    (share,) = torch.autograd.grad((read[:, 0] * area).sum(), cells)
    return share.flatten()
