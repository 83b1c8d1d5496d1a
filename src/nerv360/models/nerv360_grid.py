"""nerv360-grid, our own model: latent grids on the panorama, at every resolution, read along the view's rays.

Differs from NeRV360 (models/nerv360.py): there is no encoder, the latents themselves are fitted; every stage reads
latents of its own resolution, some still, some keyed in time; they know where they are, so nothing is conditioned.
"""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from nerv360.config import ModelConfig
from nerv360.geometry.footprint import Footprint, cells_per_sample
from nerv360.geometry.viewport import Viewport
from nerv360.latents.grid import FrameTime, LatentGrid, interpolation_weights, key_frame_index, stage_strides
from nerv360.latents.latent_grids import LatentGrids
from nerv360.layers.upsampling import pixel_shuffle
from nerv360.models.viewport_decoder import ViewportDecoder

__all__ = ["NeRV360Grid"]


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
            latent_channels_per_stage = torch.cat(latents, dim=1)
            features, picture = (
                features + self.project(latent_channels_per_stage),
                picture + self.to_rgb(latent_channels_per_stage),
            )
        return features.sin(), picture


MOTION_UNIT = 1 / 48  # of a cell of the motion per frame
MAX_DISPLACEMENT = 1  # cells of the motion that a key is displacement by at most


