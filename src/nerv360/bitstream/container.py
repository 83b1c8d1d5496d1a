"""The layout of a .nerv360 file: magic, version, header, segments of chunks (docs/bitstream.md).

    magic 8 | version u16 | header length u32 | header CRC-32 u32 | FileHeader | segment | segment | ...
    segment = SegmentHeader | weights | latent tables | key group 0 | key group 1 | ... | sound | sound | ...
            | MotionHeader | key | key | ... | sound | sound | ...

Everything needed for the first picture lies in front; every stretch can be fetched on its own by its byte range.
"""

import os
import struct
import threading
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, chain, pairwise
from types import TracebackType
from typing import BinaryIO
from zlib import crc32

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from nerv360.bitstream.header import (
    AnySegmentHeader,
    Chunk,
    FileHeader,
    SegmentEntry,
    SegmentHeader,
    pack,
    unpack,
    unpack_segment_header,
)
from nerv360.bitstream.manifest import files_of, open_bytes
from nerv360.bitstream.timeline import Timeline
from nerv360.errors import ArgumentError, BitstreamError, Nerv360Error, VersionError
from nerv360.geometry.viewport import Viewport
from nerv360.latents.grid import LatentGrid
from nerv360.latents.key_groups import KeyGroups
from nerv360.models.registry import model_spec
from nerv360.models.spec import ModelSpec
from nerv360.storage import BLOCK_BYTES, Location, RemoteFile, open_file, parse_location, read_at

__all__ = ["MAGIC", "VERSION", "VERSIONS", "Container", "Segment", "Segments", "write_container", "write_head"]

MAGIC = b"\x89NERV360"
OLDEST_VERSION, *_, VERSION = VERSIONS = 5, 10, 11, 12, 14  # a file has the oldest that its content allows
TIMED_VERSION = 11  # of files with sound, or with times of frames
STEREO_VERSION = 12  # of files with both eyes
SECTORS_VERSION = 14  # of files with sectors
PREAMBLE = struct.Struct("<8sHII")
MAX_HEADER = 1 << 26
COPIED_AT_ONCE = 1 << 20
MAX_VIEW_PIXELS, LEAST_VIEW_PIXELS = 1 << 24, 1 << 20  # of a file's own view; the panorama's lies between these
MAX_FOCAL = 4  # widths of the panorama: of that view


@dataclass(frozen=True)
class Segment:
    """A parsed segment: its header, the frames it holds, and where its chunks begin in the file."""

    header: AnySegmentHeader
    first_frame: int
    frames: int
    length: int  # bytes
    offset: int
    starts: NDArray[np.int64]  # of the chunks, from the offset
    sound: Sequence[Chunk] = ()  # chunks behind those of the header

    @cached_property
    def chunks(self) -> Sequence[Chunk]:
        """All chunks: those of the pictures, then those of the sound."""
        return [*self.header.chunks, *self.sound] if self.sound else self.header.chunks

    @property
    def spec(self) -> ModelSpec:
        """Specification of the segment's model."""
        return model_spec(self.header.model)

    @property
    def network(self) -> SegmentHeader:
        """The header of a segment that is a network. Raises ArgumentError for another."""
        if not isinstance(self.header, SegmentHeader):
            raise ArgumentError(f"{self.header.model}: has no network: no weights, no latents and no graph")
        return self.header

    @cached_property
    def latents(self) -> tuple[LatentGrid, ...]:
        """What a network decodes from."""
        return self.network.latents()

    @cached_property
    def key_groups(self) -> KeyGroups:
        """Content of a network's chunks from the third on."""
        return KeyGroups(self.latents, self.frames, self.network.group_size)

    @property
    def sound_size(self) -> int:
        """Bytes of its sound."""
        return sum(chunk.length for chunk in self.sound)

    def chunk_of(self, latent: int, key: int) -> int:
        """The chunk that holds a key of a latent."""
        return 2 + self.key_groups.place(latent, key)

    def chunk_range(self, index: int) -> tuple[int, int]:
        """Offset and length of a chunk in the file."""
        return self.offset + int(self.starts[index]), self.chunks[index].length


