"""A segment of keys that predict one another: keys are read when a frame needs them, and views are cut out."""

from concurrent.futures import Executor
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from nerv360.bitstream.container import Container, Segment
from nerv360.bitstream.header import MotionHeader
from nerv360.codec.segment_decoder import SegmentDecoder
from nerv360.errors import ArgumentError, BitstreamError
from nerv360.geometry.footprint import Footprint
from nerv360.geometry.sampling import to_picture
from nerv360.geometry.viewport import Viewport
from nerv360.geometry.window import Window
from nerv360.models.memory import check_bytes
from nerv360.motion.core import Core
from nerv360.motion.keys import Key, find_ancestry, key_order, keys_of_groups
from nerv360.types import Picture

__all__ = ["MotionDecoder"]

BYTES_KEPT, BYTES_PER_PIXEL = 512 << 20, 6.2  # of keys in slots
MOST_SLOTS = 48


@dataclass(frozen=True)
class WindowDrawing:
    """The part of a panorama that a view reads, and where."""

    window: Picture
    footprint: Footprint

    def draw(self) -> Picture:
        cells = torch.from_numpy(self.window).permute(2, 0, 1)[None].float()
        return to_picture(self.footprint.sample(cells)[0])


class MotionDecoder(SegmentDecoder):
    """Keys in slots of the core, the least recently used of which gives way.

    chunks of frame t, of its references, of theirs ─ core: read, paint the window ─ sample ─ view
    └────────────────────────── prepare ────────────────────────────────────────┘   └ draw ┘
    """

    def __init__(
        self,
        container: Container,
        segment: Segment,
        backend: str,
        device: str = "cpu",
        precision: str | None = None,
    ) -> None:
        if precision not in (None, "float"):
            raise ArgumentError(f"precision={precision}: {segment.header.model} has no network; take float")
        assert isinstance(segment.header, MotionHeader)
        self._container, self._segment, self._steps = container, segment, segment.header.steps
        self._width, self._height = container.header.width, container.header.height
        self._core = Core(self._width, self._height)
        self._interval, self._groups = segment.header.interval, segment.header.groups
        self._firsts = np.cumsum([0, *self._groups])  # frames, and chunks, that each group begins with
        self._keys_of = lru_cache(2)(self._keys_of_group)
        self._footprint = lru_cache(1)(self._footprint_of)  # of a view at rest
        self._slots: dict[int, int] = {}  # of frames, the least recently used first
        fit = int(BYTES_KEPT / BYTES_PER_PIXEL / (self._width * self._height))
        self._room = max(self._most_needed(), min(MOST_SLOTS, fit))

    def prepare(self, frame: int, view: Viewport, draft: bool = False) -> WindowDrawing:
        footprint = self._footprint(view)
        return WindowDrawing(self._window(self._slot(frame), footprint.window), footprint)

    def panorama(self, frame: int) -> Picture:
        return self._core.pixels(self._slot(frame), 0, 0, self._height, self._width)

    def preload(self, frame: int) -> None:
        self._slot(frame)

    def warm_up(self, frame: int, view: Viewport) -> None:
        self._slot(frame)

    def hurry(self, executor: Executor) -> None:
        """There is nothing that takes long to prepare."""

    def _most_needed(self) -> int:
        """Keys that a frame depends on, with its own, at most. Raises BitstreamError where these find no memory."""
        keys = key_order(max(self._groups), self._interval)
        most = max(len(find_ancestry(keys, key.frame)) for key in keys)
        if most * BYTES_PER_PIXEL * self._width * self._height > Core.MOST_BYTES:
            size = f"a panorama of {self._width}x{self._height}"
            raise BitstreamError(f"{self._container.path}: {size}, {most} keys to a frame: takes more than 4 GiB")
        needed = most * BYTES_PER_PIXEL * self._width * self._height
        check_bytes(needed, f"a frame of {self._width}x{self._height}", self._container.max_memory)
        return most

    def _keys_of_group(self, group: int) -> list[Key]:
        return list(keys_of_groups(self._groups[group : group + 1], self._interval, int(self._firsts[group])))

    def _footprint_of(self, view: Viewport) -> Footprint:
        return Footprint.of(view, 1, self._height, self._width, 1, torch.empty(0))

    def _slot(self, frame: int) -> int:
        """The slot of a frame's key, which is read where it is not there."""
        group = int(np.searchsorted(self._firsts, frame, "right")) - 1
        keys = self._keys_of(group)
        ancestry = find_ancestry(keys, frame)
        for key in ancestry:
            if key.frame in self._slots:
                self._slots[key.frame] = self._slots.pop(key.frame)
        for key in ancestry:
            if key.frame not in self._slots:
                data = self._container.chunk(self._segment, int(self._firsts[group]) + keys.index(key))
                slot = len(self._slots) if len(self._slots) < self._room else self._slots.pop(next(iter(self._slots)))
                try:
                    self._core.decode(slot, key, self._steps[key.level], data)
                except BitstreamError:
                    self._slots.clear()  # the core holds half a key
                    raise
                self._slots[key.frame] = slot
        return self._slots[frame]

    def _window(self, slot: int, window: Window) -> Picture:
        """A window of a key's picture, over the seam and the poles."""
        parts = []
        for first, end, turned in window.sheets():
            rows, left = (window.top + first) % self._height, window.left
            if turned:
                rows, left = self._height - rows - (end - first), left + self._width // 2
            part = self._core.pixels(slot, rows, left, end - first, window.columns)
            parts.append(part[::-1] if turned else part)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)
