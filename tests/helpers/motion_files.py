"""Files of nerv360-motion, from frames, with whatever groups, tuning and step."""

from collections.abc import Sequence

import numpy as np

from nerv360.bitstream.container import write_container
from nerv360.bitstream.header import FileHeader, MotionHeader, SegmentEntry
from nerv360.motion.encoder import GroupEncoder, Tuning, steps_of
from nerv360.types import BT709, Picture


def motion_file(groups: Sequence[Sequence[Picture]], tuning: Tuning, step: float) -> bytes:
    """A file of one segment, whose root has a quantiser's step of so many grey levels."""
    height, width, _ = groups[0][0].shape
    lengths = tuple(map(len, groups))
    steps = steps_of(step, tuning, max(lengths))
    chunks = [coded.data for group in groups for _, coded, _ in GroupEncoder(np.stack(group), {}).encode(tuning, steps)]
    header = MotionHeader("nerv360-motion", width, height, (78.1, 78.1), tuning.interval, lengths, steps, [])
    file = FileHeader(width, height, sum(lengths), 25, 1, BT709, [SegmentEntry(sum(lengths), 1, 1, 0)])
    return write_container(file, iter([(header, chunks)]))
