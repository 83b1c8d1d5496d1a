"""The library's verbs; the command line calls one of them per command."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from nerv360.bitstream.sound import sound_of
from nerv360.claims import check_no_input, check_output, claim
from nerv360.codec.decoder import Decoder, open_file
from nerv360.codec.encoder import Encoded, checkpoint_path, encode_clip
from nerv360.config import EncodingConfig, preset_for
from nerv360.errors import ArgumentError
from nerv360.evaluation.evaluate import Evaluation, compare_picture, evaluate
from nerv360.geometry.viewport import Viewport, dynamic_viewports
from nerv360.models.device import choose_device, device_failures
from nerv360.models.registry import DEFAULT_MODEL, MODELS
from nerv360.progress import OnProgress, ignore, tracked
from nerv360.storage import Location, parse_location
from nerv360.types import EYES, Picture
from nerv360.video.clip import Clip
from nerv360.video.reading import BOTH, Layout
from nerv360.video.writer import write_frames

__all__ = ["choose_device", "decode", "encode", "eval_file", "open"]

DEFAULT_SETTINGS = preset_for(DEFAULT_MODEL, MODELS[DEFAULT_MODEL].default_preset)


def encode(
    video: Location | Clip,
    output: Location,
    config: EncodingConfig = DEFAULT_SETTINGS,
    *,
    device: str | None = None,
    precision: str | None = None,
    on_progress: OnProgress = ignore,
) -> Encoded:
    """Encode a 360-degree video as a .nerv360 file; `Clip.open` reads a part of one, another projection, one eye,
    or no sound. Of two eyes nerv360-motion holds both, networks the left one.

    Interrupted, the same call goes on where it was. Stages of the progress are `analysing` the clip, in frames; then
    `fitting` a network, in steps (`FitUpdate`), or `trying`, `encoding` and `checking` keys, in frames. The device is
    that of networks, CUDA where there is one, and the precision that of their convolutions, float or bfloat16: by
    default bfloat16 on CUDA. A fit goes on on another device, or in another precision.

    Raises VideoError, ArgumentError, TrainingError, OutputError, OutOfMemory, DeviceError.
    """
    layout = Layout(default_eye=BOTH if config.architecture.spec.eyes == 2 else EYES[0])
    clip = video if isinstance(video, Clip) else Clip.open(video, sound=True, layout=layout)
    target = parse_location(output)
    check_no_input(checkpoint_path(target), clip.path)
    with claim(target, clip.path, work="encoding"):
        return encode_clip(clip, target, config, choose_device(device), on_progress, precision)


def open(
    path: Location,
    *,
    backend: str | None = None,
    device: str = "cpu",
    precision: str | None = None,
    max_memory: int | None = None,
) -> Decoder:
    """Open a .nerv360 file: `decoder.viewport(frame, Viewport(...))`, `decoder.panorama(frame)`; of the left eye, or of
    those that `decoder.eyes` names with `eye="right"`.

    Networks are drawn by a backend, openvino, onnxruntime or torch: by default the first that is installed, on cuda
    torch, in float16, or in float if that is the precision. With the precision int8, their convolutions are quantised
    to 8 bits, for views of the file itself: faster for the paper's network, and about 0.03 dB worse
    (benchmarks/runtime/README.md). It needs openvino and onnxruntime.

    What needs more than `max_memory` bytes, by default all that are free, raises OutOfMemory before it begins.

    Raises BitstreamError for a damaged or foreign file, VersionError for a newer one; ArgumentError, MissingExtra for
    a backend or a device that is not there.
    """
    on_device = str(choose_device(device))
    return open_file(path, backend=backend, device=on_device, precision=precision, max_memory=max_memory)


def decode(
    path: Location,
    output: Path | str,
    views: Sequence[Viewport] | Viewport | None,
    *,
    frames: range | None = None,
    backend: str | None = None,
    device: str = "cpu",
    precision: str | None = None,
    max_memory: int | None = None,
    audio: bool = True,
    eye: str | None = None,
    on_progress: OnProgress = ignore,
) -> int:
    """Write decoded frames to a video, PNGs or raw RGB (by the output's ending); returns how many.

    One view for all frames, one for each of them, or None for the whole panorama. A video of consecutive frames has
    their sound, if the file has any, unless without `audio`. Views are of an `eye`, by default the left one; panoramas,
    too, or of "both", the left one above the right, which is their default where the file holds both.

    Raises BitstreamError, ArgumentError, OutputError, OutOfMemory, DeviceError.
    """
    target = Path(parse_location(output))
    opened = open(path, backend=backend, device=device, precision=precision, max_memory=max_memory)
    failures = device_failures(choose_device(device), "nothing is written; decode again")
    with opened as decoder, claim(target, *decoder.container.files()), failures:
        chosen = range(decoder.frames) if frames is None else frames
        if isinstance(views, Sequence) and len(views) != len(chosen):
            raise ArgumentError(f"trajectory: {len(views)} views for {len(chosen)} frames; give one for each")
        look = itertools.repeat(views) if isinstance(views, Viewport) else iter(views or ())

        eyes = _eyes_of(decoder, eye, panoramas=views is None)
        pictures: Iterator[Picture] = (
            (_panorama(decoder, frame, eyes) for frame in chosen)
            if views is None
            else decoder.play(zip(chosen, look, strict=False), eye=eyes[0])
        )
        shown = tracked(pictures, "decoding", len(chosen), on_progress)
        sound = sound_of(decoder.container, chosen) if audio and chosen.step == 1 else None
        write_frames(
            target,
            shown,
            decoder.frame_rate,
            decoder.colour,
            panoramas=views is None,
            eyes=len(eyes),
            sound=sound,
            durations=decoder.container.timeline.durations(chosen),
        )
    return len(chosen)


def _eyes_of(decoder: Decoder, eye: str | None, *, panoramas: bool) -> tuple[str, ...]:
    """The eyes that are decoded. Raises ArgumentError."""
    if eye is None:
        return decoder.eyes if panoramas else decoder.eyes[:1]
    if eye != BOTH:
        return (eye,)
    if not panoramas or len(decoder.eyes) == 1:
        raise ArgumentError("eye both: is for panoramas of a file that holds both; name one, or none")
    return decoder.eyes


def _panorama(decoder: Decoder, frame: int, eyes: Sequence[str]) -> Picture:
    """A frame's panorama, of two eyes one above the other."""
    panoramas = [decoder.panorama(frame, eye=eye) for eye in eyes]
    return panoramas[0] if len(panoramas) == 1 else np.concatenate(panoramas)


def eval_file(
    path: Location,
    source: Location | Clip,
    *,
    start: int = 0,
    views: Mapping[str, Sequence[Viewport]] | None = None,
    picture: Path | None = None,
    force: bool = False,
    precision: str | None = None,
    on_progress: OnProgress = ignore,
) -> Evaluation:
    """Decode a file and measure it against its source, whose first encoded frame is `start`; of a file of both eyes,
    both, unless the source is a clip of one.

    The views are, by default, JVET's two Balboa trajectories at the size of the file's own view. `picture` gets a
    side-by-side PNG of the middle frame.

    Raises BitstreamError, VideoError, ArgumentError, OutputError.
    """
    with open(path, precision=precision) as decoder:
        size, layout = (decoder.width, decoder.height), Layout(default_eye=BOTH if len(decoder.eyes) == 2 else None)
        clip = (
            source
            if isinstance(source, Clip)
            else Clip.open(source, start=start, frames=decoder.frames, size=size, layout=layout, force=force)
        )
        chosen = views or dynamic_viewports(decoder.native_view(), decoder.frames)
        if picture is not None:
            check_output(picture, clip.path, *decoder.container.files())
        result = evaluate(decoder, clip, chosen, on_progress)
        if picture is not None:
            middle = decoder.frames // 2
            compare_picture(decoder, clip, middle, next(iter(chosen.values()))[middle], picture)
    return result
