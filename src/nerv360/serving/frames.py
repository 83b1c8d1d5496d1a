"""Decoded views for viewers, and networks for browsers."""

import asyncio
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

from msgspec import Meta, Struct

from nerv360.bitstream.container import Container
from nerv360.errors import ArgumentError
from nerv360.geometry.viewport import Viewport
from nerv360.serving.lanes import Lane, Lanes, Viewer
from nerv360.serving.pictures import Format
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
    eye: Literal["left", "right"] = "left"

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
    """Views of a file, and its networks for browsers."""

    def __init__(self, path: Location, max_memory: int | None) -> None:
        self._path = path
        self._lanes = Lanes(partial(_open, path, max_memory))
        self._exporting = ThreadPoolExecutor(max_workers=1, thread_name_prefix="networks")
        self._networks: dict[int, bytes] = {}

    def warm_up(self) -> None:
        """Begin to load the file and PyTorch, which takes seconds, before anyone asks."""
        self._lanes.warm_up()

    async def answer(self, request: FrameRequest, viewer: Viewer) -> bytes:
        """The message that answers a viewer's request.

        Its milliseconds are those until the view was decoded, with the turns of others, without loading the file.

        Raises ArgumentError for a view or a frame that there is not, BitstreamError where the file is damaged.
        """
        view = request.viewport()
        asked = time.perf_counter()

        def decode(lane: Lane) -> bytes:
            picture = lane.decoder().viewport(request.frame, view, draft=request.draft, eye=request.eye)
            milliseconds = 1000 * (time.perf_counter() - max(asked, lane.opened))
            kind, data = viewer.pictures.encode(picture, request.format)
            return ANSWER.pack(request.id, milliseconds, kind) + data

        return await self._lanes.run(viewer, decode)

    async def network(self, index: int) -> bytes:
        """The ONNX file of a segment's network."""
        return await asyncio.get_running_loop().run_in_executor(self._exporting, self._network, index)

    def close(self) -> None:
        """Waits for the views that are being decoded."""
        self._exporting.shutdown(cancel_futures=True)
        self._lanes.close()

    def _network(self, index: int) -> bytes:
        if index not in self._networks:
            from nerv360.serving.networks import browser_graph

            with Container(self._path) as container:
                self._networks[index] = browser_graph(container, container.segments[index])
        return self._networks[index]


def _open(path: Location, max_memory: int | None) -> "Decoder":
    from nerv360.api import open as open_file

    return open_file(path, max_memory=max_memory)
