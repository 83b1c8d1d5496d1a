"""nerv360-grid, our own model: latent grids on the panorama, at every resolution, read along the view's rays.

Differs from NeRV360 (models/nerv360.py): there is no encoder, the latents themselves are fitted; every stage reads
latents of its own resolution, some still, some keyed in time; they know where they are, so nothing is conditioned.
"""

from collections.abc import Iterable, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from nerv360.geometry.footprint import Footprint, cells_per_sample
from nerv360.geometry.viewport import Viewport
from nerv360.latents.cells_read import CellsRead
from nerv360.latents.context_model import ContextModel
from nerv360.latents.grid import (
    GRID_STEP,
    FrameTime,
    LatentGrid,
    interpolation_weights,
    key_frame_index,
    stage_strides,
)
from nerv360.latents.latent_grids import LatentGrids
from nerv360.layers.upsampling import pixel_shuffle
from nerv360.models.decoder_network import DecoderNetwork
from nerv360.models.network_config import NetworkConfig

__all__ = ["MOTION_UNIT", "NeRV360Grid"]

MOTION_UNIT = 1 / 48  # of a cell of the motion field, per frame
MAX_DISPLACEMENT = 1  # cells of the motion field that a key is displaced by at most


class GridStage(nn.Module):
    """features: sin(pixel_shuffle(conv(features)) + project(latents)); picture: upsampled, + to_rgb(latents).

    The latents enter at the resolution of the output.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, latents: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv2d(inputs, outputs * stride**2, kernel, padding=kernel // 2, padding_mode="replicate")
        self.project = nn.Conv2d(latents, outputs, 1, bias=False) if latents else None
        self.to_rgb = nn.Conv2d(latents, 3, 1, bias=False) if latents else None

    def forward(self, features: Tensor, picture: Tensor, latents: list[Tensor]) -> tuple[Tensor, Tensor]:
        features = pixel_shuffle(self.conv(features), self.stride)
        if self.stride > 1:
            picture = functional.interpolate(picture, scale_factor=self.stride, mode="bilinear")
        if self.project is not None and self.to_rgb is not None:
            entering = torch.cat(latents, dim=1)
            features, picture = (
                features + self.project(entering),
                picture + self.to_rgb(entering),
            )
        return features.sin(), picture


class NeRV360Grid(DecoderNetwork):
    """Sampled along the view's rays, each latent grid enters the stage of its resolution, and a picture beside it.

    grids   1/24        1/8         1/4         1/2         1/1
             |           |           |           |           |
           expand ─── stage ───── stage ───── stage ───── stage ─ head
             |c2       |c3         |c4         |c5         |c6     + ── viewport
           to_rgb ─── + ───────── + ───────── + ───────── + ───────┘
    """

    training_only = "latents"

    def __init__(self, config: NetworkConfig, frames: int | None = None) -> None:
        super().__init__(config, frames)
        self.total_stride, *self.strides = stage_strides(config.decoder_strides)  # before and behind the stages
        widths, (first, *entering) = config.channels, config.latent_channels_per_stage()
        if frames is not None:
            self.latents = LatentGrids(config.grids, config.width, config.height, frames, config.group_size)
        self.expand = nn.Conv2d(first, widths[0], 1)
        self.to_rgb = nn.Conv2d(first, 3, 1, bias=False)
        self.stages = nn.ModuleList(
            GridStage(*stage, latents) for stage, latents in zip(config.stages(), entering, strict=True)
        )
        self.head = nn.Conv2d(widths[-1], 3, 3, padding=1, padding_mode="replicate")
        # of the latest views, newest first: a step of fitting asks twice, while the next one is prepared
        self._footprints: tuple[tuple[Viewport, list[Footprint]], ...] = ()
        self._cells_read: tuple[tuple[tuple[int, Viewport], CellsRead], ...] = ()

    @property
    def receptive_margin(self) -> int:
        before = (self.total_stride, *self.strides)
        return max(
            sum(k // 2 * stride for k, stride in zip(self.config.kernels, before, strict=False)) + 1,
            sum(-(-stride // 2) for stride in before[:-1]),  # of the picture, which is upsampled
        )

    @torch.inference_mode(False)  # what decoding has computed, fitting may use
    @torch.no_grad()
    def footprints(self, view: Viewport) -> list[Footprint]:
        if known := [found for other, found in self._footprints if other == view]:
            return known[0]
        by_stride = {stride: self._footprint(view, stride) for stride in {grid.stride for grid in self.config.grids}}
        grown = [by_stride[grid.stride].grown(self._motion_margin(grid)) for grid in self.config.grids]
        self._footprints = (view, grown), *self._footprints[:1]
        return grown

    def sample(self, features: Sequence[Tensor], footprints: Sequence[Footprint], at: FrameTime) -> list[Tensor]:
        """Of every grid but the motion field: its keys around a frame, motion-compensated and blended."""
        read = list(zip(self.config.grids, features, footprints, strict=True))
        motion = next((self._interpolate_keys(*each, at, None) for each in read if each[0].motion), None)
        return [self._interpolate_keys(*each, at, motion) for each in read if not each[0].motion]

    def _interpolate_keys(
        self,
        grid: LatentGrid,
        keys: Tensor,  # [keys, C, rows, columns], those around the frame
        footprint: Footprint,
        at: FrameTime,
        motion: Tensor | None,  # [1, 4, h, w] as the view samples it
    ) -> Tensor:  # [1, C, h, w]
        """Sample the keys where the content of the frame was, and blend them with their weights."""
        samples = []
        for cells, (key, weight) in zip(keys[:, None], interpolation_weights(grid.key_interval, at), strict=True):
            frames, displacement = at.frame - key_frame_index(grid.key_interval, key, at.frames), None
            if motion is not None and not grid.static and frames:
                size = [int(n) for n in footprint.points.shape[1:3]]
                displacement = self._displacement(motion, frames, size) * (self.total_stride / grid.stride)
            samples.append(weight * footprint.sample(cells, displacement))
        return sum(samples[1:], start=samples[0])

    @staticmethod
    def _displacement(motion: Tensor, frames: int, size: list[int]) -> Tensor:
        """How far content has moved since a key so many frames before (or, if negative, behind) [1, 2, *size].

        In cells of the motion field, which holds velocity right and down, and its change: more since a key, and less
        until the next.
        """
        steady, change = motion.chunk(2, dim=1)
        per_frame = steady + change if frames > 0 else steady - change
        cells = (MOTION_UNIT * frames * per_frame).clamp(-MAX_DISPLACEMENT, MAX_DISPLACEMENT)
        return functional.interpolate(cells, size, mode="bilinear")

    def _motion_margin(self, grid: LatentGrid) -> int:
        """Cells around a view that it may read, for motion brings them into it."""
        moves = not grid.static and not grid.motion and any(other.motion for other in self.config.grids)
        return -(-MAX_DISPLACEMENT * self.total_stride // grid.stride) if moves else 0

    def draw(
        self,
        sampled: Sequence[Tensor],  # [1, channels, h, w], every content grid at its own resolution of the view
        modulations: Sequence[Tensor] = (),
    ) -> Tensor:  # [1, 3, H, W] in [0, 1], in whole cells
        entering: dict[int, list[Tensor]] = {stride: [] for stride in (self.total_stride, *self.strides)}
        for each, grid in zip(sampled, self.config.content_grids, strict=True):
            entering[grid.stride].append(each)
        first = torch.cat(entering[self.total_stride], dim=1)
        features, picture = self.expand(first).sin(), self.to_rgb(first)
        for stage, stride in zip(self.stages, self.strides, strict=True):
            features, picture = stage(features, picture, entering[stride])
        return torch.tanh(self.head(features) + picture) * 0.5 + 0.5

    def to_rgb_layers(self) -> list[tuple[int, nn.Conv2d]]:
        """Layers that draw the picture beside the network, each with the stride of the grids that it reads."""
        behind = [
            (stride, cast(GridStage, stage).to_rgb) for stride, stage in zip(self.strides, self.stages, strict=True)
        ]
        return [(self.total_stride, self.to_rgb), *((stride, layer) for stride, layer in behind if layer is not None)]

    def training_inputs(
        self, panorama: Tensor, frame: int, views: Sequence[Viewport], noise: torch.Generator | None
    ) -> tuple[list[Tensor], Tensor]:
        (view,) = views
        self.prepare_training(frame, views)
        read = next(found for seen, found in self._cells_read if seen == (frame, view))
        latents, bits = self.latents.sample_windows(self.training_windows(views), read, noise)
        return latents, bits / (view.width * view.height)

    def prepare_training(self, frame: int, views: Sequence[Viewport]) -> None:
        for view in views:
            if not any(seen == (frame, view) for seen, _ in self._cells_read):
                footprints, grids = self.footprints(view), self.config.grids
                by_stride = {grid.stride: each for grid, each in zip(grids, footprints, strict=True)}
                areas = {
                    stride: cells_per_sample(view, each, stride, self.total_stride)
                    for stride, each in by_stride.items()
                }
                read = CellsRead(self.latents.layout, frame, footprints, [areas[grid.stride] for grid in grids])
                self._cells_read = ((frame, view), read), *self._cells_read[:1]

    def step_latents(self, learning_rate: float, skipped: Tensor) -> None:
        """One step of the grids, by the gradients of the last `training_inputs`."""
        self.latents.step(learning_rate, skipped)

    def fitted_latents(self, panoramas: Iterable[Tensor]) -> list[Tensor]:
        return [GRID_STEP * self.latents.values(index) for index in range(len(self.config.grids))]

    def context_model(self) -> ContextModel:
        return self.latents.context_model

    def _footprint(self, view: Viewport, stride: int) -> Footprint:
        rows, columns = LatentGrid(stride, 1, 0).size(self.config.width, self.config.height)
        return Footprint.of(view, stride, rows, columns, self.total_stride, self.head.weight)