class Segments:
    """The segments of a file. A header is read when it is asked for, so that a file of many is opened at once."""

    def __init__(
        self,
        header: FileHeader,
        end: int,
        read: Callable[[SegmentEntry, Sequence[Chunk], int, int], Segment],
        path: Location,
    ) -> None:
        self._entries, self._read, self._path = header.segments, read, path
        self._sound = header.sound.chunks if header.sound else None
        entries = self._entries
        self._frames = list(accumulate((entry.frames for entry in entries), initial=0))
        lengths = list(accumulate((entry.length for entry in entries), initial=0))
        self._offsets = [end - lengths[-1] + length for length in lengths]
        self._known: dict[int, Segment] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: int) -> Segment:
        if not 0 <= index < len(self):
            raise IndexError(index)
        if index not in self._known:
            try:
                sound = self._sound[index] if self._sound else ()
                self._known[index] = self._read(self._entries[index], sound, self._frames[index], self._offsets[index])
            except BitstreamError as error:
                raise BitstreamError(f"{self._path}: {error}") from None
        return self._known[index]

    def __iter__(self) -> Iterator[Segment]:
        return (self[index] for index in range(len(self)))

    def first_frame(self, index: int) -> int:
        """The first frame of a segment, whose header need not be read for it."""
        return self._frames[index]

    def holding(self, frame: int) -> Segment:
        """The segment of a frame of the video."""
        return self[bisect_right(self._frames, frame) - 1]


