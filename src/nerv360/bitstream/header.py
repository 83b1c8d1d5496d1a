"""The headers of a .nerv360 file: one table each of (name, type, range, meaning).

These classes are the writer, the reader's checks, the rows of `nerv360 info`, and the tables of docs/bitstream.md.
Headers are MessagePack arrays: the values in this order, without their names.
"""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import fields
from fractions import Fraction
from typing import Annotated, Any, ClassVar, TypeVar

import msgspec
import numpy as np
from msgspec import Meta, Struct
from msgspec.structs import astuple
from numpy.typing import NDArray

from nerv360.errors import BitstreamError
from nerv360.geometry.viewport import Viewport
from nerv360.latents.grid import LatentGrid
from nerv360.latents.key_groups import KeyGroups, count_key_groups
from nerv360.models.fields import Condition, EmbeddingChannels, GroupSize, Kernels, LastBlock, Strides, Widths
from nerv360.models.network_config import NetworkConfig
from nerv360.models.registry import model_spec, network_spec
from nerv360.motion.keys import SECTOR_UNIT, Key, key_order, keys_of_groups, split_into_spans
from nerv360.types import Colour, Sound
from nerv360.video.timing import MAX_TIMED_FRAMES

__all__ = [
    "MAX_SOUND_CHUNK",
    "AnySegmentHeader",
    "Chunk",
    "FileHeader",
    "FrameTimes",
    "ModelHeader",
    "MotionHeader",
    "SegmentEntry",
    "SegmentHeader",
    "SoundTrack",
    "pack",
    "unpack",
    "unpack_segment_header",
]


def _integer(low: int, high: int, meaning: str) -> Meta:
    return Meta(ge=low, le=high, description=meaning)


Header = TypeVar("Header", bound=Struct)

_U32 = 2**32 - 1
MAX_SOUND_CHUNK = 1 << 22  # bytes

Ticks = NDArray[np.uint32]


class SegmentEntry(Struct, array_like=True, frozen=True, forbid_unknown_fields=True, gc=False):
    """One segment: consecutive frames, decoded from nothing else."""

    frames: Annotated[int, _integer(1, 10**7, "of the segment")]
    length: Annotated[int, _integer(1, 2**40, "bytes: header and chunks")]
    header_length: Annotated[int, _integer(1, 2**26, "bytes of its header")]
    header_crc32: Annotated[int, _integer(0, _U32, "CRC-32 of its header")]


class Chunk(Struct, array_like=True, frozen=True, forbid_unknown_fields=True, gc=False):
    """A stretch of bytes with a checksum."""

    length: Annotated[int, _integer(0, 2**31, "bytes")]
    crc32: Annotated[int, _integer(0, _U32, "CRC-32 of these bytes")]


class SoundTrack(Sound, array_like=True, frozen=True, forbid_unknown_fields=True):
    """The sound of a file, and its chunks, which lie behind those of the pictures of their segment."""

    chunks: Annotated[
        list[Annotated[list[Chunk], Meta(max_length=10**6)]],
        Meta(min_length=1, max_length=10**6, description="of each segment, one for every second"),
    ]


