"""Measure a file against its source: both dynamic viewports, the panorama, the rate; all on what was read back."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image, ImageDraw

from nerv360.bitstream.container import Segment
from nerv360.codec.decoder import Decoder
from nerv360.errors import ArgumentError
from nerv360.evaluation.metrics import luma, ms_ssim_of, ws_psnr
from nerv360.extract import extract_viewport
from nerv360.geometry.viewport import Viewport
from nerv360.progress import OnProgress, tracked
from nerv360.quality import psnr
from nerv360.training.losses import MS_SSIM_LEAST_SIDE, ms_ssim_window
from nerv360.types import Picture
from nerv360.video.clip import Clip
from nerv360.video.writer import write_frames

__all__ = [
    "Evaluation",
    "Quality",
    "SegmentQuality",
    "ViewSource",
    "compare_picture",
    "evaluate",
    "measure",
    "titled",
]

PANORAMAS = 64  # measured, at most: few would be mostly keys, which are better than what lies between


class ViewSource(Protocol):
    """What is measured: an eye of a Decoder, or decode-then-crop (anchors.py)."""

    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def frames(self) -> int: ...
    def viewport(self, frame_index: int, view: Viewport) -> Picture: ...
    def panorama(self, frame_index: int) -> Picture: ...


@dataclass(frozen=True)
class _Eye:
    """One eye of a file."""

    decoder: Decoder
    eye: str

    @property
    def width(self) -> int:
        return self.decoder.width

    @property
    def height(self) -> int:
        return self.decoder.height

    @property
    def frames(self) -> int:
        return self.decoder.frames

    def viewport(self, frame_index: int, view: Viewport) -> Picture:
        return self.decoder.viewport(frame_index, view, eye=self.eye)

    def panorama(self, frame_index: int) -> Picture:
        return self.decoder.panorama(frame_index, eye=self.eye)


@dataclass(frozen=True)
class Quality:
    """Of one trajectory: means over its frames."""

    psnr_db: float
    psnr_y_db: float
    ms_ssim: float


@dataclass(frozen=True)
class SegmentQuality:
    """Of one segment: means over its frames and over the trajectories."""

    first_frame: int
    frames: int
    size: int  # bytes
    quality: Quality


@dataclass(frozen=True)
class Evaluation:
    """A file's quality and rate."""

    trajectories: dict[str, Quality]
    mean: Quality
    viewport: str  # width x height @ field of view
    ms_ssim_window: int | None
    ws_psnr_db: float  # of panoramas, all or a sample that is even in time
    panoramas: int
    size: int  # bytes
    bits_per_pixel: float  # 8 size / (frames x width x height x measured eyes)
    bitrate: float  # bits per second
    frames: int
    decode_fps: float  # viewports decoded per second of the decoder's time
    segments: list[SegmentQuality]

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def evaluate(
    decoder: Decoder,
    source: Clip,
    trajectories: Mapping[str, Sequence[Viewport]],  # one view per frame
    on_progress: OnProgress,
) -> Evaluation:
    """Decode the file and compare it with its source, frame by frame. The bytes of its sound do not count.

    Of a file of both eyes, those are measured that the source is read for; figures are means over them.

    Raises ArgumentError where source and file do not belong together.
    """
    container = decoder.container
    size = container.size - container.sound_size
    return measure(_eyes(decoder, source), size, source, trajectories, on_progress, list(container.segments))


