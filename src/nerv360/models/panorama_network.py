"""Networks that decode the whole panorama, out of which views are then cut: decode-then-crop (Fig. 1a)."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from nerv360.geometry.footprint import Footprint
from nerv360.geometry.rays import viewport_rays
from nerv360.geometry.sampling import sample_sphere
from nerv360.geometry.viewport import Viewport
from nerv360.geometry.window import Window
from nerv360.latents.grid import FrameTime
from nerv360.models.embedding_network import EmbeddingNetwork

__all__ = ["PanoramaNetwork"]


class PanoramaNetwork(EmbeddingNetwork):
    """Base of such networks; a network gives `draw`, and `modulations` that depend on the time alone.

    x_t ─ encoder ─ y_t ─ draw ─ panorama ─ present ─ viewport
                     d              3     (yaw, pitch)
    """

    draws_panorama = True

    def footprints(self, view: Viewport) -> list[Footprint]:
        """All of the embedding, as it is, whatever the view."""
        return [Footprint.everything(Window.whole(self.config.grid_height, self.config.grid_width))]

    def present(self, picture: Tensor, view: Viewport) -> Tensor:
        panorama = self._resized(picture)
        precise = torch.promote_types(panorama.dtype, torch.float32)  # directions in half precision would be pixels off
        return sample_sphere(panorama, viewport_rays(view, dtype=precise, device=panorama.device))

    def training_outputs(self, latents: Sequence[Tensor], at: FrameTime, views: Sequence[Viewport]) -> Tensor:
        """The panorama, whatever the views."""
        return self.panorama(latents, at)

    def training_targets(self, panorama: Tensor, views: Sequence[Viewport]) -> Tensor:
        return panorama.float() / 255

    def panorama_windows(self, views: Sequence[Viewport]) -> None:
        return None

    def training_share(self, view: Viewport) -> float:
        return 1.0

    def panorama(self, latents: Sequence[Tensor], at: FrameTime) -> Tensor:
        """The whole embedding at a time -> panorama [1, 3, H, W] in [0, 1]."""
        return self._resized(self.draw(latents, self.modulations(at.time, [Viewport()])))

    def _resized(self, picture: Tensor) -> Tensor:
        size = (self.config.height, self.config.width)
        if picture.shape[-2:] == size:
            return picture
        return functional.interpolate(picture, size, mode="bilinear")
