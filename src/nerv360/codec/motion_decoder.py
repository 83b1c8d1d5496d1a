"""A segment of keys that predict one another: keys are read when a frame needs them, and views are cut out."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

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
from nerv360.motion.keys import Key, find_ancestry, keys_of_groups, split_into_spans
from nerv360.motion.sectors import SectorTable
from nerv360.types import Picture

__all__ = ["MotionDecoder"]

BYTES_KEPT, BYTES_PER_PIXEL = 512 << 20, 6.2  # of keys in slots
MOST_SLOTS = 48
SPANS_KEPT = 64  # whose sectors are kept as bytes, as far as they were read
MOST_GAP = 128  # bytes that are read with their neighbours rather than left out: about what a request takes


@dataclass(frozen=True, eq=False)
class Span:
    """Keys of a group whose chunks lie together; where there are sectors, behind them lengths, and sectors."""

    keys: Sequence[Key]
    chunk: int  # the first


@dataclass(frozen=True)
class Region:
    """A rectangle of the panorama, whose columns may go round."""

    top: int
    left: int
    height: int
    width: int


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

    Where keys have sectors, a view reads those that its window depends on, which changes its pixels by less than can be
    seen: what is further off, whoever sees them, is soft. A panorama reads all.
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
        self._core = Core(self._width, self._height, segment.header.sector or 0, encoding=False)
        self._header = segment.header
        pictures = np.array(segment.header.groups) * (segment.header.eyes or 1)
        self._firsts = np.cumsum([0, *pictures])  # pictures that each group begins with
        self._first_chunks = self._count_chunks()
        self._keys_of = lru_cache(2)(self._keys_of_group)
        self._spans_of = lru_cache(2)(self._spans_of_group)
        self._bases = lru_cache(8)(self._read_bases)
        self._table = lru_cache(8)(self._read_table)
        self._known_sectors = lru_cache(SPANS_KEPT)(self._no_sectors)
        self._footprint = lru_cache(1)(self._footprint_of)  # of a view at rest
        self._slots: dict[int, int] = {}  # of frames, the least recently used first
        fit = int(BYTES_KEPT / BYTES_PER_PIXEL / (self._width * self._height))
        self._room = max(self._most_needed(), min(MOST_SLOTS, fit))

    def prepare(self, frame: int, view: Viewport, draft: bool = False) -> WindowDrawing:
        footprint = self._footprint(view)
        slot = self._slot(frame)
        self._read_sectors(frame, footprint.window)
        return WindowDrawing(self._window(slot, footprint.window), footprint)

    def panorama(self, frame: int) -> Picture:
        slot = self._slot(frame)
        ancestry = self._ancestry(frame)
        self._decode_sectors(
            [(key, sector) for key in ancestry for sector in self._core.unknown(self._slots[key.frame])]
        )
        return self._core.pixels(slot, 0, 0, self._height, self._width)

    def preload(self, frame: int) -> None:
        self._slot(frame)

    def warm_up(self, frame: int, view: Viewport) -> None:
        self._slot(frame)

    def hurry(self, executor: Executor) -> None:
        """There is nothing that takes long to prepare."""

    def _most_needed(self) -> int:
        """Keys that a frame depends on, with its own, at most. Raises BitstreamError where these find no memory."""
        keys = self._keys_of_frames((max(self._header.groups),))
        most = max(len(find_ancestry(keys, key.frame)) for key in keys)
        if most * BYTES_PER_PIXEL * self._width * self._height > Core.MOST_BYTES:
            size = f"a panorama of {self._width}x{self._height}"
            raise BitstreamError(f"{self._container.path}: {size}, {most} keys to a frame: takes more than 4 GiB")
        needed = most * BYTES_PER_PIXEL * self._width * self._height
        check_bytes(needed, f"a frame of {self._width}x{self._height}", self._container.max_memory)
        return most

    def _count_chunks(self) -> NDArray[np.int64]:
        """Chunks that each group begins with."""
        if not self._core.sectors:
            return self._firsts
        groups = self._header.groups
        spans = {frames: len(split_into_spans(self._keys_of_frames((frames,)))) for frames in set(groups)}
        return self._firsts + 2 * np.cumsum([0, *(spans[frames] for frames in groups)])

    def _group_of(self, frame: int) -> int:
        return int(np.searchsorted(self._firsts, frame, "right")) - 1

    def _keys_of_group(self, group: int) -> list[Key]:
        return self._keys_of_frames(self._header.groups[group : group + 1], int(self._firsts[group]))

    def _keys_of_frames(self, groups: tuple[int, ...], first: int = 0) -> list[Key]:
        return list(keys_of_groups(groups, self._header.interval, first, self._header.inter_view_levels))

    def _spans_of_group(self, group: int) -> dict[int, Span]:
        """The spans of the frames of a group; without sectors, all are one."""
        keys, chunk = self._keys_of(group), int(self._first_chunks[group])
        found: dict[int, Span] = {}
        for span in split_into_spans(keys) if self._core.sectors else [keys]:
            found |= dict.fromkeys((key.frame for key in span), Span(span, chunk))
            chunk += len(span) + 2
        return found

    def _span_of(self, frame: int) -> Span:
        return self._spans_of(self._group_of(frame))[frame]

    def _ancestry(self, frame: int) -> list[Key]:
        return find_ancestry(self._keys_of(self._group_of(frame)), frame)

    def _footprint_of(self, view: Viewport) -> Footprint:
        return Footprint.of(view, 1, self._height, self._width, 1, torch.empty(0))

    def _slot(self, frame: int) -> int:
        """The slot of a frame's key, which is read where it is not there; of one with sectors, the base."""
        ancestry = self._ancestry(frame)
        for key in ancestry:
            if key.frame in self._slots:
                self._slots[key.frame] = self._slots.pop(key.frame)
        for key in ancestry:
            if key.frame not in self._slots:
                data = self._read_key(key)
                slot = len(self._slots) if len(self._slots) < self._room else self._slots.pop(next(iter(self._slots)))
                with self._half_done():
                    self._core.decode(slot, key, self._steps[key.level], data)
                self._slots[key.frame] = slot
        return self._slots[frame]

    def _read_key(self, key: Key) -> bytes:
        span = self._span_of(key.frame)
        index = span.keys.index(key)
        if self._core.sectors:
            return self._bases(span)[index]
        return self._container.chunk(self._segment, span.chunk + index)

    @contextmanager
    def _half_done(self) -> Iterator[None]:
        """Forget all keys where one cannot be decoded, for the core holds half of it; sectors are fetched again."""
        try:
            yield
        except BitstreamError as error:
            self._slots.clear()
            self._known_sectors.cache_clear()
            raise BitstreamError(f"{self._container.path}: {error}") from None

    def _read_sectors(self, frame: int, window: Window) -> None:
        """Read the sectors that a window of a frame, whose ancestry is in slots, depends on."""
        if not self._core.sectors:
            return
        slot, ancestry = self._slots[frame], self._ancestry(frame)
        for region, _ in self._regions(window):
            while self._core.ask(slot, region.top, region.left, region.height, region.width):
                self._decode_sectors(
                    [(key, sector) for key in ancestry for sector in self._core.asked(self._slots[key.frame])]
                )

    def _decode_sectors(self, wanted: Sequence[tuple[Key, int]]) -> None:
        """Read sectors of keys, references first, those that lie together at once."""
        of_spans: dict[Span, set[int]] = {}
        for key, sector in wanted:
            of_spans.setdefault(self._span_of(key.frame), set()).add(sector)
        found = {span: self._sectors_of(span, sectors) for span, sectors in of_spans.items()}
        for key, sector in wanted:
            span = self._span_of(key.frame)
            with self._half_done():
                data = found[span][sector][span.keys.index(key)]
                self._core.decode_sector(self._slots[key.frame], sector, data)

    def _read_bases(self, span: Span) -> list[bytes]:
        """The bytes of the bases of a span, and of the lengths of its sectors."""
        return self._container.run(self._segment, span.chunk, len(span.keys) + 1)

    def _read_table(self, span: Span) -> SectorTable:
        size = self._segment.chunks[span.chunk + len(span.keys) + 1].length
        return SectorTable.read(self._core, span.keys, self._bases(span)[-1], size)

    def _no_sectors(self, span: Span) -> dict[int, list[bytes]]:
        """What is known of a span's sectors at first: the bytes of a sector of every key."""
        return {}

    def _sectors_of(self, span: Span, wanted: Iterable[int]) -> dict[int, list[bytes]]:
        """What is known of a span's sectors, with the wanted ones."""
        known, table = self._known_sectors(span), self._table(span)
        first, _ = self._segment.chunk_range(span.chunk + len(span.keys) + 1)
        for together in table.runs(set(wanted) - known.keys(), MOST_GAP):
            start, length = table.stretch(together[0], together[-1])
            data = self._container.stretch(first + start, length)
            if len(data) < length:
                raise BitstreamError(f"{self._container.path}: truncated: {len(data)} of {length} bytes of sectors")
            for sector in together:
                at, size = table.stretch(sector)
                known[sector] = table.split(sector, data[at - start : at - start + size])
        return known

    def _regions(self, window: Window) -> Iterator[tuple[Region, bool]]:
        """The parts of a window, over the seam and the poles, and whether each is turned upside down."""
        for first, end, turned in window.sheets():
            top, left = (window.top + first) % self._height, window.left
            if turned:
                top, left = self._height - top - (end - first), left + self._width // 2
            yield Region(top, left, end - first, window.columns), turned

    def _window(self, slot: int, window: Window) -> Picture:
        """A window of a key's picture."""
        parts = []
        for region, turned in self._regions(window):
            part = self._core.pixels(slot, region.top, region.left, region.height, region.width)
            parts.append(part[::-1] if turned else part)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)
