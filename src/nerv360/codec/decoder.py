"""A .nerv360 file -> any view of any frame."""

import operator
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from fractions import Fraction
from functools import partial
from types import TracebackType
from typing import TypeVar

from nerv360.backends.cache import LRUCache
from nerv360.backends.registry import OPENGL, backend_of, installed_backends
from nerv360.backends.tiling import check_pixels
from nerv360.bitstream.container import Container, Segment
from nerv360.codec.segment_decoder import Drawing, SegmentDecoder
from nerv360.errors import ArgumentError, Nerv360Error
from nerv360.geometry.viewport import Viewport
from nerv360.storage import Location
from nerv360.types import EYES, Colour, Picture

__all__ = ["Decoder", "open_file"]

T = TypeVar("T")

SEGMENTS_KEPT = 3
OPEN_AHEAD_SECONDS = 2.0  # before a segment's end, the next one is opened
AHEAD = 2  # views that `play` prepares while one is drawn


def open_file(
    path: Location,
    *,
    backend: str | None = None,
    device: str = "cpu",
    precision: str | None = None,
    max_memory: int | None = None,
) -> "Decoder":
    """Open a .nerv360 file for decoding. Networks are drawn by a backend: by default, the fastest that is here.

    Raises BitstreamError for a file that is damaged, foreign, or of a newer version; ArgumentError, MissingExtra for
    a backend or a device that is not there.
    """
    container = Container(path, max_memory)
    try:
        chosen = backend_of(container, backend, device, precision)
    except Nerv360Error:
        container.close()
        raise
    return Decoder(container, chosen, device, precision)


