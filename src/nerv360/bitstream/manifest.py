"""Manifest of a .nerv360 file whose segments lie in files of their own: its first bytes, and where the segments lie.

The manifest is JSON, its name ends in .json, and the files are named relative to it:

    {"head": "iU5FUl...", "segments": [{"file": "film.json.parts/00000-5d4140.nerv360", "offset": 63, "bytes": 314}]}
"""

import io
from bisect import bisect_right
from itertools import accumulate
from typing import Annotated, BinaryIO

import msgspec
from msgspec import Meta, Struct

from nerv360.errors import BitstreamError
from nerv360.storage import Location, name_of, open_file, read_at, sibling, size

__all__ = ["MANIFEST_ENDING", "Manifest", "SegmentLocation", "files_of", "open_bytes", "write_manifest"]

MANIFEST_ENDING = ".json"
MAX_MANIFEST = 1 << 28
FILES_OPEN = 4
HEADER_BLOCK_BYTES = 1 << 14  # of a remote file, which is read in others once it is known


class SegmentLocation(Struct, frozen=True, forbid_unknown_fields=True):
    """Where a segment lies. The name goes down from the manifest's folder: not up, and not elsewhere."""

    file: Annotated[str, Meta(pattern=r"^(?!/)(?!.*(?:^|/)\.\.(?:/|\Z))[^:\\\x00]+\Z", max_length=1024)]
    offset: Annotated[int, Meta(ge=0, le=2**62)]
    bytes: Annotated[int, Meta(ge=1, le=2**40)]


class Manifest(Struct, frozen=True, forbid_unknown_fields=True):
    """All segments of a video, and the bytes that stand before them in one file."""

    head: bytes
    segments: list[SegmentLocation]


def open_bytes(where: Location) -> tuple[BinaryIO, int]:
    """Open a .nerv360 file, or a manifest, as one run of bytes; also their number.

    Raises OSError where it cannot be opened, BitstreamError where it is no manifest in spite of its name.
    """
    if not name_of(where).endswith(MANIFEST_ENDING):
        return open_file(where, HEADER_BLOCK_BYTES), size(where)
    joined = _JoinedSegments(where, _read_manifest(where))
    return joined, joined.size  # type: ignore[return-value]


def files_of(where: Location) -> list[Location]:
    """All files that are read of a .nerv360 file or a manifest. Raises as `open_bytes` does."""
    if not name_of(where).endswith(MANIFEST_ENDING):
        return [where]
    names = dict.fromkeys(segment.file for segment in _read_manifest(where).segments)
    return [where, *(sibling(where, name) for name in names)]


def _read_manifest(where: Location) -> Manifest:
    with open_file(where) as file:
        text = file.read(min(MAX_MANIFEST, size(where)))  # it asks for all of these bytes
    try:
        return msgspec.json.decode(text, type=Manifest)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError, ValueError) as error:
        raise BitstreamError(f"{where}: not a manifest of nerv360: {error}") from None


def write_manifest(manifest: Manifest) -> bytes:
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"


class _JoinedSegments(io.RawIOBase):
    """All bytes that a manifest names. A few files are kept open."""

    def __init__(self, where: Location, manifest: Manifest) -> None:
        self._where, self._manifest = where, manifest
        self._starts = list(accumulate((segment.bytes for segment in manifest.segments), initial=len(manifest.head)))
        self.size = self._starts[-1]
        self._at = 0
        self._open: dict[str, BinaryIO] = {}

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        assert whence == io.SEEK_SET
        self._at = offset
        return offset

    def read(self, length: int = -1) -> bytes:
        """Read on, across files."""
        end = self.size if length < 0 else min(self._at + length, self.size)
        found = [self._manifest.head[self._at : end]]
        at = self._at + len(found[0])
        while at < end:
            index = bisect_right(self._starts, at) - 1
            segment, skip = self._manifest.segments[index], at - self._starts[index]
            found.append(self._read_segment(segment, skip, min(segment.bytes - skip, end - at)))
            if not found[-1]:
                break
            at += len(found[-1])
        self._at = at
        return b"".join(found)

    def close(self) -> None:
        for file in self._open.values():
            file.close()
        self._open.clear()
        super().close()

    def _read_segment(self, segment: SegmentLocation, skip: int, length: int) -> bytes:
        if segment.file not in self._open:
            if len(self._open) == FILES_OPEN:
                self._open.pop(next(iter(self._open))).close()
            self._open[segment.file] = open_file(sibling(self._where, segment.file))
        return read_at(self._open[segment.file], segment.offset + skip, length)
