"""When the pictures of a file are shown."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from statistics import median

import av

from nerv360.storage import Location
from nerv360.video.source import opened, pictures

__all__ = ["MAX_TIMED_FRAMES", "Timing", "read_timing"]

NO_ORDER = {"avi"}  # containers that do not say when a picture is shown, where that is not the order of the packets
MOST_STRETCHED = 16  # times as long as frames one after the other; beyond, times are taken for broken
MAX_TICKS = 2**32 - 1  # of a frame, in units of the stream
MAX_RATE_DENOMINATOR = 1 << 16
MAX_TIMED_FRAMES = 10**6  # that have times of their own: nine hours


@dataclass(frozen=True)
class Timing:
    """The frames of a file are its pictures, in the order in which they are shown."""

    rate: Fraction  # frames per second, on average
    frames: int
    times: tuple[int, ...]  # of every frame, in units of the stream; none where the file does not say
    unit_s: Fraction  # of times
    lost: int  # frames that the file promises behind its last
    uneven: bool = False  # times differ from those of the rate
    remark: str | None = None

    @property
    def zero_s(self) -> Fraction:
        """When the first frame is shown, in seconds of the file, as players count them."""
        return self.times[0] * self.unit_s if self.times else Fraction(0)

    @property
    def closes_gaps(self) -> bool:
        """Whether frames are shown before the file shows them."""
        return bool(self.times) and (self.times[-1] - self.times[0]) * self.unit_s * self.rate > self.frames

    def frame_at(self, time: int) -> int | None:
        """The frame whose picture has this time."""
        position = bisect_left(self.times, time)
        return position if position < len(self.times) and self.times[position] == time else None

    def shown_s(self, frame: int) -> Fraction:
        """When a frame is shown, in seconds of the file, as players count them; or the end of the last."""
        if not self.times:
            return frame / self.rate
        if frame < self.frames:
            return self.times[frame] * self.unit_s
        return self.shown_s(self.frames - 1) + (_usual_gap(self.times) * self.unit_s if self.uneven else 1 / self.rate)

    def starts_s(self, first: int, end: int) -> tuple[Fraction, Fraction]:
        """When a frame begins to be shown, and another, in seconds of the file: by their times, or by the rate."""
        if self.uneven:
            return self.shown_s(first), self.shown_s(end)
        return self.zero_s + first / self.rate, self.zero_s + end / self.rate


def read_timing(path: Location) -> Timing:
    """Look at all packets of a file. Raises VideoError.

    Where they do not say when which picture is shown, all are decoded, and counted.
    """
    with opened(path) as (container, stream):
        packets = [(packet.pts, packet.is_discard) for packet in container.demux(stream) if packet.size]
        lost = max(0, stream.frames - len(packets))
        ordered = not (container.format.name in NO_ORDER and stream.codec_context.has_b_frames)
        unit_s, mean = stream.time_base or Fraction(1), _mean_rate(stream)
    shown = [time for time, hidden in packets if not hidden]
    times = tuple(sorted({time for time in shown if time is not None}))
    if not (ordered and len(times) == len(shown)):
        with opened(path) as (container, stream):
            count = sum(1 for _ in pictures(container, stream))
        return Timing(mean, count, (), unit_s, lost)
    even = Timing(mean, len(times), times, unit_s, lost)
    if len(times) < 3 or _is_even(times, mean * unit_s):
        return even
    return _uneven(even)


def _mean_rate(stream: av.VideoStream) -> Fraction:
    return Fraction(stream.average_rate or stream.guessed_rate or 25)


def _is_even(times: Sequence[int], rate: Fraction) -> bool:
    """Whether no picture is off by a frame; `rate` in frames per unit of the times."""
    numbers = [(time - times[0]) * rate for time in times]
    return all(abs(number - position) < 1 for position, number in enumerate(numbers))


def _uneven(even: Timing) -> Timing:
    """The same frames, at their own times, unless these are out of all proportion."""
    times, usual = even.times, _usual_gap(even.times)
    ticks = times[-1] - times[0] + usual
    if len(times) > MAX_TIMED_FRAMES:
        return replace(even, remark=f"variable frame rate of more than {MAX_TIMED_FRAMES} frames: made even")
    if ticks > MOST_STRETCHED * usual * len(times) or max(b - a for a, b in pairwise(times)) > MAX_TICKS:
        remark = (
            f"times of frames have gaps; they are closed, so that frames follow one another at {float(even.rate):g}/s"
        )
        return replace(even, remark=remark)
    rate = (even.frames / (ticks * even.unit_s)).limit_denominator(MAX_RATE_DENOMINATOR)
    return replace(even, rate=rate, uneven=True, remark="variable frame rate: the times of its frames are kept")


def _usual_gap(times: Sequence[int]) -> int:
    """For how long a picture is shown, mostly."""
    return int(median(b - a for a, b in pairwise(times)))
