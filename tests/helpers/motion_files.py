"""Files of nerv360-motion, from frames, with whatever groups, tuning and step."""

from collections.abc import Sequence

import numpy as np

from nerv360.bitstream.container import write_container
from nerv360.bitstream.header import FileHeader, MotionHeader, SegmentEntry
from nerv360.motion.encoder import GroupEncoder, Tuning, steps_of
from nerv360.types import BT709, Picture


def motion_file(groups: Sequence[Sequence[Picture]], tuning: Tuning, step: float, eyes: int = 1) -> bytes:
    """A file of one segment, whose root has a quantiser's step of so many grey levels; pictures of two eyes in turn."""
    height, width, _ = groups[0][0].shape
    lengths = tuple(len(group) // eyes for group in groups)
    steps, chunks = steps_of(step, tuning, max(lengths)), []
    for group in groups:
        coded = [each.data for _, each, _ in GroupEncoder(np.stack(group), {}, eyes).encode(tuning, steps)]
        chunks += [data for eye in range(eyes) for data in coded[eye::eyes]]
    levels = tuning.inter_view_levels if eyes == 2 else None
    header = MotionHeader("nerv360-motion", width, height, (78.1, 78.1), tuning.interval, lengths, steps, [], levels)
    entry = SegmentEntry(sum(lengths), 1, 1, 0)
    file = FileHeader(width, height, sum(lengths), 25, 1, BT709, [entry], eyes=header.eyes)
    return write_container(file, iter([(header, chunks)]))
