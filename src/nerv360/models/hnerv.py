"""HNeRV (Chen et al., CVPR 2023): the paper's first baseline. Written from its paper.

Differs: the encoder is the one that all networks here share (layers/convnext.py).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nerv360.layers.upsampling import NeRVBlock
from nerv360.models.network_config import NetworkConfig
from nerv360.models.panorama_network import PanoramaNetwork

__all__ = ["HNeRV"]


class HNeRV(PanoramaNetwork):
    """Nothing but convolutions between the embedding and the panorama; the time is in the embedding alone.

    y_t ─ expand ─ stage ─ stage ─ stage ─ stage ─ head ─ panorama
     d      c2      c2/r   c2/r²   c2/r³   c2/r⁴    3
    """

    def __init__(self, config: NetworkConfig, frames: int | None = None) -> None:
        super().__init__(config, frames)
        widths = config.channels
        self.expand = NeRVBlock(config.embedding_channels, widths[0], kernel=1, stride=1)
        self.stages = nn.ModuleList(NeRVBlock(*stage) for stage in config.stages())
        self.head = nn.Conv2d(widths[-1], 3, 3, padding=1)

    def draw(self, sampled: Sequence[Tensor], modulations: Sequence[Tensor] = ()) -> Tensor:
        (embedding,) = sampled
        features = self.expand(embedding)
        for stage in self.stages:
            features = stage(features)
        return torch.tanh(self.head(features)) * 0.5 + 0.5
