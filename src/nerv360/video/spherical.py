"""Spherical metadata of MP4 files: by these boxes, players know that a video is a panorama.

Spherical Video V2 (box sv3d) and, for older players, V1 (XML in a uuid box), github.com/google/spatial-media.
"""

import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

__all__ = ["add_boxes", "box", "full_box", "movie_box", "stereo_box", "tag_equirectangular"]

TRACK = (b"moov", b"trak")
SAMPLE_TABLE = (b"mdia", b"minf", b"stbl", b"stsd")
MOST_BYTES = 1 << 26  # of a moov box that is read
MOST_BOXES = 10_000  # before it
BEFORE_ENTRIES = 8  # bytes of an stsd box: version, flags, count
V1 = UUID("ffcc8263-f855-4a93-8814-587a02521fdd")
XML = (
    '<?xml version="1.0"?><rdf:SphericalVideo xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" '
    'xmlns:GSpherical="http://ns.google.com/videos/1.0/spherical/"><GSpherical:Spherical>true</GSpherical:Spherical>'
    "<GSpherical:Stitched>true</GSpherical:Stitched><GSpherical:StitchingSoftware>nerv360</GSpherical:StitchingSoftware>"
    "<GSpherical:ProjectionType>equirectangular</GSpherical:ProjectionType>{}</rdf:SphericalVideo>"
)
XML_TOP_BOTTOM = "<GSpherical:StereoMode>top-bottom</GSpherical:StereoMode>"
TOP_BOTTOM = 1  # stereo mode


def box(kind: bytes, content: bytes) -> bytes:
    """A box of an MP4 file."""
    return struct.pack(">I4s", 8 + len(content), kind) + content


def full_box(kind: bytes, content: bytes) -> bytes:
    """A box with a version and flags, both 0."""
    return box(kind, bytes(4) + content)


def stereo_box(mode: int) -> bytes:
    """An st3d box: 1 is top and bottom, 2 left and right, 4 right and left."""
    return full_box(b"st3d", bytes([mode]))


def tag_equirectangular(path: Path, top_bottom: bool = False) -> None:
    """Say in an MP4 file of one track that it holds equirectangular panoramas: one eye's, or left above right.

    Raises OSError.
    """
    projection = box(b"proj", full_box(b"prhd", bytes(12)) + full_box(b"equi", bytes(16)))
    spherical = box(b"sv3d", full_box(b"svhd", b"nerv360\0") + projection)
    xml = XML.format(XML_TOP_BOTTOM if top_bottom else "").encode()
    add_boxes(path, (stereo_box(TOP_BOTTOM) if top_bottom else b"") + spherical, box(b"uuid", V1.bytes + xml))


def add_boxes(path: Path, sample_entry: bytes, track: bytes) -> None:
    """Append boxes to the first sample entry and to the first track of an MP4 file, whose moov box is its last."""
    with open(path, "r+b") as file:
        movie = movie_box(file)
        if movie:
            file.seek(-len(movie), os.SEEK_END)
            file.write(_grown(_grown(movie, TRACK, track), (*TRACK, *SAMPLE_TABLE), sample_entry))


def movie_box(file: BinaryIO) -> bytes:
    """The moov box of an MP4 file, which says all of its tracks; nothing where there is none, or none that is sane."""
    position = 0
    for _ in range(MOST_BOXES):
        header = _read_at(file, position, 16)
        length = int.from_bytes(header[:4])
        length = int.from_bytes(header[8:]) if length == 1 else length
        if header[4:8] == TRACK[0]:
            return _read_at(file, position, length) if length <= MOST_BYTES else b""
        if length < 8:  # or the file has ended
            break
        position += length
    return b""


def _read_at(file: BinaryIO, position: int, length: int) -> bytes:
    file.seek(position)
    return file.read(length)


def _grown(boxes: bytes, path: Sequence[bytes], more: bytes) -> bytes:
    """Boxes, of which the first of the path has grown at its end: an stsd box, at the end of its first entry."""
    position = 0
    while boxes[position + 4 : position + 8] != path[0]:
        position += int.from_bytes(boxes[position : position + 4])
    end = position + int.from_bytes(boxes[position : position + 4])
    content = boxes[position + 8 : end]
    if path[0] == SAMPLE_TABLE[-1]:
        entries = content[BEFORE_ENTRIES:]
        content = content[:BEFORE_ENTRIES] + _grown(entries, (entries[4:8],), more)
    else:
        content = _grown(content, path[1:], more) if path[1:] else content + more
    return boxes[:position] + box(path[0], content) + boxes[end:]