class Decoder:
    """An open .nerv360 file. Reads and keeps what the views asked for need, and no more; a context manager.

        file ─ segment of frame t ─ its decoder ─ Drawing ─ picture

    Any thread may use it, but no other process. On threads of its own it reads ahead, and opens the next segment before
    the present one ends. A few segments are kept open. Once it is closed, every use raises Nerv360Error.
    """

    def __init__(self, container: Container, backend: str, device: str, precision: str | None = None) -> None:
        self.container = container
        self.backend, self.device, self.precision = backend, device, precision
        self._decoders: LRUCache[int, Future[SegmentDecoder]] = LRUCache(SEGMENTS_KEPT)
        self._reading = threading.Lock()
        self._ahead = ThreadPoolExecutor(1, "nerv360-ahead")
        self._opening = ThreadPoolExecutor(2, "nerv360-opening")
        self._awaited: Future[None] | None = None
        self._process = os.getpid()

    def __enter__(self) -> "Decoder":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Give back the file, the threads and the memory; waits for what other threads read."""
        if self._process != os.getpid():
            self.container.close()  # threads, and what they held, are not there
            return
        self._ahead.shutdown(cancel_futures=True)
        self._opening.shutdown(cancel_futures=True)
        with self._reading:
            self.container.close()
            self._decoders.clear()

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
    def eyes(self) -> tuple[str, ...]:
        """Those that can be asked for: left and right, or where the file holds one, whichever it is, left."""
        return EYES[: self.container.header.eyes or 1]

    @property
    def frame_rate(self) -> Fraction:
        """Frames per second."""
        return self.container.header.frame_rate

    @property
    def colour(self) -> Colour:
        """The source's colour description."""
        return self.container.header.colour

    def native_view(self, frame_index: int = 0) -> Viewport:
        """The viewport that the frame's network was trained on, or its keys are measured by, looking ahead."""
        return self._segment(frame_index).header.trained_view()

    def viewport(self, frame_index: int, view: Viewport, *, draft: bool = False, eye: str = EYES[0]) -> Picture:
        """RGB picture [view.height, view.width, 3] of a frame, of one of `eyes`.

        A network is run at a focal length that it was trained for; where the view asks for another one (by more
        than 15 %), it is decoded at the nearest and resampled. With `draft`, it is run on no more pixels than are asked
        for: faster, and the softer the smaller (docs/player.md). From a network that decodes panoramas, it is cut.

        Raises ArgumentError for a frame or an eye outside the video or a view that is too large, BitstreamError where
        the file is damaged.
        """
        drawing = self._prepare(frame_index, view, eye, draft)
        self._read_ahead(self._checked(frame_index) + 1, eye)
        return drawing.draw()

    def play(self, views: Iterable[tuple[int, Viewport]], *, eye: str = EYES[0]) -> Iterator[Picture]:
        """The pictures of (frame, view), one by one: while one is drawn, the next are read and prepared.

        Raises as `viewport` does, when it comes to the picture.
        """
        waiting: deque[Future[Drawing]] = deque()
        try:
            for frame_index, view in views:
                waiting.append(self._submit(self._ahead, partial(self._prepare, frame_index, view, eye)))
                if len(waiting) > AHEAD:
                    yield self._result(waiting.popleft()).draw()
            while waiting:
                yield self._result(waiting.popleft()).draw()
        finally:
            for each in waiting:
                each.cancel()

    def panorama(self, frame_index: int, *, eye: str = EYES[0]) -> Picture:
        """RGB picture [height, width, 3] of a whole frame, of one of `eyes`; most networks decode it as overlapping
        viewports.
        """
        frame_index = self._checked(frame_index)
        with self._reading:
            segment = self._segment(frame_index)
            decoder = self._decoder(segment)
            self._open_ahead(segment, frame_index, segment.header.trained_view())
            return decoder.panorama(self._picture(segment, frame_index, eye))

    def _segment(self, frame_index: int) -> Segment:
        return self.container.segment_of(self._checked(frame_index))

    def _checked(self, frame_index: int) -> int:
        """The frame, which there must be, of a file that must be open."""
        self.container.check_open()
        try:
            frame_index = operator.index(frame_index)
        except TypeError:
            raise ArgumentError(f"frame {frame_index}: must be a whole number") from None
        if not 0 <= frame_index < self.frames:
            raise ArgumentError(f"frame {frame_index}: the video has frames 0..{self.frames - 1}")
        return frame_index

    def _picture(self, segment: Segment, frame_index: int, eye: str) -> int:
        """The number of an eye's picture in its segment. Raises ArgumentError where there is no such eye."""
        eyes = self.eyes
        if eye not in eyes:
            held = "holds left and right" if len(eyes) > 1 else "holds one eye, which is called left"
            raise ArgumentError(f"eye {eye}: {self.container.path} {held}")
        return len(eyes) * (frame_index - segment.first_frame) + eyes.index(eye)

    def _decoder(self, segment: Segment) -> SegmentDecoder:
        try:
            return self._result(self._opened(segment, self._hurry if self._decoders else _as_it_is))
        except BaseException:
            self._decoders.discard(segment.first_frame)  # it may be had the next time
            raise

    def _opened(self, segment: Segment, then: Callable[[SegmentDecoder], object]) -> "Future[SegmentDecoder]":
        """The decoder of a segment, which is opened where it is not open; the caller holds `_reading`."""

        def start() -> SegmentDecoder:
            by_shaders = self.backend == OPENGL and segment.spec.shader_decoder is not None
            backend = self.backend if by_shaders or self.backend != OPENGL else installed_backends()[0]
            kind: type[SegmentDecoder] = segment.spec.load_decoder(by_shaders)
            decoder = kind(self.container, segment, backend, self.device, self.precision)
            then(decoder)
            return decoder

        return self._decoders.get(segment.first_frame, lambda: self._submit(self._opening, start))

    def _submit(self, executor: ThreadPoolExecutor, work: Callable[[], T]) -> "Future[T]":
        """Have a thread of its own do something."""
        self.container.check_open()
        try:
            return executor.submit(work)
        except RuntimeError:  # it is shut down
            raise Nerv360Error(f"{self.container.path}: is closed; open it again") from None

    def _result(self, future: "Future[T]") -> T:
        """What a thread of its own has done."""
        self.container.check_open()  # there is no such thread behind a fork
        try:
            return future.result()
        except CancelledError:
            raise Nerv360Error(f"{self.container.path}: is closed; open it again") from None

    def _hurry(self, decoder: SegmentDecoder) -> None:
        """A segment that nobody foresaw is drawn at once."""
        decoder.hurry(self._opening)

    def _open_ahead(self, segment: Segment, frame_index: int, view: Viewport) -> None:
        """Have the next segment ready for this view when the present one is about to end."""
        end = segment.first_frame + segment.frames
        if end < self.frames and end - frame_index <= OPEN_AHEAD_SECONDS * self.frame_rate:
            self._opened(self.container.segment_of(end), lambda decoder: decoder.warm_up(0, view))

    def _prepare(self, frame_index: int, view: Viewport, eye: str, draft: bool = False) -> Drawing:
        """All of decoding but the drawing."""
        frame_index = self._checked(frame_index)
        with self._reading:
            segment = self._segment(frame_index)
            check_pixels(view, self.container.max_memory)
            decoder = self._decoder(segment)
            self._open_ahead(segment, frame_index, view)
            return decoder.prepare(self._picture(segment, frame_index, eye), view, draft)

    def _read_ahead(self, frame_index: int, eye: str) -> None:
        """Have the key groups of a frame decoded in the background."""

        def read() -> None:
            with self._reading:
                segment = self._segment(frame_index)
                self._decoder(segment).preload(self._picture(segment, frame_index, eye))

        if frame_index < self.frames and (self._awaited is None or self._awaited.done()):
            self._awaited = self._submit(self._ahead, read)


def _as_it_is(decoder: SegmentDecoder) -> None:
    """The first segment is waited for."""
