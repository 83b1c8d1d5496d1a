"""When the pictures of a file are shown, and which frames of a regular frame rate they are."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from statistics import median

import av

from nerv360.storage import Location
from nerv360.video.source import opened, pictures

__all__ = ["Timing", "read_timing"]

NO_ORDER = {"avi"}  # containers that do not say when a picture is shown, where that is not the order of the packets
MOST_REPEATED = 16  # times as many frames as pictures; beyond, times are taken for broken
RATES_DIFFER = 0.1


@dataclass(frozen=True)
class Timing:
    """Frames of the file: a picture stays until the next is due. Without times, they are the pictures in order."""

    rate: Fraction  # frames per second
    frames: int
    times: tuple[int, ...]  # of every picture, in order, in units of the stream
    numbers: Sequence[int]  # the frame that every picture is, in order
    unit_s: Fraction  # of times
    lost: int  # frames that the file promises behind its last
    remark: str | None

    @property
    def zero_s(self) -> Fraction:
        """When the first frame is shown, in seconds of the file, as players count them."""
        return self.times[0] * self.unit_s if self.times else Fraction(0)

    @property
    def closes_gaps(self) -> bool:
        """Whether frames are shown before the file shows them."""
        return bool(self.times) and (self.times[-1] - self.times[0]) * self.unit_s * self.rate > self.frames

    def picture_of(self, frame: int) -> int:
        """The position of the picture that a frame shows."""
        return bisect_right(self.numbers, frame) - 1

    def frame_at(self, time: int) -> int | None:
        """The frame that the picture of this time is."""
        position = bisect_left(self.times, time)
        known = position < len(self.times) and self.times[position] == time
        return self.numbers[position] if known else None

    def shown_s(self, frame: int) -> Fraction:
        """When a frame is shown, in seconds of the file, as players count them."""
        if not self.times:
            return frame / self.rate
        if self.frames == len(self.times):
            return self.times[frame] * self.unit_s
        return self.times[0] * self.unit_s + frame / self.rate


def read_timing(path: Location) -> Timing:
    """Look at all packets of a file. Raises VideoError.

    Where they do not say when which picture is shown, all are decoded, and counted.
    """
    with opened(path) as (container, stream):
        packets = [(packet.pts, packet.is_discard) for packet in container.demux(stream) if packet.size]
        lost = max(0, stream.frames - len(packets))
        ordered = not (container.format.name in NO_ORDER and stream.codec_context.has_b_frames)
        unit_s, mean = stream.time_base or Fraction(1), _mean_rate(stream)
        usual = stream.guessed_rate or mean
    shown = [time for time, hidden in packets if not hidden]
    times = tuple(sorted({time for time in shown if time is not None}))
    if not (ordered and len(times) == len(shown)):
        with opened(path) as (container, stream):
            count = sum(1 for _ in pictures(container, stream))
        return Timing(mean, count, (), (), unit_s, lost, None)
    even = Timing(mean, len(times), times, range(len(times)), unit_s, lost, None)
    if len(times) < 3 or _is_even(times, mean * unit_s):
        return even
    return _made_regular(even, usual)


def _mean_rate(stream: av.VideoStream) -> Fraction:
    return Fraction(stream.average_rate or stream.guessed_rate or 25)


def _is_even(times: Sequence[int], rate: Fraction) -> bool:
    """Whether no picture is off by a frame; `rate` in frames per unit of the times."""
    numbers = [(time - times[0]) * rate for time in times]
    return all(abs(number - position) < 1 for position, number in enumerate(numbers))


def _made_regular(even: Timing, usual: Fraction) -> Timing:
    """Pictures at the nearest frames of their usual rate, each repeated until the next."""
    typical = 1 / (even.unit_s * Fraction(median(b - a for a, b in pairwise(even.times))))
    rate = usual if abs(usual / typical - 1) < RATES_DIFFER else typical.limit_denominator(1001)
    numbers = tuple(round((time - even.times[0]) * even.unit_s * rate) for time in even.times)
    frames = numbers[-1] + 1
    if frames > MOST_REPEATED * len(numbers):
        remark = (
            f"times of frames have gaps; they are closed, so that frames follow one another at {float(even.rate):g}/s"
        )
        return Timing(even.rate, even.frames, even.times, even.numbers, even.unit_s, even.lost, remark)
    remark = f"variable frame rate: made regular, {len(numbers)} pictures as {frames} frames at {float(rate):g}/s"
    return Timing(rate, frames, even.times, numbers, even.unit_s, even.lost, remark)
