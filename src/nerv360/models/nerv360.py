"""NeRV360 (Arai et al., 2025): decode only the viewport, cut out of the embedding (Sec. II, Figs. 2 and 3).

Differs: what the paper leaves open is decided in docs/paper-map.md; roll and field of view can be conditions too.
"""

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from nerv360.geometry.footprint import Footprint, window_of
from nerv360.geometry.viewport import Viewport
from nerv360.geometry.window import Window
from nerv360.latents.grid import stage_strides
from nerv360.layers.encoding import Stem, positional_encoding
from nerv360.layers.modulation import AffineResidualBlock
from nerv360.layers.upsampling import SNeRVBlock
from nerv360.models.embedding_network import EmbeddingNetwork
from nerv360.models.network_config import NetworkConfig
from nerv360.transfer import to_device

__all__ = ["CONDITION", "STEM_HIDDEN", "Expansion", "NeRV360", "Stage"]

STEM_HIDDEN, CONDITION = 64, 32  # Boosting-NeRV


class Expansion(nn.Module):
    """Channel expansion d -> c2 (Sec. II-B): SNeRV block without upsampling, then a TAT residual block."""

    HALO = AffineResidualBlock.HALO

    def __init__(self, embedding_channels: int, channels: int) -> None:
        super().__init__()
        self.block = SNeRVBlock(embedding_channels, channels, kernel=1, stride=1)
        self.residual = AffineResidualBlock(CONDITION, channels)

    def forward(self, embedding: Tensor, modulation: Tensor, window: Window | None) -> Tensor:
        return self.residual(self.block(embedding), modulation, window)


class Stage(nn.Module):
    """SNeRV block, then a STAT residual block (Fig. 3).

    Not in the paper: with "half" the residual block works before the upsampling, with "none" there is none.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, residual: str = "full") -> None:
        super().__init__()
        self.residual_at = residual
        self.block = SNeRVBlock(inputs, outputs, kernel, stride)
        if residual != "none":
            self.residual = AffineResidualBlock(CONDITION, outputs if residual == "full" else inputs)

    def modulations(self, condition: Tensor) -> list[Tensor]:
        """gamma and beta [4, N, C, 1, 1] of the residual block, if there is one."""
        return [] if self.residual_at == "none" else [self.residual.modulation(condition)]

    def forward(self, features: Tensor, modulation: Tensor | None) -> Tensor:
        if modulation is None:
            return self.block(features)
        if self.residual_at == "half":
            return self.block(self.residual(features, modulation))
        return self.residual(self.block(features), modulation)


class NeRV360(EmbeddingNetwork):
    """The paper's model.

        x_t ─ encoder ─ y_t ─ expand ─ extract ─ stage ─ stage ─ stage ─ stage ─ head ─ viewport
                         d      c2   (yaw, pitch)  c2/r   c2/r²   c2/r³   c2/r⁴    3
                              TAT(t)            STAT(t, yaw, pitch) in every stage

    Everything but the encoder is the decoder: it is what a file holds.
    """

    def __init__(self, config: NetworkConfig, frames: int | None = None) -> None:
        super().__init__(config, frames)
        widths, encoded = config.channels, 2 * config.pe_frequencies
        self.time_stem = Stem(encoded, STEM_HIDDEN, CONDITION)
        self.view_stem = Stem(encoded * (1 + len(config.conditions)), STEM_HIDDEN, CONDITION)
        self.expand = Expansion(config.embedding_channels, widths[0])
        *stages, last = config.stages()
        self.stages = nn.ModuleList([*(Stage(*stage) for stage in stages), Stage(*last, config.last_block)])
        self.head = nn.Conv2d(widths[-1], 3, 3, padding=1)

    @property
    def halo(self) -> int:
        return Expansion.HALO if self.config.expand_first else 0

    @property
    def receptive_margin(self) -> int:
        strides, block = stage_strides(self.config.decoder_strides), AffineResidualBlock.HALO
        stages = sum(k // 2 * a + block * b for k, a, b in zip(self.config.kernels, strides, strides[1:], strict=False))
        early = block * strides[-2] if self.config.last_block == "half" else 0
        return stages + early + 1 + (0 if self.config.expand_first else block * strides[0])

    def footprints(self, view: Viewport) -> list[Footprint]:
        """The viewport's feature cells on the embedding's grid: one, for there is one latent."""
        stride = math.prod(self.config.decoder_strides)
        return [Footprint.of(view, stride, *self._grid_size, stride, self.head.weight)]

    def feature_windows(self, view: Viewport) -> list[Window]:
        stride = math.prod(self.config.decoder_strides)
        return [window_of(view, stride, *self._grid_size, stride)]

    @property
    def _grid_size(self) -> tuple[int, int]:
        return self.config.grid_height, self.config.grid_width

    def features(self, latents: Sequence[Tensor], time: float, windows: Sequence[Window]) -> list[Tensor]:
        """Windows of the embedding, halo included -> the same windows expanded (all that needs no view)."""
        if not self.config.expand_first:
            return list(latents)
        (embedding,), (window,) = latents, windows
        return [self.expand(embedding, self._expansion(time), window)]

    def modulations(self, time: float, views: Sequence[Viewport]) -> list[Tensor]:
        """gamma and beta [4, N, C, 1, 1] of every residual block behind the extraction (Eq. 1)."""
        condition = self.view_stem(self._encode([[time, *self._conditions(view)] for view in views]))
        modulations = [each for stage in self.stages for each in cast(Stage, stage).modulations(condition)]
        if self.config.expand_first:
            return modulations
        return [self._expansion(time), *modulations]

    def draw(
        self,
        sampled: Sequence[Tensor],  # [1, c2, h, w] features; the embedding, where it is expanded after the extraction
        modulations: Sequence[Tensor],
    ) -> Tensor:  # [1, 3, stride h, stride w] in [0, 1]
        (features,), remaining = sampled, iter(modulations)
        if not self.config.expand_first:
            features = self.expand(features, next(remaining), None)
        for stage in self.stages:
            features = stage(features, next(remaining, None))  # the last stage may go without
        return torch.tanh(self.head(features)) * 0.5 + 0.5

    def _expansion(self, time: float) -> Tensor:
        """gamma and beta of the expansion (TAT)."""
        return self.expand.residual.modulation(self.time_stem(self._encode([[time]])))

    def _encode(self, values: list[list[float]]) -> Tensor:
        encoded = positional_encoding(values, self.config.pe_base, self.config.pe_frequencies)
        return to_device(encoded, self.head.weight.device, self.head.weight.dtype)

    def _conditions(self, view: Viewport) -> list[float]:
        """The conditions of STAT, each in [0, 1]; whole turns make no difference."""
        scaled = {
            "yaw": (view.yaw_deg / 360 + 0.5) % 1,
            "pitch": view.pitch_deg / 180 + 0.5,
            "roll": (view.roll_deg / 360 + 0.5) % 1,
            "fov": view.hfov_deg / 180,
        }
        return [scaled[name] for name in self.config.conditions]
