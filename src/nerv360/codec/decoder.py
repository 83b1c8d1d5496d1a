"""A .nerv360 file -> any view of any frame."""

import math
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from types import TracebackType

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from nerv360.backends.cache import LRUCache
from nerv360.backends.fallback import FallbackRunner
from nerv360.backends.pytorch import TorchRunner
from nerv360.backends.registry import check_precision, choose_backend
from nerv360.backends.tiling import check_pixels, check_size, draw_in_strips
from nerv360.bitstream.container import Container, Segment
from nerv360.bitstream.header import SegmentHeader
from nerv360.codec.segment_decoder import SegmentDecoder
from nerv360.codec.stitching import patches_of, stitch
from nerv360.errors import ArgumentError, Nerv360Error
from nerv360.extract import extract_viewport
from nerv360.geometry.viewport import Viewport
from nerv360.storage import Location
from nerv360.types import Colour, Picture

__all__ = ["Decoder", "open_file"]

SEGMENTS_KEPT = 3
OPEN_AHEAD_SECONDS = 2.0  # before a segment's end, the next one is opened
AHEAD = 2  # views that `play` prepares while one is drawn
FOCAL_TOLERANCE = 0.15  # where the two ways are level, on the short side: benchmarks/focal.tsv
MAX_NATIVE_PIXELS = 1 << 23  # of a view that is decoded larger than asked for


@dataclass(frozen=True)
class RenderRequest:
    """A view of a frame, ready to be drawn: by a runner alone, on any thread."""

    frame_index: int
    segment: SegmentDecoder
    sampled: list[Tensor]
    modulations: list[Tensor]
    native: Viewport  # what is drawn
    view: Viewport  # what is wanted


def open_file(
    path: Location, *, backend: str | None = None, device: str = "cpu", precision: str = "float"
) -> "Decoder":
    """Open a .nerv360 file for decoding. The backend is, by default, the fastest that is installed.

    Raises BitstreamError for a file that is damaged, foreign, or of a newer version; ArgumentError, MissingExtra for
    a backend or a device that is not there.
    """
    chosen = choose_backend(backend, device)
    check_precision(precision, chosen)
    return Decoder(Container(path), chosen, torch.device(device), precision)


