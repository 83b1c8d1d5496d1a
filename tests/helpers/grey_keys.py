"""A model that is no network: each key is one byte, the grey of its frame."""

from concurrent.futures import Executor
from dataclasses import dataclass

import msgspec
import numpy as np
import torch

from nerv360.bitstream.container import Container, Segment, write_container
from nerv360.bitstream.header import FileHeader, MotionHeader, SegmentEntry
from nerv360.codec.encoder import Encoded
from nerv360.codec.segment_decoder import SegmentDecoder
from nerv360.config import EncodingConfig
from nerv360.geometry.viewport import Viewport
from nerv360.models.spec import ModelSpec
from nerv360.progress import OnProgress, tracked
from nerv360.storage import Location, atomic_write
from nerv360.types import BT709, Picture
from nerv360.video.clip import Clip

SPEC = ModelSpec(
    name="grey-keys",
    title="Grey keys",
    summary="a test",
    presets="nerv360.config.presets:PAPER_PRESETS",
    default_preset="tiny",
    header="nerv360.bitstream.header:MotionHeader",
    encoder="helpers.grey_keys:encode_greys",
    decoder="helpers.grey_keys:GreyKeysDecoder",
    runtime="greys",
    unused=frozenset({"epochs"}),
    browser_decoder=None,
)
WIDTH, HEIGHT, GROUPS, INTERVAL = 50, 26, (5, 3), 2
FILE_HEADER = FileHeader(WIDTH, HEIGHT, sum(GROUPS), 30000, 1001, BT709, [SegmentEntry(sum(GROUPS), 1, 1, 0)])
HEADER = MotionHeader(SPEC.name, 20, 12, (78.1, 78.1), INTERVAL, GROUPS, (16, 24, 40), [])


def encode_greys(
    clip: Clip,
    output: Location,
    config: EncodingConfig,
    device: torch.device,
    on_progress: OnProgress,
    precision: str | None,
) -> Encoded:
    """The mean grey of every frame."""
    greys = [round(float(frame.mean())) for frame in tracked(clip, "encoding", clip.frames, on_progress)]
    header = msgspec.structs.replace(HEADER, groups=(len(greys),), steps=(16,) * 16)
    chunks = [bytes([greys[key.frame]]) for key in header.coded_keys()]
    rate = {"rate_numerator": clip.frame_rate.numerator, "rate_denominator": clip.frame_rate.denominator}
    size = {"width": clip.width, "height": clip.height, "frames": clip.frames, "colour": clip.colour}
    entry = SegmentEntry(clip.frames, 1, 1, 0)
    data = write_container(FileHeader(**size, **rate, segments=[entry]), iter([(header, chunks)]))
    with atomic_write(output) as partial:
        partial.write_bytes(data)
    return Encoded(
        output, len(data), clip.frames, 8 * len(data) * float(clip.frame_rate) / clip.frames, 0.5, "all grey"
    )


def grey_file(header: MotionHeader = HEADER) -> bytes:
    """Frame t is of the grey 10 t."""
    chunks = [bytes([10 * key.frame]) for key in header.coded_keys()]
    frames = len(chunks)
    file_header = msgspec.structs.replace(FILE_HEADER, frames=frames, segments=[SegmentEntry(frames, 1, 1, 0)])
    return write_container(file_header, iter([(header, chunks)]))


@dataclass(frozen=True)
class GreyDrawing:
    """A view, all of one grey."""

    grey: int
    view: Viewport

    def draw(self) -> Picture:
        return np.full((self.view.height, self.view.width, 3), self.grey, np.uint8)


class GreyKeysDecoder(SegmentDecoder):
    """Reads one chunk a frame."""

    def __init__(
        self, container: Container, segment: Segment, backend: str, device: str, precision: str | None
    ) -> None:
        self.container, self.segment = container, segment
        self.calls: list[tuple[str, int]] = []
        self.chunks = {key.frame: index for index, key in enumerate(segment.header.coded_keys())}  # type: ignore[union-attr]

    def prepare(self, frame: int, view: Viewport, draft: bool = False) -> GreyDrawing:
        (grey,) = self.container.chunk(self.segment, self.chunks[frame])
        return GreyDrawing(grey, view)

    def panorama(self, frame: int) -> Picture:
        header = self.container.header
        return self.prepare(frame, Viewport(width=header.width, height=header.height)).draw()

    def preload(self, frame: int) -> None:
        self.calls.append(("preload", frame))

    def warm_up(self, frame: int, view: Viewport) -> None:
        self.calls.append(("warm_up", frame))

    def hurry(self, executor: Executor) -> None:
        self.calls.append(("hurry", 0))
