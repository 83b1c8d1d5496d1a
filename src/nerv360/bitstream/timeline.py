"""When the frames of a file are shown."""

from fractions import Fraction

import numpy as np

from nerv360.bitstream.header import FileHeader
from nerv360.types import FrameDurations

__all__ = ["Timeline"]


class Timeline:
    """The beginning of every frame, at an even rate, or as the file has them. Raises BitstreamError."""

    def __init__(self, header: FileHeader) -> None:
        self._frame_s = 1 / header.frame_rate
        self._times = header.times
        ticks = self._times.unpack(header.frames) if self._times else np.zeros(0, np.uint32)
        self._starts = np.append(np.int64(0), np.cumsum(ticks, dtype=np.int64))  # in ticks

    @property
    def variable(self) -> bool:
        """Whether frames differ in how long they are shown."""
        return self._times is not None

    def start_s(self, frame: int) -> Fraction:
        """When a frame begins, in seconds; of the one behind the last: the end."""
        if self._times is None:
            return frame * self._frame_s
        return int(self._starts[frame]) * self._times.tick_s

    def durations(self, frames: range) -> FrameDurations | None:
        """For how long these frames are shown, where the rate is variable."""
        if self._times is None:
            return None
        chosen = np.array(frames)
        return FrameDurations(tuple((self._starts[chosen + 1] - self._starts[chosen]).tolist()), self._times.tick_s)
