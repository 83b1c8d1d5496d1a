"""NeRV360 (Arai et al., 2025): decode only the viewport, cut out of the embedding (Sec. II, Figs. 2 and 3).

Differs: what the paper leaves open is decided in docs/paper-map.md; roll and field of view can be conditions too.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nerv360.config import ModelConfig
from nerv360.geometry.rays import viewport_rays
from nerv360.geometry.sphere import lonlat_to_pixel, ray_to_lonlat
from nerv360.geometry.viewport import Viewport
from nerv360.geometry.window import Window
from nerv360.layers.convnext import ConvNeXtEncoder
from nerv360.layers.encoding import Stem, positional_encoding
from nerv360.layers.modulation import AffineResidualBlock
from nerv360.layers.upsampling import SNeRVBlock

__all__ = ["CONDITION", "STEM_HIDDEN", "Expansion", "NeRV360", "Stage"]

STEM_HIDDEN, CONDITION = 64, 32  # Boosting-NeRV


class Expansion(nn.Module):
    """Channel expansion d -> c2 (Sec. II-B): SNeRV block without upsampling, then a TAT residual block."""

    HALO = AffineResidualBlock.HALO

    def __init__(self, embedding_channels: int, channels: int) -> None:
        super().__init__()
        self.block = SNeRVBlock(embedding_channels, channels, kernel=1, stride=1)
        self.residual = AffineResidualBlock(CONDITION, channels)

    def forward(self, embedding: Tensor, condition: Tensor, window: Window | None) -> Tensor:
        return self.residual(self.block(embedding), condition, window)


class Stage(nn.Module):
    """SNeRV block, then a STAT residual block (Fig. 3)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.block = SNeRVBlock(inputs, outputs, kernel, stride)
        self.residual = AffineResidualBlock(CONDITION, outputs)

    def forward(self, features: Tensor, condition: Tensor) -> Tensor:
        return self.residual(self.block(features), condition)


class NeRV360(nn.Module):
    """The paper's model.

        x_t ─ encoder ─ y_t ─ expand ─ extract ─ stage ─ stage ─ stage ─ stage ─ head ─ viewport
                         d      c2   (yaw, pitch)  c2/r   c2/r²   c2/r³   c2/r⁴    3
                              TAT(t)            STAT(t, yaw, pitch) in every stage

    Everything but the encoder is the decoder: it is what a file holds.
    """

    def __init__(self, config: ModelConfig, with_encoder: bool = True) -> None:
        super().__init__()
        self.config = config
        widths, encoded = config.channels, 2 * config.pe_frequencies
        if with_encoder:
            self.encoder = ConvNeXtEncoder(config.encoder_strides, config.encoder_channels, config.embedding_channels)
        self.time_stem = Stem(encoded, STEM_HIDDEN, CONDITION)
        self.view_stem = Stem(encoded * (1 + len(config.conditions)), STEM_HIDDEN, CONDITION)
        self.expand = Expansion(config.embedding_channels, widths[0])
        self.stages = nn.ModuleList(Stage(*stage) for stage in config.stages())
        self.head = nn.Conv2d(widths[-1], 3, 3, padding=1)

    def windows(self, view: Viewport) -> list[Window]:
        """The part of the embedding that decoding `view` reads: one, for there is one latent."""
        footprint = Window.covering(*self._positions(view), self.config.grid_height, self.config.grid_width)
        return [footprint.grown(Expansion.HALO) if self.config.expand_first else footprint]

    def embed(self, panorama: Tensor, window: Window | None = None) -> Tensor:
        """Panorama x_t [1, 3, H, W], uint8 or in [0, 1], of any size -> embedding y_t, or a window of it."""
        return self.encoder(panorama, window or Window.whole(self.config.grid_height, self.config.grid_width))

    def analyse(
        self, panorama: Tensor, frame: int, views: Sequence[Viewport], noise: torch.Generator | None
    ) -> tuple[list[list[Tensor]], Tensor]:
        """What `decode` needs for views of a frame; the rate of embeddings is not part of the loss."""
        windows = [window for view in views for window in self.windows(view)]
        if len(windows) == 1:
            embeddings = [self.embed(panorama, windows[0])]
        else:
            whole = self.embed(panorama)
            embeddings = [window.crop(whole) for window in windows]
        return [[embedding] for embedding in embeddings], torch.zeros((), device=panorama.device)

    def refine(self, rate: float) -> None:
        """Nothing: all that is learned is in the optimiser's hands."""

    def decode(
        self,
        latents: Sequence[Tensor],  # the embedding: [1, d, rows, columns], the part of y_t named by self.windows(view)
        time: float,  # (t + 1/2) / number of frames
        view: Viewport,
    ) -> Tensor:  # [1, 3, view.height, view.width] in [0, 1]
        (embedding,) = latents
        x, y = (position.to(embedding.device) for position in self._positions(view))
        footprint = Window.covering(x, y, self.config.grid_height, self.config.grid_width)
        temporal = self.time_stem(self._encode([time]))
        spatial = self.view_stem(self._encode([time, *self._conditions(view)]))
        if self.config.expand_first:
            features = footprint.sample(self.expand(embedding, temporal, footprint), x, y)
        else:
            features = self.expand(footprint.sample(embedding, x, y), temporal, None)
        for stage in self.stages:
            features = stage(features, spatial)
        picture = torch.tanh(self.head(features)) * 0.5 + 0.5
        return picture[..., : view.height, : view.width]

    def _positions(self, view: Viewport) -> tuple[Tensor, Tensor]:
        """Where the viewport's feature cells lie on the embedding's grid."""
        lon, lat = ray_to_lonlat(viewport_rays(view, math.prod(self.config.decoder_strides), torch.float64))
        return lonlat_to_pixel(lon, lat, self.config.grid_width, self.config.grid_height)

    def _encode(self, values: list[float]) -> Tensor:
        encoded = positional_encoding(values, self.config.pe_base, self.config.pe_frequencies)
        return encoded.to(self.head.weight)

    def _conditions(self, view: Viewport) -> list[float]:
        """The conditions of STAT, each in [0, 1]; whole turns make no difference."""
        scaled = {
            "yaw": (view.yaw_deg / 360 + 0.5) % 1,
            "pitch": view.pitch_deg / 180 + 0.5,
            "roll": (view.roll_deg / 360 + 0.5) % 1,
            "fov": view.hfov_deg / 180,
        }
        return [scaled[name] for name in self.config.conditions]
