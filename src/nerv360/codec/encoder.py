"""A video -> a .nerv360 file of one segment, by the function that the model's specification names."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from nerv360.bitstream.header import FileHeader, SegmentEntry
from nerv360.config import EncodingConfig
from nerv360.progress import OnProgress
from nerv360.storage import Location, name_of, sibling
from nerv360.video.clip import Clip

if TYPE_CHECKING:
    import torch

__all__ = ["Encode", "Encoded", "checkpoint_path", "encode_clip", "file_header"]


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
        self, clip: Clip, output: Location, config: EncodingConfig, device: "torch.device", on_progress: OnProgress
    ) -> Encoded: ...


def encode_clip(
    clip: Clip, output: Location, config: EncodingConfig, device: "torch.device", on_progress: OnProgress
) -> Encoded:
    """Encode a clip by the configured model. Raises TrainingError, OutputError, ArgumentError, OutOfMemory."""
    encode: Encode = config.architecture.spec.load_encoder()
    return encode(clip, output, config, device, on_progress)


def file_header(clip: Clip) -> FileHeader:
    """Header of a file that holds a clip as one segment, whose place is filled in when the file is written."""
    return FileHeader(
        width=clip.width,
        height=clip.height,
        frames=clip.frames,
        rate_numerator=clip.frame_rate.numerator,
        rate_denominator=clip.frame_rate.denominator,
        colour=clip.colour,
        segments=[SegmentEntry(clip.frames, 1, 1, 0)],
    )


def checkpoint_path(output: Location) -> Location:
    """Where an unfinished encoding of `output` is kept."""
    return sibling(output, name_of(output) + ".checkpoint")
