"""What part of a file with sectors a view needs, told by where they lie alone: motion takes some more."""

import math
from itertools import islice

from nerv360.bitstream.container import Container, Segment
from nerv360.bitstream.header import MotionHeader
from nerv360.geometry.viewport import Viewport
from nerv360.motion.core import Core
from nerv360.motion.keys import Key, split_into_spans
from nerv360.motion.sectors import SectorTable

__all__ = ["share_of_view"]

SPANS = 12  # that are looked at, from the beginning


def share_of_view(container: Container, hfov_deg: float) -> float | None:
    """The part of the bytes of the first spans that a view ahead, 16:9, needs; None without sectors.

    Raises BitstreamError.
    """
    segment = container.segments[0]
    header = segment.header
    if not isinstance(header, MotionHeader) or not header.sector:
        return None
    core = Core(container.header.width, container.header.height, header.sector)
    seen, chunk, needed, total = _seen_sectors(container, header.sector, hfov_deg), 0, 0, 0
    for span in islice(split_into_spans(header.coded_keys()), SPANS):
        bases, lengths = chunk + len(span), _table(container, segment, core, span, chunk)
        size = sum(each.length for each in segment.chunks[chunk : bases + 1])
        needed += size + sum(lengths.stretch(sector)[1] for sector in seen)
        total += size + segment.chunks[bases + 1].length
        chunk = bases + 2
    return needed / total


def _table(container: Container, segment: Segment, core: Core, span: list[Key], first: int) -> SectorTable:
    index = first + len(span)
    return SectorTable.read(core, span, container.chunk(segment, index), segment.chunks[index + 1].length)


def _seen_sectors(container: Container, side: int, hfov_deg: float) -> list[int]:
    """The sectors that a view ahead touches."""
    width, height = container.header.width, container.header.height
    view = Viewport(hfov_deg=hfov_deg, width=16, height=9)
    half_high = math.degrees(math.atan(view.height / 2 / view.focal[1]))
    across, down = math.ceil(width / side), math.ceil(height / side)
    columns = {int(width * (0.5 + part * hfov_deg / 720)) // side for part in (-1, 1)}
    rows = {int(height * (0.5 + part * half_high / 180)) // side for part in (-1, 1)}
    return [
        row * across + column
        for row in range(min(rows), min(max(rows) + 1, down))
        for column in range(min(columns), min(max(columns) + 1, across))
    ]