class Container:
    """An open .nerv360 file. Headers and chunks are checked when they are read, the first two headers on opening.

    The file may lie behind a URL, of which only what is needed is read, or in files under a manifest (manifest.py).
    Any thread may read from it. Raises BitstreamError for a file that is truncated, damaged, foreign, or makes
    impossible claims, VersionError for a newer one, and Nerv360Error where it is closed.
    """

    def __init__(self, path: Location, max_memory: int | None = None) -> None:
        """`max_memory` is for decoders: the bytes that they may take; by default, what is free."""
        self.path, self.max_memory = parse_location(path), max_memory
        self._reading = threading.Lock()
        self._process, self._closed = os.getpid(), False
        try:
            self._file, self.size = open_bytes(self.path)
        except OSError as error:
            raise BitstreamError(f"{path}: cannot be opened: {error.strerror}") from None
        try:
            try:
                self.header = self._read_header()
                self.timeline = Timeline(self.header)
                self._check_sound()
            except BitstreamError as error:
                raise type(error)(f"{path}: {error}") from None
            self.segments = Segments(self.header, self.size, self._read_segment, self.path)
            has_sectors = self.segments[0].header.sector is not None
            if isinstance(self._file, RemoteFile):
                self._reopen(0 if has_sectors else BLOCK_BYTES)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Container":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Give back the file; another process, that was forked, has it still."""
        if self._process != os.getpid():  # whoever held the lock is not there
            self._reading = threading.Lock()
        with self._reading:
            self._closed = True
            self._file.close()

    def check_open(self) -> None:
        """Raises Nerv360Error where the file is closed, or was opened by the process that this one is forked from."""
        if self._closed:
            raise Nerv360Error(f"{self.path}: is closed; open it again")
        if self._process != os.getpid():
            raise Nerv360Error(f"{self.path}: was opened by process {self._process}; open it in this one, too")

    def files(self) -> list[Location]:
        """All files that are read: one, or a manifest and those that it names."""
        return files_of(self.path)

    def chunk(self, segment: Segment, index: int) -> bytes:
        """The bytes of a chunk, checked."""
        try:
            return self._read(*segment.chunk_range(index), segment.chunks[index].crc32, f"chunk {index}")
        except BitstreamError as error:
            raise BitstreamError(f"{self.path}: {error}") from None

    def run(self, segment: Segment, first: int, count: int) -> list[bytes]:
        """The bytes of chunks that follow one another, read at once, each checked."""
        starts = segment.starts[first : first + count + 1].tolist()
        data = self._bytes(segment.offset + starts[0], starts[-1] - starts[0])
        found = [data[a - starts[0] : b - starts[0]] for a, b in pairwise(starts)]
        for number, (each, chunk) in enumerate(zip(found, segment.chunks[first : first + count], strict=True)):
            if len(each) != chunk.length or crc32(each) != chunk.crc32:
                found[number] = self.chunk(segment, first + number)  # says what is wrong
        return found

    def sound_chunk(self, segment: int, number: int) -> bytes:
        """The bytes of a chunk of sound of a segment, both by their numbers, checked."""
        found = self.segments[segment]
        return self.chunk(found, len(found.header.chunks) + number)

    @property
    def sound_size(self) -> int:
        """Bytes of all chunks of sound."""
        track = self.header.sound
        return 0 if track is None else sum(chunk.length for chunks in track.chunks for chunk in chunks)

    def segment_of(self, frame: int) -> Segment:
        """The segment that holds a frame of the video."""
        return self.segments.holding(frame)

    def verify(self) -> None:
        """Read and check every chunk, many small ones at once."""
        for segment in self.segments:
            first, starts = 0, segment.starts
            while first < len(segment.chunks):
                end = max(first + 1, int(np.searchsorted(starts, starts[first] + COPIED_AT_ONCE, "right")) - 1)
                self.run(segment, first, end - first)
                first = end

    def copy(self, target: BinaryIO, start: int = 0) -> None:
        """Write all bytes from `start` on to a file, also those under a manifest."""
        for offset in range(start, self.size, COPIED_AT_ONCE):
            target.write(self._bytes(offset, COPIED_AT_ONCE))

    def stretch(self, start: int, length: int) -> bytes:
        """Bytes of the file, unchecked; fewer where it ends. Raises BitstreamError where they cannot be read."""
        return self._bytes(start, length)

    def _reopen(self, block_bytes: int) -> None:
        """Go on with blocks that suit a remote file: of one with sectors, not all is wanted."""
        headers = self._file
        try:
            self._file = open_file(self.path, block_bytes)
        except OSError as error:
            raise BitstreamError(f"{self.path}: cannot be opened: {error.strerror}") from None
        headers.close()

    def budget(self) -> dict[str, int]:
        """Bytes of every kind of content; they sum to the size of the file."""
        spent: Counter[str] = Counter()
        for segment in self.segments:
            for what, chunk in zip(segment.header.contents(segment.frames), segment.header.chunks, strict=True):
                spent[what] += chunk.length
        if self.header.sound is not None:
            spent["sound"] = self.sound_size
        return {"headers": self.size - spent.total(), **spent}

    def _read_header(self) -> FileHeader:
        if self.size == 0:
            raise BitstreamError("empty file")
        data = self._bytes(0, min(self.size, PREAMBLE.size))
        if data[: len(MAGIC)] != MAGIC:
            raise BitstreamError("not a .nerv360 file")
        if len(data) < PREAMBLE.size:
            raise BitstreamError("truncated in its first bytes")
        _, self.version, length, checksum = PREAMBLE.unpack(data)
        version = self.version
        if version > VERSION:
            raise VersionError(f"format version {version} is newer than {VERSION}, the newest known; update nerv360")
        if version >= 1 and version not in VERSIONS:
            raise VersionError(
                f"format version {version}, of before the first release, is not read any more; encode again"
            )
        if version < 1 or length > MAX_HEADER:
            raise BitstreamError("damaged preamble")
        header = unpack(self._read(PREAMBLE.size, length, checksum, "header"), FileHeader)
        if contradiction := header.contradiction():
            raise BitstreamError(contradiction)
        if version < _version_of(header):
            what = "both eyes" if header.eyes is not None else "sound, or times of frames,"
            raise BitstreamError(f"{what} in a file of version {version}")
        end = PREAMBLE.size + length + sum(entry.length for entry in header.segments)
        if end != self.size:
            what = "truncated" if end > self.size else "followed by foreign bytes"
            raise BitstreamError(f"{what}: {self.size} bytes, but the header speaks of {end}")
        return header

    def _check_sound(self) -> None:
        first, track = 0, self.header.sound
        for entry, chunks in zip(self.header.segments, track.chunks if track else (), strict=track is not None):
            seconds = self.timeline.start_s(first + entry.frames) - self.timeline.start_s(first)
            if len(chunks) > 1 + seconds:
                raise BitstreamError(f"{len(chunks)} seconds of sound in a segment of {entry.frames} frames")
            first += entry.frames

    def _read_segment(self, entry: SegmentEntry, sound: Sequence[Chunk], first_frame: int, offset: int) -> Segment:
        packed = self._read(offset, entry.header_length, entry.header_crc32, "segment header")
        header = unpack_segment_header(packed)
        if _version_of_segment(header) > self.version:
            raise BitstreamError(f"a segment of {header.model} in a file of version {self.version}")
        if header.eyes != self.header.eyes:
            raise BitstreamError(f"a segment of {header.eyes or 1} eyes in a file of {self.header.eyes or 1}")
        starts = np.cumsum(np.fromiter(chain((0,), (chunk.length for chunk in (*header.chunks, *sound))), np.int64))
        offset += entry.header_length
        segment = Segment(header, first_frame, entry.frames, entry.length, offset, starts, sound)
        _check_segment(segment, entry)
        _check_view(header.trained_view(), self.header)
        return segment

    def _read(self, offset: int, length: int, checksum: int, what: str) -> bytes:
        if offset + length > self.size:
            raise BitstreamError(f"truncated in its {what}")
        data = self._bytes(offset, length)
        if len(data) != length or crc32(data) != checksum:
            raise BitstreamError(f"damaged: the checksum of its {what} is wrong")
        return data

    def _bytes(self, offset: int, length: int) -> bytes:
        self.check_open()
        try:
            with self._reading:
                self.check_open()
                return read_at(self._file, offset, length)
        except OSError as error:
            part = f"{error.filename}: " if str(error.filename or self.path) != str(self.path) else ""
            raise BitstreamError(f"{part}cannot be read: {error.strerror}") from None


