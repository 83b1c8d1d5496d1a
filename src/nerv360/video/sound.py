"""The sound of a video file: which of its streams is kept, and its packets, as they are."""

import io
import math
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction

import av
import msgspec
from av.stream import Disposition

from nerv360.storage import Location
from nerv360.types import Sound
from nerv360.video.source import opened

__all__ = ["LEAD_S", "SILENT", "SoundStream", "SoundWriter", "find_sound", "read_packets"]

LEAD_S = Fraction(8, 100)  # before the first frame: what decoders of sound need to begin
JITTER_S = Fraction(2, 1000)  # containers round times, to milliseconds at most
MOST_OF_AAC = 8  # channels


@dataclass(frozen=True)
class SoundStream:
    """A stream whose packets can be kept; none, and a remark, where there is one that cannot."""

    index: int = -1
    format: Sound | None = None
    frame_samples: int = 0  # of a packet; 0 where they differ
    remark: str | None = None


SILENT = SoundStream()
ENCODERS = {"aac": "aac", "opus": "libopus"}  # of PyAV
USUAL_RATE = 48000  # that every encoder takes


def find_sound(container: av.container.InputContainer) -> SoundStream:
    """The stream of sound that is marked as default, or the first."""
    if not container.streams.audio:
        return SILENT
    stream = max(container.streams.audio, key=lambda each: bool(each.disposition & Disposition.default))
    context = stream.codec_context
    if context is None:
        return SoundStream(remark="sound left out: its codec is not known")  # type: ignore[unreachable]  # not in PyAV's types
    name, channels = context.codec.canonical_name, context.layout.nb_channels
    try:
        fields = (name, context.sample_rate, channels, context.extradata or b"")
        kept = msgspec.convert(fields, Sound, builtin_types=(bytes,))
    except msgspec.ValidationError:
        return SoundStream(remark=f"sound left out: {_why_not(name, channels)}")
    return SoundStream(stream.index, kept, context.frame_size if name == "aac" else 0)


def _why_not(codec: str, channels: int) -> str:
    if codec == "aac":
        return "its AAC is that of broadcasts (ADTS); repack it first (ffmpeg -i FILE -c copy NEW.mp4)"
    encoder = "aac" if channels <= MOST_OF_AAC else "libopus -mapping_family 255"
    return (
        f"{codec} is not kept, but AAC and Opus are; convert it first (ffmpeg -i FILE -c:v copy -c:a {encoder} NEW.mp4)"
    )


def read_packets(
    path: Location, sound: SoundStream, zero_s: Fraction, begin_s: Fraction, end_s: Fraction
) -> Iterator[tuple[int, bytes]]:
    """Packets that begin in [begin_s, end_s) of the file, with their times in samples from `zero_s` on.

    A packet that begins where the one before it ends, but for rounding, begins exactly there; one that does not follow
    it is left out. Raises VideoError.
    """
    assert sound.format is not None
    rate, last, expected = sound.format.sample_rate, -math.inf, -math.inf
    for time_s, duration_s, data in _packets_from(path, sound.index, begin_s):
        if time_s < begin_s:
            continue
        if time_s >= end_s:
            return
        time = round((time_s - zero_s) * rate)
        if abs(time - expected) <= JITTER_S * rate:
            time = int(expected)
        if time > last:
            yield time, data
            last, expected = time, time + (sound.frame_samples or round(duration_s * rate))


def _packets_from(path: Location, index: int, begin_s: Fraction) -> Iterator[tuple[Fraction, Fraction, bytes]]:
    """Time, duration and bytes of packets, from this time on at the latest; else from the beginning of the stream."""
    for seek in (begin_s > 0, False):
        with opened(path) as (container, _):
            stream = container.streams[index]
            unit_s = stream.time_base or Fraction(1)
            if seek:
                with suppress(av.FFmpegError):
                    container.seek(int(begin_s / unit_s), stream=stream)
            timed = (
                (each.pts * unit_s, (each.duration or 0) * unit_s, bytes(each))
                for each in container.demux(stream)
                if each.size and each.pts is not None
            )
            first = next(timed, None)
            if first is not None and (not seek or first[0] <= begin_s):
                yield first
                yield from timed
                return


class SoundWriter:
    """Puts packets into a video that is being written, as they are, from time to time."""

    def __init__(
        self,
        container: av.container.OutputContainer,
        sound: Sound,
        packets: Iterable[tuple[int, bytes]],  # with their times in samples
    ) -> None:
        with _template(ENCODERS[sound.codec]) as template:
            self._stream = container.add_stream_from_template(template.streams.audio[0])
        context = self._stream.codec_context
        context.extradata, context.sample_rate = sound.config, sound.sample_rate
        context.layout = f"{sound.channels}C"
        self._unit_s = Fraction(1, sound.sample_rate)
        self._stream.time_base = self._unit_s
        self._container, self._packets = container, _with_durations(packets)
        self._next = next(self._packets, None)

    def write(self, until_s: float = math.inf) -> None:
        """Write the packets that begin before this time."""
        while self._next is not None and self._next[0] * self._unit_s < until_s:
            packet = av.Packet(self._next[2])
            packet.stream, packet.time_base = self._stream, self._unit_s
            packet.pts = packet.dts = self._next[0]
            packet.duration = self._next[1]
            self._container.mux(packet)
            self._next = next(self._packets, None)


def _with_durations(packets: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, int, bytes]]:
    """Times, durations and data: each lasts until the next; the last, as long as the one before it."""
    last: tuple[int, bytes] | None = None
    duration = 0
    for packet in packets:
        if last is not None:
            duration = packet[0] - last[0]
            yield last[0], duration, last[1]
        last = packet
    if last is not None:
        yield last[0], duration, last[1]


def _template(encoder: str) -> av.container.InputContainer:
    """A file with a stream of this codec, from which one without an encoder can be made."""
    data = io.BytesIO()
    with av.open(data, "w", format="matroska") as container:
        stream = container.add_stream(encoder, rate=USUAL_RATE, layout="mono")
        packet = av.Packet(1)
        packet.stream, packet.pts, packet.dts = stream, 0, 0
        container.mux(packet)
    data.seek(0)
    return av.open(data, "r")
