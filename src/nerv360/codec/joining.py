"""Files of one segment each -> one file, or a manifest of them. Segments are copied byte by byte."""

from collections.abc import Sequence
from pathlib import Path

from msgspec.structs import replace

from nerv360.bitstream.container import Container, write_head
from nerv360.bitstream.header import FileHeader
from nerv360.bitstream.pieces import MANIFEST_ENDING, Manifest, Piece, write_manifest
from nerv360.errors import BitstreamError
from nerv360.storage import Location, atomic_write, name_of

__all__ = ["join"]


def join(parts: Sequence[Location], output: Location) -> int:
    """Write the segments of these files, which show one video, one behind the other; returns the file's bytes.

    An output that ends in .json becomes a manifest of the parts, which must lie in a folder beside it and stay there.
    Raises BitstreamError where a part is damaged or of another video, OutputError.
    """
    headers, sizes = [], []
    for part in parts:
        with Container(part) as container:
            container.verify()
            headers.append(container.header)
            sizes.append(container.size)
    head = write_head(_joined(headers, parts))
    bodies = [sum(entry.length for entry in header.segments) for header in headers]
    offsets = [size - body for size, body in zip(sizes, bodies, strict=True)]
    with atomic_write(output) as partial, open(partial, "wb") as file:
        if name_of(output).endswith(MANIFEST_ENDING):
            places = zip(parts, offsets, bodies, strict=True)
            pieces = [Piece(f"{_folder(part)}/{name_of(part)}", offset, size) for part, offset, size in places]
            file.write(write_manifest(Manifest(head, pieces)))
        else:
            file.write(head)
            for part, offset in zip(parts, offsets, strict=True):
                with Container(part) as container:
                    container.copy(file, offset)
    return len(head) + sum(bodies)


def _joined(headers: Sequence[FileHeader], parts: Sequence[Location]) -> FileHeader:
    first = headers[0]
    for header, part in zip(headers, parts, strict=True):
        if replace(header, frames=1, segments=first.segments) != replace(first, frames=1):
            raise BitstreamError(f"{part}: is of another video than {parts[0]}: size, frame rate or colours differ")
    entries = [entry for header in headers for entry in header.segments]
    return replace(first, frames=sum(header.frames for header in headers), segments=entries)


def _folder(part: Location) -> str:
    return name_of(part.parent) if isinstance(part, Path) else part.split("/")[-2]
