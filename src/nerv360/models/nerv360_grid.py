"""nerv360-grid, our own model: latent grids on the panorama, at every resolution, read along the view's rays.

Differs from NeRV360 (models/nerv360.py): there is no encoder, the latents themselves are fitted; every stage reads
latents of its own resolution, some still, some keyed in time; they know where they are, so nothing is conditioned.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from nerv360.bitstream.layout import stage_strides
from nerv360.config import ModelConfig
from nerv360.geometry.rays import viewport_rays
from nerv360.geometry.sphere import lonlat_to_pixel, ray_to_lonlat
from nerv360.geometry.viewport import Viewport
from nerv360.geometry.window import Window
from nerv360.layers.grids import Footprint, LatentGrids

__all__ = ["NeRV360Grid"]

LEAST_COSINE = 1e-2  # of the latitude: at the poles themselves a cell has no area


class GridStage(nn.Module):
    """sin(pixel_shuffle(conv(features)) + project(latents)): the latents enter at the resolution of the output."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, latents: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv2d(inputs, outputs * stride**2, kernel, padding=kernel // 2, padding_mode="replicate")
        self.project = nn.Conv2d(latents, outputs, 1, bias=False) if latents else None

    def forward(self, features: Tensor, latents: list[Tensor]) -> Tensor:
        features = functional.pixel_shuffle(self.conv(features), self.stride)
        if self.project is not None:
            features = features + self.project(torch.cat(latents, dim=1))
        return features.sin()


class NeRV360Grid(nn.Module):
    """Sampled along the view's rays, each latent grid enters the stage of its resolution.

    grids   1/24        1/8         1/4         1/2         1/1
             |           |           |           |           |
           expand ─── stage ───── stage ───── stage ───── stage ─ head ─ viewport
              c2       c3          c4          c5          c6      3
    """

    def __init__(self, config: ModelConfig, frames: int | None = None) -> None:
        """With `frames`, a network to be fitted to so many; without, one that can only decode."""
        super().__init__()
        self.config = config
        self.total_stride, *self.strides = stage_strides(config.decoder_strides)  # before and behind the stages
        widths, (first, *entering) = config.channels, config.entering()
        if frames is not None:
            self.encoder = LatentGrids(config.grids, config.width, config.height, frames)
        self.expand = nn.Conv2d(first, widths[0], 1)
        self.stages = nn.ModuleList(
            GridStage(*stage, latents) for stage, latents in zip(config.stages(), entering, strict=True)
        )
        self.head = nn.Conv2d(widths[-1], 3, 3, padding=1, padding_mode="replicate")

    def windows(self, view: Viewport) -> list[Window]:
        """The part of every grid that decoding `view` reads."""
        return [footprint.window for footprint in self._footprints(view)]

    def decode(
        self,
        latents: Sequence[Tensor],  # [1, channels, rows, columns] each, what self.windows(view) names, at this time
        time: float,  # not used: the latents are those of the time
        view: Viewport,
    ) -> Tensor:  # [1, 3, view.height, view.width] in [0, 1]
        sampled: dict[int, list[Tensor]] = {stride: [] for stride in (self.total_stride, *self.strides)}
        for latent, grid, footprint in zip(latents, self.config.grids, self._footprints(view), strict=True):
            sampled[grid.stride].append(footprint.sample(latent))
        features = self.expand(torch.cat(sampled[self.total_stride], dim=1)).sin()
        for stage, stride in zip(self.stages, self.strides, strict=True):
            features = stage(features, sampled[stride])
        picture = torch.tanh(self.head(features)) * 0.5 + 0.5
        return picture[..., : view.height, : view.width]

    def analyse(
        self, panorama: Tensor, frame: int, views: Sequence[Viewport], noise: torch.Generator | None
    ) -> tuple[list[list[Tensor]], Tensor]:
        """What `decode` needs for the one view of a frame, and its bits per decoded pixel, while fitting."""
        (view,) = views
        latents, bits = self.encoder.read(frame, self._footprints(view), noise)
        return [latents], bits / (view.width * view.height)

    def refine(self, rate: float) -> None:
        """One step of the grids, by the gradients of the last `analyse`."""
        self.encoder.step(rate)

    def _footprints(self, view: Viewport) -> list[Footprint]:
        size = (self.config.width, self.config.height)
        return [_footprint(view, grid.stride, grid.size(*size), self.total_stride) for grid in self.config.grids]


@lru_cache(maxsize=16)
@torch.inference_mode(False)  # what decoding has computed, fitting may use
def _footprint(view: Viewport, stride: int, size: tuple[int, int], total_stride: int) -> Footprint:
    """Positions on a grid of the centres of blocks of stride x stride pixels of the view."""
    rows, columns = size
    rays = viewport_rays(view, stride, torch.float64, whole=total_stride)
    lon, lat = ray_to_lonlat(rays)
    x, y = lonlat_to_pixel(lon, lat, columns, rows)
    forward = viewport_rays(Viewport(view.yaw_deg, view.pitch_deg, 0, 90, None, 1, 1), dtype=torch.float64)[0, 0, 0]
    solid_angle = (rays @ forward) ** 3 * stride**2 / math.prod(view.focal)
    density = rows * columns / (2 * math.pi**2) / lat.cos().clamp_min(LEAST_COSINE)
    return Footprint(Window.covering(x, y, rows, columns), x, y, (density * solid_angle).float())
