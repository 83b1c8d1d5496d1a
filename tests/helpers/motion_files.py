"""Files of nerv360-motion, from frames, with whatever groups, tuning and step."""

from collections.abc import Sequence

import numpy as np

from nerv360.bitstream.container import write_container
from nerv360.bitstream.header import FileHeader, MotionHeader, SegmentEntry
from nerv360.motion.encoder import GroupEncoder, Tuning, steps_of
from nerv360.motion.sectors import write_chunks
from nerv360.types import BT709, Picture


def motion_file(
    groups: Sequence[Sequence[Picture]], tuning: Tuning, step: float, eyes: int = 1, sector: int = 0
) -> bytes:
    """A file of one segment, whose root has a quantiser's step of so many grey levels; pictures of two eyes in turn."""
    height, width, _ = groups[0][0].shape
    lengths = tuple(len(group) // eyes for group in groups)
    steps, keys = steps_of(step, tuning, max(lengths)), []
    for group in groups:
        encoder = GroupEncoder(np.stack(group), {}, eyes, sector)
        coded = [(key.data, key.sectors) for _, key, _ in encoder.encode(tuning, steps)]
        keys += [each for eye in range(eyes) for each in coded[eye::eyes]]
    levels = tuning.inter_view_levels if eyes == 2 else None
    fields = ("nerv360-motion", width, height, (78.1, 78.1), tuning.interval, lengths, steps, [], levels)
    header = MotionHeader(*fields, sector=sector or None)
    chunks = write_chunks(width, height, sector, header.coded_keys(), keys)
    entry = SegmentEntry(sum(lengths), 1, 1, 0)
    file = FileHeader(width, height, sum(lengths), 25, 1, BT709, [entry], eyes=header.eyes)
    return write_container(file, iter([(header, chunks)]))