class Decoder:
    """An open .nerv360 file. Reads and keeps what the views asked for need, and no more; a context manager.

        file ─ chunks of frame t ─ latents ─ features ─ extract ─ draw ─ viewport
        └──────────── segment decoder ────────────────────────┘ └ runner ┘

    A decoder belongs to one thread at a time. On threads of its own it reads ahead, and opens the next segment before
    the present one ends. A few segments are kept open.
    """

    def __init__(self, container: Container, backend: str, device: torch.device, precision: str = "float") -> None:
        self.container = container
        self.backend, self.device, self.precision = backend, device, precision
        self._decoders: LRUCache[int, Future[SegmentDecoder]] = LRUCache(SEGMENTS_KEPT)
        self._panoramas: LRUCache[int, Picture] = LRUCache(1)
        self._reading = threading.Lock()
        self._ahead = ThreadPoolExecutor(1, "nerv360-ahead")
        self._opening = ThreadPoolExecutor(2, "nerv360-opening")
        self._awaited: Future[None] | None = None

    def __enter__(self) -> "Decoder":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Give back the file, the threads and the memory."""
        self._ahead.shutdown(cancel_futures=True)
        self._opening.shutdown(cancel_futures=True)
        self.container.close()
        self._decoders.clear()
        self._panoramas.clear()

    @property
    def width(self) -> int:
        """Width of the panorama in pixels."""
        return self.container.header.width

    @property
    def height(self) -> int:
        """Height of the panorama in pixels."""
        return self.container.header.height

    @property
    def frames(self) -> int:
        return self.container.header.frames

    @property
    def frame_rate(self) -> Fraction:
        """Frames per second."""
        return Fraction(self.container.header.rate_numerator, self.container.header.rate_denominator)

    @property
    def colour(self) -> Colour:
        """The source's colour description."""
        return self.container.header.colour

    def native_view(self, frame_index: int = 0) -> Viewport:
        """The viewport that the frame's network was trained on, looking ahead."""
        header = self._segment(frame_index).header
        return header.trained_view()

    def viewport(self, frame_index: int, view: Viewport, *, draft: bool = False) -> Picture:
        """RGB picture [view.height, view.width, 3] of a frame.

        The network is run at a focal length that it was trained for; where the view asks for another one (by more
        than 15 %), it is decoded at the nearest and resampled. With `draft`, it is run on no more pixels than are asked
        for: faster, and the softer the smaller (docs/player.md). From a network that decodes panoramas, it is cut.

        Raises ArgumentError for a frame outside the video or a view that is too large, BitstreamError where the file
        is damaged.
        """
        request = self._prepare(frame_index, view, draft)
        self._read_ahead(frame_index + 1)
        return self.render(request)

    def play(self, views: Iterable[tuple[int, Viewport]]) -> Iterator[Picture]:
        """The pictures of (frame, view), one by one: while one is drawn, the next are read and prepared.

        Raises as `viewport` does, when it comes to the picture.
        """
        waiting: deque[Future[RenderRequest]] = deque()
        try:
            for frame_index, view in views:
                waiting.append(self._ahead.submit(self._prepare, frame_index, view))
                if len(waiting) > AHEAD:
                    yield self.render(waiting.popleft().result())
            while waiting:
                yield self.render(waiting.popleft().result())
        finally:
            for each in waiting:
                each.cancel()

    def panorama(self, frame_index: int) -> Picture:
        """RGB picture [height, width, 3] of a whole frame; most networks decode it as overlapping viewports."""
        first, *others = patches_of(self._segment(frame_index).header)
        request = self._prepare(frame_index, first)
        if request.segment.network.draws_panorama:
            return self.render_panorama(request).copy()
        patches = [(first, self.render(request)), *((v, self.render(self._prepare(frame_index, v))) for v in others)]
        return _as_picture(stitch([(v, _as_tensor(each)) for v, each in patches], self.width, self.height))

    def _segment(self, frame_index: int) -> Segment:
        if not 0 <= frame_index < self.frames:
            raise ArgumentError(f"frame {frame_index}: the video has frames 0..{self.frames - 1}")
        return self.container.segment_of(frame_index)

    def _decoder(self, segment: Segment) -> SegmentDecoder:
        try:
            return self._opened(segment, self._draw_meanwhile if self._decoders else _as_it_is).result()
        except BaseException:
            self._decoders.discard(segment.first_frame)  # it may be had the next time
            raise

    def _opened(self, segment: Segment, then: Callable[[SegmentDecoder], object]) -> "Future[SegmentDecoder]":
        """The decoder of a segment, which is opened where it is not open; the caller holds `_reading`."""

        def start() -> SegmentDecoder:
            decoder = SegmentDecoder(self.container, segment, self.backend, self.device, self.precision)
            then(decoder)
            return decoder

        return self._decoders.get(segment.first_frame, lambda: self._opening.submit(start))

    def _open_ahead(self, segment: Segment, frame_index: int, view: Viewport) -> None:
        """Have the next segment ready for this view when the present one is about to end: its network compiled."""
        end = segment.first_frame + segment.frames
        if end < self.frames and end - frame_index <= OPEN_AHEAD_SECONDS * self.frame_rate:
            self._opened(self.container.segment_of(end), lambda decoder: self._warm_up(decoder, end, view))

    def _draw_meanwhile(self, decoder: SegmentDecoder) -> None:
        """A segment that nobody foresaw is drawn by PyTorch until its network is compiled."""
        if self.backend != "torch":
            decoder.runner = FallbackRunner(decoder.runner, TorchRunner(decoder.network, self.device), self._opening)

    @torch.inference_mode()
    def _warm_up(self, decoder: SegmentDecoder, frame_index: int, view: Viewport) -> None:
        if not decoder.network.draws_panorama:
            with suppress(Nerv360Error):  # whoever asks for the view is told
                self.render(_request(decoder, frame_index, view))

    @torch.inference_mode()
    def _prepare(self, frame_index: int, view: Viewport, draft: bool = False) -> RenderRequest:
        """All of decoding but the drawing."""
        with self._reading:
            segment = self._segment(frame_index)
            check_pixels(view)
            decoder = self._decoder(segment)
            self._open_ahead(segment, frame_index, view)
            return _request(decoder, frame_index, view, draft)

    @torch.inference_mode()
    def render(self, request: RenderRequest) -> Picture:
        """Draw a view."""
        if request.segment.network.draws_panorama:
            return extract_viewport(self.render_panorama(request), request.view)
        segment = request.segment
        picture = draw_in_strips(segment.runner, segment.network, request.sampled, request.modulations)
        picture = np.ascontiguousarray(picture[: request.native.height, : request.native.width])
        return _resized(picture, request.view.width, request.view.height)

    def render_panorama(self, request: RenderRequest) -> Picture:
        """Draw the panorama of a frame, by a network that decodes nothing else."""

        def draw() -> Picture:
            drawn = request.segment.runner.draw(request.sampled, request.modulations)
            return _resized(drawn, self.width, self.height)

        return self._panoramas.get(request.frame_index, draw)

    def _read_ahead(self, frame_index: int) -> None:
        """Have the key groups of a frame decoded in the background."""

        def read() -> None:
            with self._reading:
                segment = self._segment(frame_index)
                self._decoder(segment).preload(frame_index - segment.first_frame)

        if frame_index < self.frames and (self._awaited is None or self._awaited.done()):
            self._awaited = self._ahead.submit(read)


