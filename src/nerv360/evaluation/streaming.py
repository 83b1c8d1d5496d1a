"""What a viewer fetches of a file while he watches it: by decoding his views, and noting which bytes are read."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nerv360.backends.registry import backend_of
from nerv360.bitstream.container import Container
from nerv360.codec.decoder import Decoder
from nerv360.errors import ArgumentError
from nerv360.geometry.viewport import Viewport
from nerv360.progress import OnProgress, ignore, tracked
from nerv360.storage import Location

__all__ = ["StreamCost", "stream_cost"]


@dataclass(frozen=True)
class StreamCost:
    """Bytes that a path of views reads of a file."""

    size: int  # of the file
    seconds: float  # of the video
    opening: int  # bytes before the first view: headers
    fetched: NDArray[np.int64]  # [frames]: bytes that no frame before it needed

    @property
    def total(self) -> int:
        """Bytes that are fetched in all."""
        return self.opening + int(self.fetched.sum())

    @property
    def share(self) -> float:
        """The part of the file."""
        return self.total / self.size


class _WatchedContainer(Container):
    """A container that notes which of its bytes are read; each counts once."""

    def __init__(self, path: Location) -> None:
        self._seen: list[tuple[int, int]] = []  # apart, and in order
        super().__init__(path)

    @property
    def bytes_read(self) -> int:
        return sum(end - start for start, end in self._seen)

    def _bytes(self, offset: int, length: int) -> bytes:
        start, end = offset, min(offset + length, self.size)
        touched = [(a, b) for a, b in self._seen if a <= end and start <= b]
        merged = (min([start, *(a for a, _ in touched)]), max([end, *(b for _, b in touched)]))
        self._seen = sorted([*(each for each in self._seen if each not in touched), merged])
        return super()._bytes(offset, length)


def stream_cost(path: Location, views: Sequence[Viewport], on_progress: OnProgress = ignore) -> StreamCost:
    """Bytes that a viewer fetches who sees one view of every frame, in order, and keeps what he has.

    Raises ArgumentError where there is not a view for each frame, BitstreamError.
    """
    container = _WatchedContainer(path)
    frames, opening = container.header.frames, container.bytes_read
    try:
        if len(views) != frames:
            raise ArgumentError(f"{len(views)} views for {frames} frames; give one for each")
        seconds, backend = float(container.timeline.start_s(frames)), backend_of(container, None)
    except BaseException:
        container.close()
        raise
    read = [opening]
    with Decoder(container, backend, "cpu") as decoder:
        for frame in tracked(range(frames), "watching", frames, on_progress):
            decoder.viewport(frame, views[frame])
            read.append(container.bytes_read)
    return StreamCost(container.size, seconds, opening, np.diff(read))
