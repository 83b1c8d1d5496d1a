"""A video -> a .nerv360 file of one segment, by the function that the model's specification names."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from msgspec.structs import asdict

from nerv360.bitstream.container import write_container
from nerv360.bitstream.header import MAX_SOUND_CHUNK, AnySegmentHeader, FileHeader, FrameTimes, SegmentEntry, SoundTrack
from nerv360.bitstream.sound import pack_sound
from nerv360.config import EncodingConfig
from nerv360.errors import ArgumentError, VideoError
from nerv360.progress import OnProgress
from nerv360.storage import Location, name_of, sibling
from nerv360.video.clip import Clip

if TYPE_CHECKING:
    import torch

__all__ = ["Encode", "Encoded", "checkpoint_path", "encode_clip", "max_picture_bytes", "read_sound_of", "write_clip"]


@dataclass(frozen=True)
class Encoded:
    """What an encoding came to."""

    path: Location
    size: int  # bytes on disk
    frames: int
    bitrate: float  # bits per second
    seconds: float  # of encoding, over all runs
    summary: str  # what the encoder says of it, in a few words
    limit: int | None = None  # of its bytes
    missed: str = ""  # how it misses its target, in words; empty where it does not
    training_psnr_db: float | None = None  # of a network: running mean over the last training viewports


class Encode(Protocol):
    """The contract of encoders. They write the file complete or not at all, and raise errors of nerv360/errors.py.

    Stages of the progress are `analysing` the clip, in frames, then others of the encoder's own naming. An exception
    that `on_progress` raises ends the work.
    """

    def __call__(
        self,
        clip: Clip,
        output: Location,
        config: EncodingConfig,
        device: "torch.device",
        on_progress: OnProgress,
        precision: str | None,  # of models/device.py; None: what suits the device
    ) -> Encoded: ...


def encode_clip(
    clip: Clip,
    output: Location,
    config: EncodingConfig,
    device: "torch.device",
    on_progress: OnProgress,
    precision: str | None = None,
) -> Encoded:
    """Encode a clip by the configured model. Raises TrainingError, OutputError, ArgumentError, OutOfMemory."""
    spec = config.architecture.spec
    if len(clip.eyes) > spec.eyes:
        raise ArgumentError(f"{clip.path}: both eyes: {spec.name} holds one; take the left, or the right (--eye)")
    encode: Encode = spec.load_encoder()
    return encode(clip, output, config, device, on_progress, precision)


def read_sound_of(clip: Clip) -> list[bytes]:
    """The chunks of a clip's sound; none where it has none. Raises VideoError where they cannot be kept."""
    if clip.sound.format is None:
        return []
    chunks = pack_sound(clip.packets(), clip.sound.format.sample_rate)
    if any(len(chunk) > MAX_SOUND_CHUNK for chunk in chunks):
        raise VideoError(
            f"{clip.path}: its sound has more than {MAX_SOUND_CHUNK} bytes a second; leave it out (--no-audio)"
        )
    return chunks


def max_picture_bytes(clip: Clip, config: EncodingConfig, sound: Sequence[bytes]) -> int | None:
    """Most bytes of a file beside its sound; None where there is no limit. Raises ArgumentError where none are left."""
    limit = config.rate_target.max_bytes(clip.frames, float(clip.frame_rate))
    if limit is None or not sound:
        return limit
    heard = sum(map(len, sound))
    if heard >= limit:
        raise ArgumentError(
            f"a limit of {limit:,} bytes: the sound of these {clip.frames} frames takes {heard:,}; allow more, "
            "or leave it out (--no-audio)"
        )
    return limit - heard


def write_clip(clip: Clip, segment: AnySegmentHeader, chunks: list[bytes], sound: Sequence[bytes] = ()) -> bytes:
    """A file that holds a clip as one segment, with these chunks of its sound."""
    header = FileHeader(
        width=clip.width,
        height=clip.height,
        frames=clip.frames,
        rate_numerator=clip.frame_rate.numerator,
        rate_denominator=clip.frame_rate.denominator,
        colour=clip.colour,
        segments=[SegmentEntry(clip.frames, 1, 1, 0)],
        times=FrameTimes.of(*clip.durations) if clip.durations else None,
        sound=SoundTrack(**asdict(clip.sound.format), chunks=[[]]) if clip.sound.format else None,
        eyes=segment.eyes,
    )
    return write_container(header, iter([(segment, chunks)]), [sound])


def checkpoint_path(output: Location) -> Location:
    """Where an unfinished encoding of `output` is kept."""
    return sibling(output, name_of(output) + ".checkpoint")