def _check_segment(segment: Segment, entry: SegmentEntry) -> None:
    header = segment.header
    if contradiction := header.contradiction(entry.frames):
        raise BitstreamError(contradiction)
    if entry.header_length + int(segment.starts[-1]) != entry.length:
        raise BitstreamError("the chunks do not fill their segment")


def _check_view(view: Viewport, header: FileHeader) -> None:
    """A file that claims a large view of its own makes work for everyone who asks for no other."""
    most = min(MAX_VIEW_PIXELS, max(header.width * header.height, LEAST_VIEW_PIXELS))
    if view.width * view.height > most or view.focal[0] > MAX_FOCAL * max(header.width, view.width):
        raise BitstreamError(f"impossible view of {view.width}x{view.height}, {view.hfov_deg:g} degrees wide")


def write_container(
    header: FileHeader,
    segments: Iterator[tuple[AnySegmentHeader, list[bytes]]],
    sound: Sequence[Sequence[bytes]] = (),  # chunks of each segment, where the header speaks of sound
) -> bytes:
    """A whole file. The tables of segments and of chunks are filled in from the chunks themselves."""
    entries, bodies = [], []
    version = _version_of(header)
    if header.sound is not None:
        header = replace(header, sound=replace(header.sound, chunks=[_table(chunks) for chunks in sound]))
    for entry, (segment, chunks), behind in zip(
        header.segments, segments, sound or [()] * len(header.segments), strict=True
    ):
        packed = pack(replace(segment, chunks=_table(chunks)))
        body = packed + b"".join(chunks) + b"".join(behind)
        entries.append(SegmentEntry(entry.frames, len(body), len(packed), crc32(packed)))
        bodies.append(body)
        version = max(version, _version_of_segment(segment))
    return write_head(replace(header, segments=entries), version) + b"".join(bodies)


def _version_of(header: FileHeader) -> int:
    """The oldest version of a file with such a header."""
    if header.eyes is not None:
        return STEREO_VERSION
    return OLDEST_VERSION if header.sound is None and header.times is None else TIMED_VERSION


def _version_of_segment(header: AnySegmentHeader) -> int:
    """The oldest version of a file with such a segment."""
    return header.version if header.sector is None else SECTORS_VERSION


def _table(chunks: Sequence[bytes]) -> list[Chunk]:
    return [Chunk(len(chunk), crc32(chunk)) for chunk in chunks]


def write_head(header: FileHeader, version: int) -> bytes:
    """What stands before the first segment."""
    packed = pack(header)
    return PREAMBLE.pack(MAGIC, version, len(packed), crc32(packed)) + packed
