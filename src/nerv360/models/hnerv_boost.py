"""HNeRV-Boost (Zhang et al., CVPR 2024): the paper's second baseline. Written from its paper.

Differs: the encoder is the one that all networks here share (layers/convnext.py).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nerv360.geometry.viewport import Viewport
from nerv360.layers.encoding import Stem, positional_encoding
from nerv360.models.nerv360 import CONDITION, STEM_HIDDEN, Expansion, Stage
from nerv360.models.network_config import NetworkConfig
from nerv360.models.panorama_network import PanoramaNetwork
from nerv360.transfer import to_device

__all__ = ["HNeRVBoost"]


class HNeRVBoost(PanoramaNetwork):
    """The blocks of NeRV360, conditioned on time alone, on the whole panorama.

    y_t ─ expand ─ stage ─ stage ─ stage ─ stage ─ head ─ panorama
     d      c2      c2/r   c2/r²   c2/r³   c2/r⁴    3
          TAT(t)         TAT(t) in every stage, of which the last three may have two blocks
    """

    def __init__(self, config: NetworkConfig, frames: int | None = None) -> None:
        super().__init__(config, frames)
        widths = config.channels
        self.time_stem = Stem(2 * config.pe_frequencies, STEM_HIDDEN, CONDITION)
        self.expand = Expansion(config.embedding_channels, widths[0])
        self.stages = nn.ModuleList(Stage(*stage) for stage in config.blocks())
        self.head = nn.Conv2d(widths[-1], 3, 3, padding=1)

    def modulations(self, time: float, views: Sequence[Viewport]) -> list[Tensor]:
        """gamma and beta [4, 1, C, 1, 1] of every residual block."""
        encoded = positional_encoding([[time]], self.config.pe_base, self.config.pe_frequencies)
        condition = self.time_stem(to_device(encoded, self.head.weight.device, self.head.weight.dtype))
        return [block.residual.modulation(condition) for block in (self.expand, *self.stages)]

    def draw(self, sampled: Sequence[Tensor], modulations: Sequence[Tensor]) -> Tensor:
        (embedding,), (first, *behind) = sampled, modulations
        features = self.expand(embedding, first, None)
        for stage, modulation in zip(self.stages, behind, strict=True):
            features = stage(features, modulation)
        return torch.tanh(self.head(features)) * 0.5 + 0.5
