"""Files of one segment each -> one file, or a manifest of them. Segments are copied byte by byte."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from msgspec.structs import replace

from nerv360.bitstream.container import Container, write_head
from nerv360.bitstream.header import FileHeader, FrameTimes
from nerv360.bitstream.manifest import MANIFEST_ENDING, Manifest, SegmentLocation, write_manifest
from nerv360.claims import check_output
from nerv360.errors import BitstreamError
from nerv360.storage import Location, atomic_write, name_of

__all__ = ["mux"]


def mux(inputs: Sequence[Location], output: Location) -> int:
    """Write the segments of files of one video, one behind the other; returns the bytes of the file.

    An output that ends in .json becomes a manifest of the inputs, which must lie in a folder beside it and stay there.
    Raises BitstreamError where an input is damaged or of another video, ArgumentError where the output is an input,
    OutputError.
    """
    headers, sizes, versions = [], [], []
    for each in inputs:
        with Container(each) as container:
            container.verify()
            headers.append(container.header)
            sizes.append(container.size)
            versions.append(container.version)
            check_output(output, *container.files())
    head = write_head(_joined(headers, inputs), max(versions))
    bodies = [sum(entry.length for entry in header.segments) for header in headers]
    offsets = [size - body for size, body in zip(sizes, bodies, strict=True)]
    with atomic_write(output) as partial, open(partial, "wb") as file:
        if name_of(output).endswith(MANIFEST_ENDING):
            found = zip(inputs, offsets, bodies, strict=True)
            segments = [SegmentLocation(f"{_folder(each)}/{name_of(each)}", start, size) for each, start, size in found]
            file.write(write_manifest(Manifest(head, segments)))
        else:
            file.write(head)
            for each, offset in zip(inputs, offsets, strict=True):
                with Container(each) as container:
                    container.copy(file, offset)
    return len(head) + sum(bodies)


def _joined(headers: Sequence[FileHeader], inputs: Sequence[Location]) -> FileHeader:
    first = headers[0]
    for header, each in zip(headers, inputs, strict=True):
        if _traits(header) != _traits(first):
            raise BitstreamError(
                f"{each}: is of another video than {inputs[0]}: size, frame rate, colours, eyes or sound differ"
            )
    entries = [entry for header in headers for entry in header.segments]
    sound = first.sound and replace(
        first.sound, chunks=[chunks for header in headers if header.sound for chunks in header.sound.chunks]
    )
    ticks = [header.times.unpack(header.frames) for header in headers if header.times]
    times = first.times and FrameTimes.of(np.concatenate(ticks), first.times.tick_s)
    frames = sum(header.frames for header in headers)
    return replace(first, frames=frames, segments=entries, sound=sound, times=times)


def _traits(header: FileHeader) -> FileHeader:
    """What is alike in all files of one video."""
    sound = replace(header.sound, chunks=[]) if header.sound else None
    times = replace(header.times, durations=b"") if header.times else None
    return replace(header, frames=1, segments=[], sound=sound, times=times)


def _folder(location: Location) -> str:
    return name_of(location.parent) if isinstance(location, Path) else location.split("/")[-2]
