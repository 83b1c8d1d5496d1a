"""A segment that is a network: what drawing a view needs is read from the file once, computed once, and kept."""

import math
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from nerv360.backends.cache import LRUCache
from nerv360.backends.fallback import FallbackRunner
from nerv360.backends.pytorch import TorchRunner
from nerv360.backends.registry import create_runner, precision_on
from nerv360.backends.runner import Examples, Runner
from nerv360.backends.tiling import check_size, draw_in_strips
from nerv360.bitstream.container import Container, Segment
from nerv360.codec.latent_reader import LatentReader
from nerv360.codec.load_network import load_network
from nerv360.codec.resampling import as_picture, native_view, resized
from nerv360.codec.segment_decoder import Drawing, SegmentDecoder
from nerv360.codec.stitching import check_patches, patches_of, stitch
from nerv360.errors import ArgumentError, Nerv360Error
from nerv360.extract import extract_viewport
from nerv360.geometry.footprint import Footprint
from nerv360.geometry.viewport import Viewport
from nerv360.geometry.window import Window
from nerv360.latents.grid import FrameTime
from nerv360.models.memory import check_memory
from nerv360.types import Picture
from nerv360.video.camera_motion import camera_to_world, to_world_view

__all__ = ["NetworkDecoder"]

VIEWS_KEPT = 2
EXAMPLES, EXAMPLE_SIZE = 16, 240  # views, pixels: for the ranges of 8-bit numbers


