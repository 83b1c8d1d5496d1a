"""Networks that decode only the view (NeRV360, Fig. 1b)."""

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from nerv360.config import ModelConfig
from nerv360.geometry.footprint import Footprint
from nerv360.geometry.viewport import Viewport
from nerv360.geometry.window import Window
from nerv360.latents.grid import FrameTime

__all__ = ["ViewportDecoder"]


class ViewportDecoder(nn.Module):
    """What such networks share; a network gives `footprints` and `draw`, and the other steps where it has them.

        latents ─ features ─ sample ─ draw ─ viewport
                             (view)     │
        time, view ─ modulations ────────┘

    Features depend on the frame, footprints on the view, modulations on both: who shows many views of a frame, or many
    frames in one view, keeps what does not change. `draw` is nothing but convolutions on arrays of a fixed size.
    """

    config: ModelConfig
    training_only: ClassVar[str]  # the module that a file does not hold

    def footprints(self, view: Viewport) -> list[Footprint]:
        """Where `view` reads the features of each latent."""
        raise NotImplementedError

    def draw(self, sampled: Sequence[Tensor], modulations: Sequence[Tensor]) -> Tensor:
        """What the view reads [1, C, h, w] each -> its picture [1, 3, H, W] in [0, 1], in whole cells."""
        raise NotImplementedError

    @property
    def reach(self) -> int:
        """Pixels around one of the picture on whose features `draw` depends for it."""
        raise NotImplementedError

    @property
    def halo(self) -> int:
        """Cells around what a view reads on which its features depend."""
        return 0

    def features(self, latents: Sequence[Tensor], time: float, windows: Sequence[Window]) -> list[Tensor]:
        """Those windows of the latents, halo included -> of the features: all that can be done without a view."""
        return list(latents)

    def modulations(self, time: float, view: Viewport) -> list[Tensor]:
        """What conditions `draw`."""
        return []

    def sample(self, features: Sequence[Tensor], footprints: Sequence[Footprint], moment: FrameTime) -> list[Tensor]:
        """Windows of the features -> what the view reads [1, C, h, w] each."""
        return [footprint.sample(each) for footprint, each in zip(footprints, features, strict=True)]

    def windows(self, view: Viewport) -> list[Window]:
        """The part of every latent that decoding `view` reads."""
        return [footprint.window.grown(self.halo) for footprint in self.footprints(view)]

    def decode(
        self,
        latents: Sequence[Tensor],  # [keys, channels, rows, columns] each, what self.windows(view) names
        moment: FrameTime,
        view: Viewport,
    ) -> Tensor:  # [1, 3, view.height, view.width] in [0, 1]
        footprints = self.footprints(view)
        features = self.features(latents, moment.time, [footprint.window for footprint in footprints])
        picture = self.draw(self.sample(features, footprints, moment), self.modulations(moment.time, view))
        return picture[..., : view.height, : view.width]