class FrameTimes(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """For how long each frame is shown."""

    tick_numerator: Annotated[int, _integer(1, _U32, "of the seconds of a tick")]
    tick_denominator: Annotated[int, _integer(1, _U32, "of the seconds of a tick")]
    durations: Annotated[bytes, Meta(min_length=1, max_length=2**23, description="zlib of each frame's ticks")]

    @staticmethod
    def of(ticks: Sequence[int] | Ticks, tick_s: Fraction) -> "FrameTimes":
        """Inverse of `unpack`."""
        data = np.asarray(ticks, "<u4").tobytes()
        return FrameTimes(tick_s.numerator, tick_s.denominator, zlib.compress(data, 9))

    @property
    def tick_s(self) -> Fraction:
        """Seconds of a tick."""
        return Fraction(self.tick_numerator, self.tick_denominator)

    def unpack(self, frames: int) -> Ticks:
        """Ticks of so many frames. Raises BitstreamError where there are not as many."""
        if frames > MAX_TIMED_FRAMES:
            raise BitstreamError(f"durations of more than {MAX_TIMED_FRAMES} frames")
        reader = zlib.decompressobj()
        try:
            ticks = reader.decompress(self.durations, 4 * frames + 1)
        except zlib.error as error:
            raise BitstreamError(f"impossible durations of frames: {error}") from None
        if (
            len(ticks) != 4 * frames
            or not reader.eof
            or reader.unused_data
            or 0 in (found := np.frombuffer(ticks, "<u4"))
        ):
            raise BitstreamError(f"impossible durations of {frames} frames")
        return found


class FileHeader(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """What the video is, and where its segments lie: one behind the other, from the end of this header."""

    width: Annotated[int, _integer(1, 16384, "pixels of the panorama")]
    height: Annotated[int, _integer(1, 16384, "pixels of the panorama")]
    frames: Annotated[int, _integer(1, 10**7, "of all segments together")]
    rate_numerator: Annotated[int, _integer(1, _U32, "of the frames per second")]
    rate_denominator: Annotated[int, _integer(1, _U32, "of the frames per second")]
    colour: Annotated[Colour, Meta(description="of the source")]
    segments: Annotated[list[SegmentEntry], Meta(min_length=1, max_length=10**6, description="in order")]
    sound: Annotated[SoundTrack | None, Meta(description="missing, or nil, where there is none")] = None
    times: Annotated[FrameTimes | None, Meta(description="missing, or nil, where all last equally long")] = None
    eyes: Annotated[
        Annotated[int, Meta(ge=2, le=2)] | None, Meta(description="pictures of a frame; if missing, one")
    ] = None

    @property
    def frame_rate(self) -> Fraction:
        """Frames per second."""
        return Fraction(self.rate_numerator, self.rate_denominator)

    def contradiction(self) -> str | None:
        """Why this cannot be the header of a file, or None."""
        if sum(entry.frames for entry in self.segments) != self.frames:
            return f"frames={self.frames}: the segments hold another number"
        if self.sound is None:
            return None
        if len(self.sound.chunks) != len(self.segments):
            return f"sound of {len(self.sound.chunks)} segments, of {len(self.segments)}"
        if any(chunk.length > MAX_SOUND_CHUNK for chunks in self.sound.chunks for chunk in chunks):
            return f"a second of sound of more than {MAX_SOUND_CHUNK} bytes"
        return None


class ModelHeader(Struct, array_like=True, frozen=True):
    """The first value of every segment's header. What follows it, the model's specification says."""

    model: Annotated[str, Meta(max_length=32, description="the model's name")]

    def __post_init__(self) -> None:
        model_spec(self.model)


class SegmentHeader(ModelHeader, array_like=True, frozen=True, forbid_unknown_fields=True):
    """A segment's network, and where its chunks lie: one behind the other, from the end of this header."""

    channels: Annotated[Widths, Meta(description="widths: c2, then every stage's")]
    encoder_strides: Annotated[Strides, Meta(description="panorama to embedding")]
    decoder_strides: Annotated[Strides, Meta(description="cut-out to viewport")]
    kernels: Annotated[Kernels, Meta(description="of the upsampling convolutions")]
    embedding_channels: Annotated[EmbeddingChannels, Meta(description="channels of the embedding, d")]
    expand_first: Annotated[bool, Meta(description="expansion before the extraction")]
    conditions: Annotated[tuple[Condition, ...], Meta(max_length=4, description="inputs of STAT beside time")]
    pe_base: Annotated[float, Meta(ge=1, le=16, description="positional encoding, b")]
    pe_frequencies: Annotated[int, _integer(1, 256, "positional encoding, l")]
    view_width: Annotated[int, _integer(1, 16384, "of the training viewport")]
    view_height: Annotated[int, _integer(1, 16384, "of the training viewport")]
    hfov_deg: Annotated[tuple[float, float], Meta(description="trained fields of view")]
    roll_deg: Annotated[tuple[float, float], Meta(description="trained roll angles")]
    group_size: Annotated[GroupSize, Meta(description="frames per key group")]
    grids: Annotated[tuple[LatentGrid, ...], Meta(max_length=32, description="of nerv360-grid")]
    oriented: Annotated[bool, Meta(description="camera angles are given")]
    chunks: Annotated[
        list[Chunk],
        Meta(min_length=3, max_length=10**7, description="weights, latent tables, key groups"),
    ]
    last_block: Annotated[LastBlock, Meta(description="the last residual block; if missing, full")] = "full"
    late_blocks: Annotated[
        Annotated[int, Meta(ge=2, le=4)] | None,
        Meta(description="blocks of each of the last three stages; if missing, 1"),
    ] = None

    version: ClassVar[int] = 5  # of the first files that hold such segments
    eyes: ClassVar[None] = None  # as in FileHeader
    sector: ClassVar[None] = None

    def __post_init__(self) -> None:
        _check_fov(self.hfov_deg)
        if not -360 <= self.roll_deg[0] <= self.roll_deg[1] <= 360:
            raise ValueError(f"roll_deg={self.roll_deg}")
        network = self.network(1, 1)
        if self.oriented and not network.spec.world_aligned:
            raise ValueError(f"oriented: not in the model {self.model}")

    def network(self, width: int, height: int) -> NetworkConfig:
        """The network for a panorama of this size. Raises ArgumentError where the fields contradict each other."""
        known = {name: getattr(self, name) for name in _NETWORK_FIELDS}
        return NetworkConfig(width, height, **known | {"late_blocks": self.late_blocks or 1})

    @staticmethod
    def of_network(network: NetworkConfig, **others: Any) -> "SegmentHeader":
        """A header with a network's fields, and others; the chunks are filled in when the file is written."""
        known = {name: getattr(network, name) for name in _NETWORK_FIELDS}
        known["late_blocks"] = network.late_blocks if network.late_blocks > 1 else None
        return SegmentHeader(**known, **others, chunks=[])

    def trained_view(self) -> Viewport:
        """The viewport that the network was trained on, looking ahead, at the least field of view."""
        return Viewport(hfov_deg=self.hfov_deg[0], width=self.view_width, height=self.view_height)

    def latents(self) -> tuple[LatentGrid, ...]:
        """What the network decodes from: its grids, or the embeddings of the other models."""
        return self.network(1, 1).latents

    def contradiction(self, frames: int) -> str | None:
        """Why this cannot be the header of a segment of so many frames, or None."""
        needed = 2 + count_key_groups(self.latents(), frames, self.group_size)
        if len(self.chunks) == needed:
            return None
        return f"{frames} frames need {needed} chunks, the segment has {len(self.chunks)}"

    def contents(self, frames: int) -> Iterator[str]:
        """What every chunk is."""
        yield from ("weights", "latent tables")
        latents, kind = self.latents(), network_spec(self.model).latents
        for group in KeyGroups(latents, frames, self.group_size):
            yield kind.describe(latents[group.latent])

    def rows(self) -> Iterator[tuple[str, str]]:
        """What `nerv360 info` tells: names and values."""
        yield "network", f"{self.model}, widths {tuple(self.channels)}"
        for latent in self.latents():
            when = (
                f"every {latent.key_interval} frames"
                if latent.key_interval > 1
                else "every frame"
                if latent.key_interval
                else "static"
            )
            yield "latent", f"1/{latent.stride} of the panorama, {latent.channels} channels, {when}"
        yield "trained view", f"{self.view_width}x{self.view_height}, {_range(self.hfov_deg)} degrees wide"
        yield "random access", f"groups of {self.group_size} frames"


_NETWORK_FIELDS = tuple(f.name for f in fields(NetworkConfig) if f.name in SegmentHeader.__struct_fields__)


class MotionHeader(ModelHeader, array_like=True, frozen=True, forbid_unknown_fields=True):
    """A segment whose frames are keys that predict one another (motion/keys.py), and where its chunks lie."""

    view_width: Annotated[int, _integer(1, 16384, "of the view that is measured")]
    view_height: Annotated[int, _integer(1, 16384, "of that view")]
    hfov_deg: Annotated[tuple[float, float], Meta(description="its least and greatest, in 1..170")]
    interval: Annotated[int, _integer(1, 64, "frames between P keys")]
    groups: Annotated[
        tuple[Annotated[int, Meta(ge=1, le=256)], ...],
        Meta(min_length=1, max_length=10**7, description="frames of each group of keys"),
    ]
    steps: Annotated[
        tuple[Annotated[int, Meta(ge=1, le=65535)], ...],
        Meta(min_length=1, max_length=16, description="quantiser's step of each level, in 1/16 of a grey level"),
    ]
    chunks: Annotated[
        list[Chunk],
        Meta(min_length=1, max_length=10**7, description="keys, in coding order; sectors behind the keys of a span"),
    ]
    inter_view_levels: Annotated[
        Annotated[int, Meta(ge=1, le=16)] | None,
        Meta(description="of right keys predicted from left ones; missing, or nil, without `eyes`"),
    ] = None
    sector: Annotated[
        Annotated[int, Meta(ge=SECTOR_UNIT, le=16384, multiple_of=SECTOR_UNIT)] | None,
        Meta(description="pixels of a sector each way; missing without sectors"),
    ] = None

    version: ClassVar[int] = 10  # of the first files that hold such segments

    def __post_init__(self) -> None:
        _check_fov(self.hfov_deg)
        levels = 1 + max(key.level for key in key_order(max(self.groups), self.interval))
        if len(self.steps) < levels:
            raise ValueError(f"steps={self.steps}: the keys have {levels} levels")

    @property
    def eyes(self) -> int | None:
        """Pictures of a frame; None where there is one."""
        return None if self.inter_view_levels is None else 2

    def trained_view(self) -> Viewport:
        """The view that is measured, looking ahead, at its least field of view."""
        return Viewport(hfov_deg=self.hfov_deg[0], width=self.view_width, height=self.view_height)

    def contradiction(self, frames: int) -> str | None:
        """Why this cannot be the header of a segment of so many frames, or None."""
        if sum(self.groups) != frames:
            return f"the groups hold {sum(self.groups)} frames, the segment has {frames}"
        pictures = frames * (self.eyes or 1)
        needed = pictures + (2 * len(split_into_spans(self.coded_keys())) if self.sector else 0)
        if len(self.chunks) != needed:
            return f"{frames} frames need {needed} chunks, the segment has {len(self.chunks)}"
        return None

    def coded_keys(self) -> Iterator[Key]:
        """All keys, as they lie in the file."""
        return keys_of_groups(self.groups, self.interval, 0, self.inter_view_levels)

    def contents(self, frames: int) -> Iterator[str]:
        """What every chunk is."""
        if not self.sector:
            yield from map(self._name, self.coded_keys())
            return
        for span in split_into_spans(self.coded_keys()):
            yield from (f"base of {self._name(key)}" for key in span)
            yield from ("lengths of sectors", "sectors")

    def _name(self, key: Key) -> str:
        return f"{key.kind} keys{', right eye' if self.eyes and key.frame % 2 else ''}"

    def rows(self) -> Iterator[tuple[str, str]]:
        """What `nerv360 info` tells: names and values."""
        yield "model", self.model
        yield "keys", f"every frame, a P key every {self.interval} frames"
        if self.inter_view_levels is not None:
            yield "eyes", f"left and right; right keys below level {self.inter_view_levels} come from left ones"
        yield "steps", f"{', '.join(f'{step / 16:g}' for step in self.steps)} grey levels"
        yield "measured view", f"{self.view_width}x{self.view_height}, {_range(self.hfov_deg)} degrees wide"
        yield "random access", f"groups of up to {max(self.groups)} frames"
        if self.sector:
            yield "sectors", f"{self.sector}x{self.sector} pixels, each fetched when a view needs it"


AnySegmentHeader = SegmentHeader | MotionHeader


def _check_fov(hfov_deg: tuple[float, float]) -> None:
    if not 1 <= hfov_deg[0] <= hfov_deg[1] <= 170:
        raise ValueError(f"hfov_deg={hfov_deg}")


def _range(limits: tuple[float, float]) -> str:
    low, high = limits
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def pack(header: Struct) -> bytes:
    """A header as bytes; what is None at its end is left out."""
    values = astuple(header)
    while values[-1] is None:
        values = values[:-1]
    return msgspec.msgpack.encode(values)


def unpack(data: bytes, kind: type[Header]) -> Header:
    """Inverse of `pack`. Raises BitstreamError where a value is missing, of the wrong type, or out of range."""
    try:
        return msgspec.msgpack.decode(data, type=kind)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError, OverflowError, ValueError) as error:
        raise BitstreamError(f"impossible {kind.__name__}: {error}") from None


def unpack_segment_header(data: bytes) -> AnySegmentHeader:
    """The header of a segment, of the class that its model's specification names. Raises BitstreamError."""
    header: AnySegmentHeader = unpack(data, model_spec(unpack(data, ModelHeader).model).load_header())
    return header
