"""The contract of every network: what training, the codec, backends and exports ask of it. There is one decode path."""

from collections.abc import Iterable, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from nerv360.geometry.footprint import Footprint, window_of
from nerv360.geometry.viewport import Viewport
from nerv360.geometry.window import Window
from nerv360.latents.context_model import ContextModel
from nerv360.latents.grid import FrameTime
from nerv360.models.network_config import NetworkConfig

__all__ = ["DecoderNetwork"]


class DecoderNetwork(nn.Module):
    """A network that decodes views (NeRV360, Fig. 1b). One that decodes panoramas overrides some (panorama_network.py).

        latents ─ features ─ sample ─ draw ─ present ─ viewport
                             (view)     │     (view)
        time, view ─ modulations ───────┘

    Features depend on the frame, footprints on the view, modulations on both: players keep what does not change.
    `draw` is nothing but convolutions on arrays of a fixed size.
    """

    training_only: ClassVar[str]  # name of the module that a file does not hold
    draws_panorama: ClassVar[bool] = False  # `draw` gives the panorama, whatever the view

    config: NetworkConfig

    def __init__(self, config: NetworkConfig, frames: int | None = None) -> None:
        """With `frames`, a network to be fitted to so many; without, one that can only decode."""
        super().__init__()
        self.config = config

    # Decoding

    def footprints(self, view: Viewport) -> list[Footprint]:
        """Where `view` reads the features of each latent."""
        raise NotImplementedError

    def draw(self, sampled: Sequence[Tensor], modulations: Sequence[Tensor]) -> Tensor:
        """What views read [N, C, h, w] each -> their pictures [N, 3, H, W] in [0, 1], in whole cells."""
        raise NotImplementedError

    @property
    def receptive_margin(self) -> int:
        """Pixels around one of the picture on whose features `draw` depends for it."""
        raise NotImplementedError

    @property
    def halo(self) -> int:
        """Cells around what a view reads on which its features depend."""
        return 0

    def features(self, latents: Sequence[Tensor], time: float, windows: Sequence[Window]) -> list[Tensor]:
        """Latents of those windows, halo included -> their features: all that can be done without a view."""
        return list(latents)

    def modulations(self, time: float, views: Sequence[Viewport]) -> list[Tensor]:
        """What conditions `draw`, for pictures of these views."""
        return []

    def sample(self, features: Sequence[Tensor], footprints: Sequence[Footprint], at: FrameTime) -> list[Tensor]:
        """Windows of the features -> what the view reads [1, C, h, w] each."""
        return [footprint.sample(each) for footprint, each in zip(footprints, features, strict=True)]

    def present(self, picture: Tensor, view: Viewport) -> Tensor:
        """What `draw` gives -> the view [1, 3, view.height, view.width]."""
        return picture[..., : view.height, : view.width]

    def feature_windows(self, view: Viewport) -> list[Window]:
        """The part of every latent whose features `view` reads."""
        return [footprint.window for footprint in self.footprints(view)]

    def windows(self, view: Viewport) -> list[Window]:
        """The part of every latent that decoding `view` reads."""
        return [window.grown(self.halo) for window in self.feature_windows(view)]

    def decode(
        self,
        latents: Sequence[Tensor],  # [keys, channels, rows, columns] each, what self.windows(view) names
        at: FrameTime,
        view: Viewport,
    ) -> Tensor:  # [1, 3, view.height, view.width] in [0, 1]
        footprints = self.footprints(view)
        features = self.features(latents, at.time, [footprint.window for footprint in footprints])
        return self.present(self.draw(self.sample(features, footprints, at), self.modulations(at.time, [view])), view)

    # Training

    def training_windows(self, views: Sequence[Viewport]) -> list[Window]:
        """The part of every latent whose features a step needs: that of its view, or of several views the whole."""
        windows = self.feature_windows(views[0])
        return windows if len(views) == 1 else [Window.whole(each.height, each.width) for each in windows]

    def training_inputs(
        self, panorama: Tensor, frame: int, views: Sequence[Viewport], noise: torch.Generator | None
    ) -> tuple[list[Tensor], Tensor]:
        """Latents of a frame in `training_windows`, halo included, and their bits per decoded pixel.

        With a generator, noise stands in for rounding.
        """
        raise NotImplementedError

    def prepare_training(self, frame: int, views: Sequence[Viewport]) -> None:
        """Make what `training_inputs` needs of these views of a frame and nothing else, for the step after this one."""

    def training_outputs(self, latents: Sequence[Tensor], at: FrameTime, views: Sequence[Viewport]) -> Tensor:
        """What the loss sees [N, 3, h, w] of `training_inputs`; the views, of one size, are drawn in one pass."""
        read = self.training_windows(views)
        features = self.features(latents, at.time, read)
        sampled = []
        for view in views:
            footprints = self.footprints(view)
            own = [
                footprint.window.crop(each, window)
                for footprint, each, window in zip(footprints, features, read, strict=True)
            ]
            sampled.append(self.sample(own, footprints, at))
        together = [torch.cat(each) for each in zip(*sampled, strict=True)]
        return self.present(self.draw(together, self.modulations(at.time, views)), views[0])

    def training_targets(self, panorama: Tensor, views: Sequence[Viewport]) -> Tensor:
        """What `training_outputs` should be, out of the panorama [1, 3, H, W] uint8."""
        return torch.cat([_crop_view(panorama, view) for view in views]) / 255

    def panorama_windows(self, views: Sequence[Viewport]) -> list[Window] | None:
        """What training reads of a panorama for these views of it, on the grid of its pixels; None: all of it."""
        return [window_of(view, 1, self.config.height, self.config.width, 1) for view in views]

    def training_share(self, view: Viewport) -> float:
        """Share of the panorama's pixels that a training output has."""
        return view.share

    def step_latents(self, learning_rate: float, skipped: Tensor) -> None:
        """One step of what the optimiser does not hold; none where `skipped`, of the network's device, is true."""

    def fitted_latents(self, panoramas: Iterable[Tensor]) -> list[Tensor]:
        """Latents [keys, channels, rows, columns] of a clip, whose frames are [1, 3, H, W]."""
        raise NotImplementedError

    def context_model(self) -> ContextModel:
        """Context model that the last fit, to the final integers, begins with."""
        return ContextModel(sum(latent.channels for latent in self.config.latents))


def _crop_view(panorama: Tensor, view: Viewport) -> Tensor:
    """The view [1, 3, h, w] of a panorama, in 0..255: its window is known without the device."""
    rows, columns = panorama.shape[-2:]
    footprint = Footprint.of(view, 1, rows, columns, 1, panorama)
    return footprint.sample(footprint.window.crop(panorama).float())