def measure(
    decoders: Sequence[ViewSource],  # of each eye of the source
    size: int,  # bytes of their file
    source: Clip,
    trajectories: Mapping[str, Sequence[Viewport]],
    on_progress: OnProgress,
    segments: Sequence[Segment] = (),
) -> Evaluation:
    """As `evaluate`, of anything that gives views and panoramas: one measure for our files and for others."""
    _check_source(decoders[0], source)
    scores: dict[str, list[Quality]] = {name: [] for name in trajectories}
    sampled = set(np.linspace(0, source.frames - 1, min(PANORAMAS, source.frames)).round().astype(int).tolist())
    panorama_db: list[float] = []
    seconds = 0.0
    for views in trajectories.values():
        decoders[0].viewport(0, views[0])  # warm-up
    for index, frame in enumerate(tracked(source, "measuring", source.frames, on_progress)):
        panoramas = np.split(frame, len(decoders))
        for name, views in trajectories.items():
            started = time.perf_counter()
            decoded = [decoder.viewport(index, views[index]) for decoder in decoders]
            seconds += time.perf_counter() - started
            originals = [extract_viewport(panorama, views[index]) for panorama in panoramas]
            scores[name].append(_mean(list(map(_quality, decoded, originals))))
        if index in sampled:
            pairs = zip(decoders, panoramas, strict=True)
            panorama_db += [ws_psnr(decoder.panorama(index), panorama) for decoder, panorama in pairs]
    look = next(iter(trajectories.values()))[0]
    means = {name: _mean(values) for name, values in scores.items()}
    least = min(look.width, look.height)
    return Evaluation(
        trajectories=means,
        mean=_mean(list(means.values())),
        viewport=f"{look.width}x{look.height} @ {look.hfov_deg:g} deg",
        ms_ssim_window=ms_ssim_window(look.width, look.height) if least >= MS_SSIM_LEAST_SIDE else None,
        ws_psnr_db=float(np.mean(panorama_db)),
        panoramas=len(panorama_db),
        size=size,
        bits_per_pixel=8 * size / (source.frames * source.width * source.height * len(decoders)),
        bitrate=8 * size * float(source.frame_rate) / source.frames,
        frames=source.frames,
        decode_fps=source.frames * len(decoders) * len(trajectories) / seconds,
        segments=[_of_segment(segment, list(scores.values())) for segment in segments],
    )


def compare_picture(decoder: Decoder, source: Clip, frame_index: int, view: Viewport, output: Path) -> None:
    """A PNG: the source's viewport, the decoded one, and their absolute difference, four times enlarged in value.

    Of two eyes, it is the left one's.
    """
    eye = _eyes(decoder, source)[0]
    _check_source(eye, source)
    panorama = next(source.read(frame_index, frame_index + 1))[: source.height]
    original, decoded = extract_viewport(panorama, view), eye.viewport(frame_index, view)
    error = np.clip(4 * np.abs(decoded.astype(int) - original), 0, 255).astype(np.uint8)
    titles = ("source", f"decoded, {psnr(decoded, original):.1f} dB", "difference x 4")
    tiles = [titled(tile, title) for tile, title in zip((original, decoded, error), titles, strict=True)]
    write_frames(output, [np.concatenate(tiles, axis=1)], source.frame_rate, source.colour)


def titled(picture: Picture, title: str, width: int = 480) -> Picture:
    """The picture, enlarged by whole pixels to about that width, under a line of text."""
    scale = max(1, round(width / picture.shape[1]))
    picture = picture.repeat(scale, axis=0).repeat(scale, axis=1)
    sheet = Image.new("RGB", (picture.shape[1] + 8, picture.shape[0] + 32), "white")
    sheet.paste(Image.fromarray(picture), (4, 28))
    ImageDraw.Draw(sheet).text((6, 6), title, fill="black", font_size=16)
    return np.array(sheet)


def _eyes(decoder: Decoder, source: Clip) -> list[_Eye]:
    """The eyes of a file that are compared with those of the source. Raises ArgumentError where it lacks one."""
    if len(source.eyes) > len(decoder.eyes):
        raise ArgumentError("the source is read for both eyes, the file holds one; give the --eye that was encoded")
    return [_Eye(decoder, eye) for eye in (source.eyes if len(decoder.eyes) > 1 else decoder.eyes)]


def _check_source(decoder: ViewSource, source: Clip) -> None:
    theirs, ours = (source.width, source.height, source.frames), (decoder.width, decoder.height, decoder.frames)
    if theirs != ours:
        shown = [f"{width}x{height}, {frames} frames" for width, height, frames in (theirs, ours)]
        raise ArgumentError(
            f"the source is {shown[0]}, the file {shown[1]}; give the --start with which the file was encoded"
        )


def _quality(decoded: Picture, source: Picture) -> Quality:
    return Quality(psnr(decoded, source), psnr(luma(decoded), luma(source)), ms_ssim_of(decoded, source))


def _of_segment(segment: Segment, scores: Sequence[Sequence[Quality]]) -> SegmentQuality:
    end = segment.first_frame + segment.frames
    quality = _mean([_mean(values[segment.first_frame : end]) for values in scores])
    return SegmentQuality(segment.first_frame, segment.frames, segment.length - segment.sound_size, quality)


def _mean(values: Sequence[Quality]) -> Quality:
    return Quality(*(float(np.mean([getattr(v, f.name) for v in values])) for f in fields(Quality)))
