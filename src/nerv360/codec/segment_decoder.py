"""What drawing a view needs of a segment: read from the file once, computed once, and kept."""

import math
from functools import partial

import numpy as np
import torch
from torch import Tensor

from nerv360.backends.cache import LRUCache
from nerv360.backends.registry import create_runner
from nerv360.backends.runner import Examples, Runner
from nerv360.bitstream.container import Container, Segment
from nerv360.codec.load_network import load_network
from nerv360.errors import ArgumentError, BitstreamError
from nerv360.geometry.footprint import Footprint
from nerv360.geometry.viewport import Viewport
from nerv360.geometry.window import Window
from nerv360.latents.grid import FrameTime, interpolation_weights
from nerv360.latents.integer_context_model import read_latent
from nerv360.latents.quantization import dequantize_latent
from nerv360.models.memory import check_memory
from nerv360.models.panoramic import PanoramaDecoder
from nerv360.video.camera_motion import camera_to_world, to_world_view

__all__ = ["SegmentReader"]

PARTS_KEPT, PARTS_ROOM = 2, 64 << 20  # chunks of each latent; more of them where all take no more than so many bytes
VIEWS_KEPT = 2
EXAMPLES, EXAMPLE_SIZE = 16, 240  # views, pixels: for the ranges of 8-bit numbers


class SegmentReader:
    """A segment's network, and what its latents are at a frame.

    Kept: the network and its runner; chunks of latents, decoded; the features of one frame; where two views read them
    (docs/performance.md says how large that is).
    """

    def __init__(
        self, container: Container, segment: Segment, backend: str, device: torch.device, precision: str = "float"
    ) -> None:
        self.container, self.segment, self.device = container, segment, device
        if precision == "int8" and segment.header.model.startswith("hnerv"):
            raise ArgumentError(
                f"precision=int8: {segment.header.model} loses 0.8 dB by it (docs/performance.md); take float"
            )
        network = load_network(container, segment, device)
        self.model, self.angles = network.model, network.angles
        self.quantizers, self.contexts = network.quantizers, network.contexts
        check_memory(self.model.config, "decoding", device)
        self._parts: LRUCache[int, Tensor] = LRUCache(
            PARTS_KEPT * len(segment.latents), PARTS_ROOM, lambda part: part.nbytes
        )
        self._footprints: LRUCache[Viewport, list[Footprint]] = LRUCache(VIEWS_KEPT)
        self._features: tuple[int, list[Window], list[Tensor]] = (-1, [], [])
        examples = self._examples() if precision == "int8" else None
        self.runner: Runner = create_runner(backend, self.model, device, examples)

    def sampled(self, frame: int, view: Viewport) -> tuple[list[Tensor], list[Tensor]]:
        """What `draw` takes for a view of a frame of the segment: features along the view's rays, and modulations."""
        assert not isinstance(self.model, PanoramaDecoder)
        view = self.world(frame, view)
        footprints = self._footprints.get(view, partial(self.model.footprints, view))
        features = self._features_at(frame, [footprint.window for footprint in footprints])
        moment = self.moment(frame)
        return self.model.sample(features, footprints, moment), self.model.modulations(moment.time, view)

    def whole(self, frame: int) -> tuple[list[Tensor], list[Tensor]]:
        """What `draw` takes where it draws whole panoramas."""
        assert isinstance(self.model, PanoramaDecoder)
        config = self.model.config
        everything = Window.whole(config.grid_height, config.grid_width)
        return [self._latent(0, frame, everything)], self.model.modulations(self.moment(frame).time)

    def read(self, frame: int) -> None:
        """Have the chunks of a frame in memory."""
        for latent, each in enumerate(self.segment.latents):
            for key, _ in interpolation_weights(each.key_interval, self.moment(frame)):
                self._part(self.segment.chunk_of(latent, key))

    def world(self, frame: int, view: Viewport) -> Viewport:
        """A view of the camera, as a view on the sphere that the network knows."""
        return view if self.angles is None else to_world_view(view, camera_to_world(self.angles[frame]))

    def latents(self, frame: int, view: Viewport) -> list[Tensor]:
        """What `network.decode` takes for a view, in the world, of a frame of the segment."""
        return [self._latent(i, frame, window) for i, window in enumerate(self.model.windows(view))]

    def moment(self, frame: int) -> FrameTime:
        return FrameTime(frame, self.segment.frames)

    @torch.inference_mode()
    def _examples(self) -> Examples:
        """What `draw` takes for small views of frames all over the segment."""
        frames, header = self.segment.frames, self.segment.header
        picked = [index * (frames - 1) // (EXAMPLES - 1) for index in range(EXAMPLES)]
        assert not isinstance(self.model, PanoramaDecoder)
        focal = header.trained_view().focal[0]
        width, height = min(EXAMPLE_SIZE, header.view_width), min(EXAMPLE_SIZE, header.view_height)
        hfov_deg = 2 * math.degrees(math.atan(width / 2 / focal))
        return [
            self.sampled(frame, Viewport(137.5 * index, 60 - 120 * index / EXAMPLES, 0, hfov_deg, None, width, height))
            for index, frame in enumerate(picked)
        ]

    def _features_at(self, frame: int, windows: list[Window]) -> list[Tensor]:
        """Windows of the features of a frame. Where features have to be computed, one view of a frame computes what it
        reads, and a second one the whole."""
        assert not isinstance(self.model, PanoramaDecoder)
        held, sources, features = self._features
        if held != frame or not all(s.covers(w) for s, w in zip(sources, windows, strict=True)):
            again = held == frame and self.model.halo > 0
            sources = [Window.whole(w.height, w.width) for w in windows] if again else windows
            latents = [self._latent(i, frame, source.grown(self.model.halo)) for i, source in enumerate(sources)]
            features = self.model.features(latents, self.moment(frame).time, sources)
            self._features = (frame, sources, features)
        return [w.crop(each, s) for w, each, s in zip(windows, features, sources, strict=True)]

    def _latent(self, latent: int, frame: int, window: Window) -> Tensor:
        """A window [keys, channels, rows, columns] of the keys of a latent around a frame."""
        keys = interpolation_weights(self.segment.latents[latent].key_interval, self.moment(frame))
        return torch.cat([self._key(latent, key, window) for key, _ in keys])

    def _key(self, latent: int, key: int, window: Window) -> Tensor:
        chunk = self.segment.chunk_of(latent, key)
        symbols = window.crop(self._part(chunk)[key - self.segment.key_groups[chunk - 2].first_key][None]).numpy()
        channels = [dequantize_latent(symbols[:, i], scaling) for i, scaling in enumerate(self.quantizers[latent])]
        return torch.from_numpy(np.stack(channels, axis=1)).to(self.device)

    def _part(self, chunk: int) -> Tensor:
        return self._parts.get(chunk, partial(self._read_part, chunk))

    def _read_part(self, chunk: int) -> Tensor:
        """Keys [keys, channels, rows, columns] of a latent: the integers of the file, in as few bytes as they fit."""
        part, header = self.segment.key_groups[chunk - 2], self.container.header
        rows, columns = self.segment.latents[part.latent].size(header.width, header.height)
        *others, channels = (latent.channels for latent in self.segment.latents[: part.latent + 1])
        before = sum(others)
        try:
            symbols = read_latent(
                self.container.chunk(self.segment, chunk), self.contexts, before, (part.keys, channels, rows, columns)
            )
        except BitstreamError as error:
            raise BitstreamError(f"{self.container.path}: {error}") from None
        small = np.abs(symbols).max() <= np.iinfo(np.int8).max
        return torch.from_numpy(symbols.astype(np.int8) if small else symbols)
