"""Decoded views as JPEG, and networks for browsers, made in one thread: a Decoder belongs to one."""

import asyncio
import io
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta, Struct
from PIL import Image

from nerv360.bitstream.container import Container
from nerv360.errors import ArgumentError
from nerv360.geometry.viewport import Viewport
from nerv360.storage import Place

if TYPE_CHECKING:
    from nerv360.codec.decoder import Decoder

__all__ = ["FrameRequest", "Frames"]

MAX_PIXELS = 1 << 23
JPEG_QUALITY = 92
ANSWER = struct.Struct("<If")  # id of the request, milliseconds of decoding; then the JPEG


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

    def viewport(self) -> Viewport:
        """Raises ArgumentError for a view that there is none of, or that is too large to be shown."""
        view = Viewport(self.yawDeg, self.pitchDeg, self.rollDeg, self.hfovDeg, self.vfovDeg, self.width, self.height)
        if view.width * view.height > MAX_PIXELS:
            raise ArgumentError(f"viewport {view.width}x{view.height}: at most {MAX_PIXELS} pixels are served")
        return view


class Frames:
    """Views of a file. They are made one after the other, whoever asks."""

    def __init__(self, path: Place) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="decoder")
        self._decoder: Decoder | None = None
        self._networks: dict[int, bytes] = {}

    def warm_up(self) -> None:
        """Begin to load the file and PyTorch, which takes seconds, before anyone asks."""
        self._thread.submit(self._open)

    async def answer(self, request: FrameRequest) -> bytes:
        """The message that answers a request: id, milliseconds, JPEG.

        Raises ArgumentError for a view or a frame that there is not, BitstreamError where the file is damaged.
        """
        view = request.viewport()
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._decode, request, view)

    async def network(self, index: int) -> bytes:
        """The ONNX file of a segment's network."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._network, index)

    def close(self) -> None:
        """Waits for the view that is being decoded."""
        self._thread.shutdown(cancel_futures=True)
        if self._decoder is not None:
            self._decoder.close()

    def _decode(self, request: FrameRequest, view: Viewport) -> bytes:
        decoder = self._open()
        began = time.perf_counter()
        picture = decoder.viewport(request.frame, view)
        milliseconds = 1000 * (time.perf_counter() - began)
        jpeg = io.BytesIO()
        Image.fromarray(picture).save(jpeg, "JPEG", quality=JPEG_QUALITY, subsampling=0)
        return ANSWER.pack(request.id, milliseconds) + jpeg.getvalue()

    def _network(self, index: int) -> bytes:
        if index not in self._networks:
            from nerv360.serving.networks import browser_graph

            with Container(self._path) as container:  # the decoder reads its own in the background
                self._networks[index] = browser_graph(container, container.segments[index])
        return self._networks[index]

    def _open(self) -> "Decoder":
        if self._decoder is None:
            from nerv360.api import open as open_file

            self._decoder = open_file(self._path)
        return self._decoder
