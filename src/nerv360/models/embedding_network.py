"""Networks that decode from an embedding y_t of every frame, made by an encoder that a file does not hold."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from nerv360.geometry.viewport import Viewport
from nerv360.geometry.window import Window
from nerv360.layers.convnext import ConvNeXtEncoder
from nerv360.models.decoder_network import DecoderNetwork
from nerv360.models.network_config import NetworkConfig

__all__ = ["EmbeddingNetwork"]


class EmbeddingNetwork(DecoderNetwork):
    """Base of such networks: x_t ─ encoder ─ y_t."""

    training_only = "encoder"

    def __init__(self, config: NetworkConfig, frames: int | None = None) -> None:
        super().__init__(config, frames)
        if frames is not None:
            self.encoder = ConvNeXtEncoder(config.encoder_strides, config.encoder_channels, config.embedding_channels)

    def embed(self, panorama: Tensor, window: Window | None = None) -> Tensor:
        """Panorama x_t [1, 3, H, W], uint8 or in [0, 1], of any size -> embedding y_t, or a window of it."""
        return self.encoder(panorama, window or Window.whole(self.config.grid_height, self.config.grid_width))

    def training_inputs(
        self, panorama: Tensor, frame: int, views: Sequence[Viewport], noise: torch.Generator | None
    ) -> tuple[list[Tensor], Tensor]:
        """The embedding of a frame for its views; its rate is not part of the loss."""
        embeddings = [self.embed(panorama, window.grown(self.halo)) for window in self.training_windows(views)]
        return embeddings, torch.zeros((), device=panorama.device)

    def panorama_windows(self, views: Sequence[Viewport]) -> list[Window] | None:
        targets = super().panorama_windows(views)
        if len(views) > 1 or targets is None:
            return None
        (window,) = self.windows(views[0])
        encoded = self.encoder.reads(window)
        if (encoded.height, encoded.width) != (self.config.height, self.config.width):  # the panorama is resampled
            return None
        return [encoded, *(target for target in targets if not encoded.covers(target))]

    def fitted_latents(self, panoramas: Iterable[Tensor]) -> list[Tensor]:
        return [torch.cat([self.embed(panorama).float() for panorama in panoramas])]
