"""Sound in a .nerv360 file: packets of another codec, unchanged, in chunks of a second each (docs/bitstream.md)."""

import math
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import pairwise
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from nerv360.bitstream.container import Container
from nerv360.errors import BitstreamError
from nerv360.types import Sound
from nerv360.video.sound import LEAD_S

__all__ = ["Packet", "pack_sound", "read_sound", "sound_of"]


class Packet(Struct, array_like=True, frozen=True, forbid_unknown_fields=True, gc=False):
    """A packet of sound, and when its samples begin."""

    time: Annotated[int, Meta(ge=-(2**48), le=2**48, description="samples from the segment's first frame")]
    data: Annotated[bytes, Meta(min_length=1, max_length=2**16, description="as its codec has it")]


Packets = Annotated[list[Packet], Meta(max_length=4096)]


def pack_sound(packets: Iterable[tuple[int, bytes]], sample_rate: int) -> list[bytes]:
    """Packets (time, data) of a segment, in order -> its chunks, each of those that begin in one second."""
    seconds: list[list[Packet]] = []
    for packet in packets:
        number = _second_of(packet[0], sample_rate)
        seconds += ([] for _ in range(len(seconds), number + 1))
        seconds[number].append(Packet(*packet))
    return [msgspec.msgpack.encode(second) for second in seconds]


def sound_of(container: Container, frames: range) -> tuple[Sound, Iterator[tuple[int, bytes]]] | None:
    """The sound of these frames, and a little before: packets with their times in samples from the first of them."""
    track, start_s = container.header.sound, container.timeline.start_s
    if track is None:
        return None
    zero = round(start_s(frames.start) * track.sample_rate)
    packets = read_sound(container, start_s(frames.start) - LEAD_S, start_s(frames.stop))
    return track, ((time - zero, data) for time, data in packets)


def read_sound(container: Container, begin_s: Fraction, end_s: Fraction) -> Iterator[tuple[int, bytes]]:
    """Packets that begin in [begin_s, end_s) of the video, with their times in samples from its first frame.

    One that is not behind the one before it is left out. Raises BitstreamError where they are damaged.
    """
    track = container.header.sound
    assert track is not None
    sample_rate, last = track.sample_rate, -math.inf
    begin, end = begin_s * sample_rate, end_s * sample_rate
    for index, chunks in enumerate(track.chunks):
        first_frame = container.segments.first_frame(index)
        start = math.floor(container.timeline.start_s(first_frame) * sample_rate)
        for number in range(len(chunks)):
            if start + (number + 1) * sample_rate <= begin or start + number * sample_rate >= end:
                continue
            for packet in _unpack(container, index, number, sample_rate):
                time = start + packet.time
                if begin <= time < end and time > last:
                    yield time, packet.data
                    last = time


def _unpack(container: Container, segment: int, number: int, sample_rate: int) -> list[Packet]:
    """The packets of a chunk."""
    data = container.sound_chunk(segment, number)
    try:
        packets = msgspec.msgpack.decode(data, type=Packets)
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise BitstreamError(f"{container.path}: impossible chunk of sound: {error}") from None
    if any(_second_of(packet.time, sample_rate) != number for packet in packets):
        raise BitstreamError(f"{container.path}: a chunk of sound holds packets of another second")
    if any(after.time <= before.time for before, after in pairwise(packets)):
        raise BitstreamError(f"{container.path}: packets of sound are not in order")
    return packets


def _second_of(time: int, sample_rate: int) -> int:
    """The chunk of a packet; the first one also holds what precedes the segment."""
    return max(0, time // sample_rate)
