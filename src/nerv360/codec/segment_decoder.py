"""The contract of what decodes a segment: one class per kind of segment, which the model's specification names."""

from abc import ABC, abstractmethod
from concurrent.futures import Executor
from typing import Protocol

from nerv360.bitstream.container import Container, Segment
from nerv360.geometry.viewport import Viewport
from nerv360.types import Picture

__all__ = ["Drawing", "SegmentDecoder"]


class Drawing(Protocol):
    """A view of a frame, of which all is read and decoded that it needs."""

    def draw(self) -> Picture:
        """RGB picture [view.height, view.width, 3], the caller's own. On any thread."""


class SegmentDecoder(ABC):
    """An open segment. It keeps what the views asked for need, and no more. Frames are numbered from its first; where
    there are two eyes, their pictures are, left and right in turn.

        chunks of the file ─ prepare(frame, view) ─ Drawing ─ draw() ─ picture
        └── on one thread at a time, which reads ──┘ └──── on any other ────┘

    Made on a thread of its own, ahead of its first frame where that is foreseen.
    Raises BitstreamError where the file is damaged, ArgumentError for a view or a precision that it does not give.
    """

    @abstractmethod
    def __init__(
        self, container: Container, segment: Segment, backend: str, device: str, precision: str | None
    ) -> None:
        """Backend and precision are those of backends/registry.py; the device is cpu or cuda, None what suits it."""

    @abstractmethod
    def prepare(self, frame: int, view: Viewport, draft: bool = False) -> Drawing:
        """All of decoding but the drawing. A draft may be softer, to be there sooner."""

    @abstractmethod
    def panorama(self, frame: int) -> Picture:
        """RGB picture [height, width, 3] of a whole frame, the caller's own."""

    @abstractmethod
    def preload(self, frame: int) -> None:
        """Have what a frame is decoded from in memory."""

    @abstractmethod
    def warm_up(self, frame: int, view: Viewport) -> None:
        """Do ahead what the first such view takes, on the thread that made the decoder."""

    @abstractmethod
    def hurry(self, executor: Executor) -> None:
        """Nobody foresaw the segment: draw in a way that needs no preparation, while the executor prepares a better."""