class NetworkDecoder(SegmentDecoder):
    """A segment's network with its runner, and what the network draws from at a frame.

        chunks of frame t ─ latents ─ features ─ extract ─ draw ─ viewport
        └────────────────── prepare ────────────────────┘ └ runner ┘

    Kept: key groups; the features of one frame; where two views read them (how large: benchmarks/runtime/README.md).
    """

    def __init__(
        self,
        container: Container,
        segment: Segment,
        backend: str,
        device: str = "cpu",
        precision: str | None = None,
    ) -> None:
        self.container, self.segment = container, segment
        self.backend, self.device = backend, torch.device(device)
        loaded = load_network(container, segment, self.device)
        self.network, self.angles = loaded.network, loaded.angles
        if precision == "int8" and not self.network.config.spec.int8:
            raise ArgumentError(
                f"precision=int8: {segment.header.model} loses 0.8 dB by it (benchmarks/runtime/README.md); take float"
            )
        check_memory(self.network.config, "decoding", self.device, most=container.max_memory)
        self._reader = LatentReader(container, segment, loaded, self.device)
        self._footprints: LRUCache[Viewport, list[Footprint]] = LRUCache(VIEWS_KEPT)
        self._features: tuple[int, list[Window], list[Tensor]] = (-1, [], [])
        self._panoramas: LRUCache[int, Picture] = LRUCache(1)
        examples = self._examples() if precision == "int8" else None
        half = precision_on(self.device.type, precision) == "float16"
        self.runner: Runner = create_runner(backend, self.network, self.device, examples, half)

    @torch.inference_mode()
    def prepare(self, frame: int, view: Viewport, draft: bool = False) -> Drawing:
        """All of decoding but the drawing."""
        native = view if self.network.draws_panorama else self.native(view, draft)
        return NetworkDrawing(self, frame, *self.draw_inputs(frame, native), native, view)

    def native(self, view: Viewport, draft: bool) -> Viewport:
        """What is drawn for a view: it, at a focal length that the network was trained for.

        A draft has no more pixels than are asked for.
        """
        native = native_view(view, self.segment.network)
        if draft and native.width * native.height > view.width * view.height:
            native = view
        check_size(native, self.network.config, self.container.max_memory)
        return native

    @torch.inference_mode()
    def panorama(self, frame: int) -> Picture:
        """A whole frame: drawn, or stitched from overlapping viewports."""
        views, header = patches_of(self.segment.network), self.container.header
        if self.network.draws_panorama:
            return self.drawn_panorama(frame, *self.draw_inputs(frame, views[0])).copy()
        check_patches(views, header.width * header.height, self.container.max_memory)
        patches = [(view, self.prepare(frame, view).draw()) for view in views]
        return as_picture(stitch(patches, header.width, header.height))

    def warm_up(self, frame: int, view: Viewport) -> None:
        """Have the network compiled for such a view; a panorama is drawn when it is asked for."""
        if not self.network.draws_panorama:
            with suppress(Nerv360Error):  # whoever asks for the view is told
                self.prepare(frame, view).draw()

    def hurry(self, executor: Executor) -> None:
        """Draw by PyTorch until the network is compiled."""
        if self.backend != "torch":
            self.runner = FallbackRunner(self.runner, TorchRunner(self.network, self.device), executor)

    def drawn_panorama(self, frame: int, sampled: list[Tensor], modulations: list[Tensor]) -> Picture:
        """The panorama of a frame, by a network that decodes nothing else; the last one is kept."""

        def draw() -> Picture:
            header = self.container.header
            return resized(self.runner.draw(sampled, modulations), header.width, header.height)

        return self._panoramas.get(frame, draw)

    def draw_inputs(self, frame: int, view: Viewport) -> tuple[list[Tensor], list[Tensor]]:
        """What `draw` takes for a view of a frame of the segment: sampled features, and modulations."""
        view = self.world_view(frame, view)
        footprints = self._footprints.get(view, partial(self.network.footprints, view))
        features = self._features_at(frame, [footprint.window for footprint in footprints])
        at = self.at(frame)
        return self.network.sample(features, footprints, at), self.network.modulations(at.time, [view])

    def preload(self, frame: int) -> None:
        """Have the latents of a frame in memory."""
        self._reader.preload(self.at(frame))

    def world_view(self, frame: int, view: Viewport) -> Viewport:
        """A view of the camera, as a view on the sphere that the network knows."""
        return view if self.angles is None else to_world_view(view, camera_to_world(self.angles[frame]))

    def latents(self, frame: int, view: Viewport) -> list[Tensor]:
        """What `network.decode` takes for a view, in the world, of a frame of the segment."""
        windows = self.network.windows(view)
        return [self._reader.window(index, self.at(frame), window) for index, window in enumerate(windows)]

    def at(self, frame: int) -> FrameTime:
        """Time of a frame of the segment."""
        return FrameTime(frame, self.segment.frames)

    @torch.inference_mode()
    def _examples(self) -> Examples:
        """What `draw` takes for small views of frames all over the segment."""
        frames, header = self.segment.frames, self.segment.network
        picked = [index * (frames - 1) // (EXAMPLES - 1) for index in range(EXAMPLES)]
        focal = header.trained_view().focal[0]
        width, height = min(EXAMPLE_SIZE, header.view_width), min(EXAMPLE_SIZE, header.view_height)
        hfov_deg = 2 * math.degrees(math.atan(width / 2 / focal))
        views = [
            Viewport(137.5 * index, 60 - 120 * index / EXAMPLES, 0, hfov_deg, None, width, height)
            for index in range(EXAMPLES)
        ]
        return [self.draw_inputs(frame, view) for frame, view in zip(picked, views, strict=True)]

    def _features_at(self, frame: int, windows: list[Window]) -> list[Tensor]:
        """Windows of the features of a frame. Where features have to be computed, one view of a frame computes what it
        reads, and a second one the whole."""
        held, sources, features = self._features
        if held != frame or not all(s.covers(w) for s, w in zip(sources, windows, strict=True)):
            again = held == frame and self.network.halo > 0
            sources = [Window.whole(w.height, w.width) for w in windows] if again else windows
            at, halo = self.at(frame), self.network.halo
            latents = [self._reader.window(index, at, source.grown(halo)) for index, source in enumerate(sources)]
            features = self.network.features(latents, at.time, sources)
            self._features = (frame, sources, features)
        return [w.crop(each, s) for w, each, s in zip(windows, features, sources, strict=True)]


@dataclass(frozen=True)
class NetworkDrawing:
    """A view of a frame, ready to be drawn by a runner alone."""

    decoder: NetworkDecoder
    frame: int
    sampled: list[Tensor]
    modulations: list[Tensor]
    native: Viewport  # what is drawn
    view: Viewport  # what is wanted

    @torch.inference_mode()
    def draw(self) -> Picture:
        """The view; from a network that decodes panoramas, it is cut."""
        decoder, native = self.decoder, self.native
        if decoder.network.draws_panorama:
            panorama = decoder.drawn_panorama(self.frame, self.sampled, self.modulations)
            return extract_viewport(panorama, self.view)
        picture = draw_in_strips(decoder.runner, decoder.network, self.sampled, self.modulations)
        picture = np.ascontiguousarray(picture[: native.height, : native.width])
        return resized(picture, self.view.width, self.view.height)
