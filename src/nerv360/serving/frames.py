"""Decoded views for viewers, and networks for browsers, made in one thread: a Decoder belongs to one."""

import asyncio
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta, Struct

from nerv360.bitstream.container import Container
from nerv360.errors import ArgumentError
from nerv360.geometry.viewport import Viewport
from nerv360.serving.pictures import Format, Pictures
from nerv360.storage import Location

if TYPE_CHECKING:
    from nerv360.codec.decoder import Decoder

__all__ = ["FrameRequest", "Frames"]

MAX_PIXELS: dict[Format, int] = {"jpeg": 1 << 23, "h264": 1 << 21}  # an encoder of H.264 keeps several pictures
# id of the request, milliseconds, kind (0 JPEG, 1 a key picture of H.264, 2 one that follows it); then the picture.
# What cannot be answered so is JSON with the id and `error`, `broken` or `working`.
ANSWER = struct.Struct("<IfB")


class FrameRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """What a viewer asks for: a view of a frame."""

    id: Annotated[int, Meta(ge=0, lt=2**32)]
    frame: Annotated[int, Meta(ge=0)]
    yawDeg: float
    pitchDeg: float
    rollDeg: float
    hfovDeg: float
    vfovDeg: float
    width: int
    height: int
    format: Format = "jpeg"
    draft: bool = False  # a smaller picture may look softer, to be there sooner

    def viewport(self) -> Viewport:
        """Raises ArgumentError for a view that there is none of, or that cannot be sent in this size."""
        view = Viewport(self.yawDeg, self.pitchDeg, self.rollDeg, self.hfovDeg, self.vfovDeg, self.width, self.height)
        most = MAX_PIXELS[self.format]
        if view.width * view.height > most:
            raise ArgumentError(f"viewport {view.width}x{view.height}: at most {most} pixels are sent as {self.format}")
        if self.format == "h264" and (view.width % 2 or view.height % 2):
            raise ArgumentError(f"viewport {view.width}x{view.height}: both sides must be even for h264")
        return view


class Frames:
    """Views of a file. They are made one after the other, whoever asks."""

    def __init__(self, path: Location, max_memory: int | None) -> None:
        self._path, self._max_memory = path, max_memory
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="decoder")
        self._decoder: Decoder | None = None
        self._opened = 0.0  # when, by the clock of `time.perf_counter`
        self._networks: dict[int, bytes] = {}

    def warm_up(self) -> None:
        """Begin to load the file and PyTorch, which takes seconds, before anyone asks."""
        self._thread.submit(self._open)

    async def answer(self, request: FrameRequest, pictures: Pictures) -> bytes:
        """The message that answers a viewer's request; `pictures` are those of this viewer.

        Its milliseconds are those until the view was decoded, with the turns of others, without loading the file.

        Raises ArgumentError for a view or a frame that there is not, BitstreamError where the file is damaged.
        """
        view = request.viewport()
        asked = time.perf_counter()

        def decode() -> bytes:
            picture = self._open().viewport(request.frame, view, draft=request.draft)
            milliseconds = 1000 * (time.perf_counter() - max(asked, self._opened))
            kind, data = pictures.encode(picture, request.format)
            return ANSWER.pack(request.id, milliseconds, kind) + data

        return await asyncio.get_running_loop().run_in_executor(self._thread, decode)

    async def network(self, index: int) -> bytes:
        """The ONNX file of a segment's network."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._network, index)

    def close(self) -> None:
        """Waits for the view that is being decoded."""
        self._thread.shutdown(cancel_futures=True)
        if self._decoder is not None:
            self._decoder.close()

    def _network(self, index: int) -> bytes:
        if index not in self._networks:
            from nerv360.serving.networks import browser_graph

            with Container(self._path) as container:  # the decoder reads its own in the background
                self._networks[index] = browser_graph(container, container.segments[index])
        return self._networks[index]

    def _open(self) -> "Decoder":
        if self._decoder is None:
            from nerv360.api import open as open_file

            self._decoder = open_file(self._path, max_memory=self._max_memory)
            self._opened = time.perf_counter()
        return self._decoder