class NeRV360Grid(ViewportDecoder):
    """Sampled along the view's rays, each latent grid enters the stage of its resolution, and a picture beside it.

    grids   1/24        1/8         1/4         1/2         1/1
             |           |           |           |           |
           expand ─── stage ───── stage ───── stage ───── stage ─ head
             |c2       |c3         |c4         |c5         |c6     + ── viewport
           to_rgb ─── + ───────── + ───────── + ───────── + ───────┘
    """

    training_only = "latents"

    def __init__(self, config: ModelConfig, frames: int | None = None) -> None:
        """With `frames`, a network to be fitted to so many; without, one that can only decode."""
        super().__init__()
        self.config = config
        self.total_stride, *self.strides = stage_strides(config.decoder_strides)  # before and behind the stages
        widths, (first, *latent_channels_per_stage) = config.channels, config.latent_channels_per_stage()
        if frames is not None:
            self.latents = LatentGrids(config.grids, config.width, config.height, frames, config.group_size)
        self.expand = nn.Conv2d(first, widths[0], 1)
        self.to_rgb = nn.Conv2d(first, 3, 1, bias=False)
        self.stages = nn.ModuleList(
            GridStage(*stage, latents)
            for stage, latents in zip(config.stages(), latent_channels_per_stage, strict=True)
        )
        self.head = nn.Conv2d(widths[-1], 3, 3, padding=1, padding_mode="replicate")
        self._latest: tuple[Viewport, list[Footprint]] | None = None  # a step of fitting asks twice

    @property
    def reach(self) -> int:
        before = (self.total_stride, *self.strides)
        return max(
            sum(k // 2 * stride for k, stride in zip(self.config.kernels, before, strict=False)) + 1,
            sum(-(-stride // 2) for stride in before[:-1]),  # of the picture, which is upsampled
        )

    @torch.inference_mode(False)  # what decoding has computed, fitting may use
    @torch.no_grad()
    def footprints(self, view: Viewport) -> list[Footprint]:
        if self._latest and self._latest[0] == view:
            return self._latest[1]
        by_stride = {stride: self._footprint(view, stride) for stride in {grid.stride for grid in self.config.grids}}
        grown = [by_stride[grid.stride].grown(self._margin(grid)) for grid in self.config.grids]
        self._latest = view, grown
        return grown

    def sample(self, features: Sequence[Tensor], footprints: Sequence[Footprint], moment: FrameTime) -> list[Tensor]:
        """Of every grid but the motion: its keys around the moment, displacement to it and mixed."""
        read = list(zip(self.config.grids, features, footprints, strict=True))
        motion = next((self._interpolate_keys(*each, moment, None) for each in read if each[0].motion), None)
        return [self._interpolate_keys(*each, moment, motion) for each in read if not each[0].motion]

    def _interpolate_keys(
        self, grid: LatentGrid, keys: Tensor, footprint: Footprint, moment: FrameTime, motion: Tensor | None
    ) -> Tensor:
        """What a view reads of a grid's keys [keys, C, rows, columns], displacement along the motion [1, 4, h, w]:

        how far its content goes in a frame, right and down, and by how much more since a key, and less until the next.
        """
        parts = []
        for cells, (key, weight) in zip(keys[:, None], interpolation_weights(grid.key_interval, moment), strict=True):
            frames, displacement = moment.frame - key_frame_index(grid.key_interval, key, moment.frames), None
            if motion is not None and grid.key_interval and frames:
                steady, change = motion.chunk(2, dim=1)
                per_frame = steady + change if frames > 0 else steady - change
                cells_moved = (MOTION_UNIT * frames * per_frame).clamp(-MAX_DISPLACEMENT, MAX_DISPLACEMENT)
                size = [int(n) for n in footprint.points.shape[1:3]]
                displacement = functional.interpolate(cells_moved, size, mode="bilinear") * (
                    self.total_stride / grid.stride
                )
            parts.append(weight * footprint.sample(cells, displacement))
        return sum(parts[1:], start=parts[0])

    def _margin(self, grid: LatentGrid) -> int:
        """Cells around a view that it may read, for they move into it."""
        moves = grid.key_interval > 0 and not grid.motion and any(other.motion for other in self.config.grids)
        return -(-MAX_DISPLACEMENT * self.total_stride // grid.stride) if moves else 0

    def draw(
        self,
        sampled: Sequence[Tensor],  # [1, channels, h, w], every grid but the motion at its own resolution of the view
        modulations: Sequence[Tensor] = (),
    ) -> Tensor:  # [1, 3, H, W] in [0, 1], in whole cells
        latent_channels_per_stage: dict[int, list[Tensor]] = {
            stride: [] for stride in (self.total_stride, *self.strides)
        }
        for each, grid in zip(sampled, self.config.content_grids, strict=True):
            latent_channels_per_stage[grid.stride].append(each)
        first = torch.cat(latent_channels_per_stage[self.total_stride], dim=1)
        features, picture = self.expand(first).sin(), self.to_rgb(first)
        for stage, stride in zip(self.stages, self.strides, strict=True):
            features, picture = stage(features, picture, latent_channels_per_stage[stride])
        return torch.tanh(self.head(features) + picture) * 0.5 + 0.5

    def to_rgb_layers(self) -> list[tuple[int, nn.Conv2d]]:
        """Those that draw the picture beside the network, and the stride of the grids that they read."""
        behind = [
            (stride, cast(GridStage, stage).to_rgb) for stride, stage in zip(self.strides, self.stages, strict=True)
        ]
        return [(self.total_stride, self.to_rgb), *((stride, layer) for stride, layer in behind if layer is not None)]

    def training_inputs(
        self, panorama: Tensor, frame: int, views: Sequence[Viewport], noise: torch.Generator | None
    ) -> tuple[list[list[Tensor]], Tensor]:
        """What `decode` needs for the one view of a frame, and its bits per decoded pixel, while fitting."""
        (view,) = views
        footprints = self.footprints(view)
        by_stride = {grid.stride: each for grid, each in zip(self.config.grids, footprints, strict=True)}
        cells = {stride: cells_per_sample(view, each, stride, self.total_stride) for stride, each in by_stride.items()}
        latents, bits = self.latents.sample_windows(
            frame, footprints, [cells[grid.stride] for grid in self.config.grids], noise
        )
        return [latents], bits / (view.width * view.height)

    def step_latents(self, rate: float) -> None:
        """One step of the grids, by the gradients of the last `training_inputs`."""
        self.latents.step(rate)

    def _footprint(self, view: Viewport, stride: int) -> Footprint:
        rows, columns = LatentGrid(stride, 1, 0).size(self.config.width, self.config.height)
        return Footprint.of(view, stride, rows, columns, self.total_stride, self.head.weight)
