"""Networks that decode the whole panorama, out of which views are then cut: the conventional road (Fig. 1a)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from nerv360.config import ModelConfig
from nerv360.geometry.rays import viewport_rays
from nerv360.geometry.sampling import sample_sphere
from nerv360.geometry.viewport import Viewport
from nerv360.geometry.window import Window
from nerv360.latents.grid import FrameTime
from nerv360.layers.convnext import ConvNeXtEncoder

__all__ = ["PanoramaDecoder"]


class PanoramaDecoder(nn.Module):
    """What such networks share; a network gives `draw`.

    x_t ─ encoder ─ y_t ─ draw ─ panorama ─ extract ─ viewport
                     d              3     (yaw, pitch)
    """

    training_only = "encoder"

    def __init__(self, config: ModelConfig, with_encoder: bool) -> None:
        super().__init__()
        self.config = config
        if with_encoder:
            self.encoder = ConvNeXtEncoder(config.encoder_strides, config.encoder_channels, config.embedding_channels)

    def modulations(self, time: float) -> list[Tensor]:
        """What conditions `draw`."""
        return []

    def draw(self, sampled: Sequence[Tensor], modulations: Sequence[Tensor]) -> Tensor:
        """The embedding y_t [1, d, rows, columns] -> panorama [1, 3, stride rows, stride columns] in [0, 1]."""
        raise NotImplementedError

    def panorama(self, latents: Sequence[Tensor], time: float) -> Tensor:
        """The whole embedding, at that time -> panorama [1, 3, H, W] in [0, 1]."""
        drawn = self.draw(latents, self.modulations(time))
        if drawn.shape[-2:] == (self.config.height, self.config.width):
            return drawn
        return functional.interpolate(drawn, (self.config.height, self.config.width), mode="bilinear")

    def decode(self, latents: Sequence[Tensor], moment: FrameTime, view: Viewport) -> Tensor:
        """The whole embedding, at that time -> viewport [1, 3, view.height, view.width] in [0, 1]."""
        panorama = self.panorama(latents, moment.time)
        precise = torch.promote_types(panorama.dtype, torch.float32)  # directions in half precision would be pixels off
        return sample_sphere(panorama, viewport_rays(view, dtype=precise, device=panorama.device))

    def windows(self, view: Viewport) -> list[Window]:
        """All of the embedding, whatever the view."""
        return [Window.whole(self.config.grid_height, self.config.grid_width)]

    def embed(self, panorama: Tensor) -> Tensor:
        """Panorama x_t [1, 3, H, W], uint8 or in [0, 1], of any size -> embedding y_t [1, d, rows, columns]."""
        return self.encoder(panorama, Window.whole(self.config.grid_height, self.config.grid_width))

    def training_inputs(
        self, panorama: Tensor, frame: int, views: Sequence[Viewport], noise: torch.Generator | None
    ) -> tuple[list[list[Tensor]], Tensor]:
        """What `panorama` and `decode` need of a frame; the rate of embeddings is not part of the loss."""
        return [[self.embed(panorama)]] * len(views), torch.zeros((), device=panorama.device)

    def step_latents(self, rate: float) -> None:
        """Nothing: all that is learned is in the optimiser's hands."""