def _as_it_is(decoder: SegmentDecoder) -> None:
    """The first segment is waited for."""


def _request(decoder: SegmentDecoder, frame_index: int, view: Viewport, draft: bool = False) -> RenderRequest:
    """A view of a frame of the decoder's segment, numbered in the video."""
    native = view
    if not decoder.network.draws_panorama:
        native = _native(view, decoder.segment.header)
        if draft and native.width * native.height > view.width * view.height:
            native = view
        check_size(native, decoder.network.config)
    inputs = decoder.draw_inputs(frame_index - decoder.segment.first_frame, native)
    return RenderRequest(frame_index, decoder, *inputs, native, view)


def _native(view: Viewport, header: SegmentHeader) -> Viewport:
    """The view itself, or the same field of view on the pixels that the network was trained to give it."""
    shortest, longest = (
        Viewport(hfov_deg=hfov, width=header.view_width, height=header.view_height).focal[0]
        for hfov in reversed(header.hfov_deg)
    )
    scales = []
    for length in view.focal:
        nearest = min(max(length, shortest), longest)
        scales.append(1.0 if abs(nearest / length - 1) <= FOCAL_TOLERANCE else nearest / length)
    pixels = view.width * view.height
    shrink = min(1.0, math.sqrt(max(MAX_NATIVE_PIXELS, pixels) / (pixels * math.prod(scales))))
    sides = [
        max(1, round(side * scale * shrink)) for side, scale in zip((view.width, view.height), scales, strict=True)
    ]
    return view if sides == [view.width, view.height] else view.resized(*sides)


def _resized(picture: Picture, width: int, height: int) -> Picture:
    if picture.shape == (height, width, 3):
        return picture
    resampled = functional.interpolate(
        _as_tensor(picture), (height, width), mode="bilinear", antialias=True, align_corners=False
    )
    return _as_picture(resampled)


def _as_tensor(picture: Picture) -> Tensor:
    """uint8 [h, w, 3] -> [1, 3, h, w]."""
    return torch.from_numpy(picture).permute(2, 0, 1)[None].float()


def _as_picture(picture: Tensor) -> Picture:
    """[1, 3, h, w] in 0..255 -> uint8 [h, w, 3]."""
    rounded = picture[0].permute(1, 2, 0).round().clamp(0, 255).to(torch.uint8)
    return np.ascontiguousarray(rounded.numpy())
