"""Files of nerv360-motion, from frames, with whatever groups, tuning and step."""

from collections.abc import Sequence

import numpy as np

from nerv360.bitstream.container import write_container
from nerv360.bitstream.header import FileHeader, MotionHeader, SegmentEntry
from nerv360.motion.core import Core
from nerv360.motion.encoder import GroupEncoder, Tuning, steps_of
from nerv360.motion.sectors import write_chunks
from nerv360.types import BT709, Picture


def motion_file(groups: Sequence[Sequence[Picture]], tuning: Tuning, step: float, sector: int = 0) -> bytes:
    """A file of one segment, whose root has a quantiser's step of so many grey levels, perhaps with sectors."""
    height, width, _ = groups[0][0].shape
    lengths = tuple(map(len, groups))
    steps = steps_of(step, tuning, max(lengths))
    coded = [
        (key.data, key.sectors)
        for group in groups
        for _, key, _ in GroupEncoder(np.stack(group), {}, sector).encode(tuning, steps)
    ]
    fields = ("nerv360-motion", width, height, (78.1, 78.1), tuning.interval, lengths, steps, [])
    header = MotionHeader(*fields, sector=sector or None)
    chunks = write_chunks(Core(width, height, sector), header.coded_keys(), coded)
    file = FileHeader(width, height, sum(lengths), 25, 1, BT709, [SegmentEntry(sum(lengths), 1, 1, 0)])
    return write_container(file, iter([(header, chunks)]))
