"""`nerv360 encode`: write a video as a .nerv360 file."""

from pathlib import Path

from nerv360.bitstream.manifest import MANIFEST_ENDING
from nerv360.claims import check_no_input, check_output
from nerv360.cli import encode_options as option
from nerv360.cli.console import console, progress_bar
from nerv360.cli.encode_long import encode_long
from nerv360.cli.encode_settings import choose_settings, parse_size_limit, with_options
from nerv360.cli.event_log import log_event
from nerv360.cli.options import Eye, Force, Log, Projection, Quiet, Stereo, check_device, parse_size
from nerv360.cli.video_list import read_list
from nerv360.cluster.plan import Request
from nerv360.config import EncodingConfig
from nerv360.errors import ArgumentError
from nerv360.storage import Location, parse_location
from nerv360.types import EYES
from nerv360.video.clip import Clip
from nerv360.video.reading import BOTH, Layout
from nerv360.video.shots import survey

__all__ = ["encode"]


def encode(
    video: option.Video = None,
    output: option.Output = None,
    start: option.Start = 0,
    frames: option.Frames = None,
    size: option.Size = None,
    projection: Projection = None,
    stereo: Stereo = None,
    eye: Eye = None,
    force: Force = False,
    audio: option.Audio = True,
    model: option.Model = None,
    preset: option.Preset = None,
    sectors: option.Sectors = False,
    epochs: option.Epochs = None,
    decoder_size: option.DecoderSize = None,
    seed: option.Seed = None,
    device: option.Device = None,
    precision: option.Precision = None,
    views: option.Views = None,
    hfov: option.HorizontalFov = None,
    roll: option.Roll = None,
    rate_weight: option.RateWeight = None,
    bitrate: option.Bitrate = None,
    size_limit: option.SizeLimit = None,
    quality: option.Quality = None,
    weight_bits: option.WeightBits = None,
    embedding_bits: option.EmbeddingBits = None,
    segment: option.Segment = None,
    workers: option.Workers = None,
    ray: option.Ray = None,
    manifest: option.Manifest = None,
    quiet: Quiet = False,
    log: Log = None,
) -> None:
    """Encode a video as a .nerv360 file: by frames that predict one another along motion, or by a network.

    Takes minutes; networks, which are fitted to the video, take up to hours. Interrupt it as you like: the same command
    goes on where it was, and ends with the same file.
    """
    _check_combinations(video, output, manifest, workers, ray, device, precision)
    scaled = parse_size(size) if size else None
    settings: dict[str, object] = {"--epochs": epochs, "--decoder-size": decoder_size, "--seed": seed}
    settings |= {"--device": device, "--precision": precision, "--views": views, "--hfov": hfov, "--roll": roll}
    settings |= {"--rate-weight": rate_weight, "--bitrate": bitrate, "--size-limit": size_limit, "--quality": quality}
    settings |= {"--sectors": sectors or None}
    settings |= {"--weight-bits": weight_bits, "--embedding-bits": embedding_bits}
    config = with_options(choose_settings(model, preset), settings)
    layout = _layout(projection, stereo, eye, config)
    segment_s, logs = segment or option.SEGMENT_SECONDS, [log] if log else []
    if manifest is not None:
        if start or frames or scaled:
            raise ArgumentError("--start, --frames, --size: are columns of the --manifest; leave them out")
        if size_limit:
            raise ArgumentError(f"--size-limit {size_limit}: is for one file; give --bitrate with a --manifest")
        requests = read_list(manifest, force, layout, audio)
        for each in requests:
            check_no_input(each.output, *logs)
        encode_long(requests, config, segment_s, workers, ray, device, precision)
        return
    assert video is not None and output is not None
    request = Request(parse_location(video), parse_location(output), start, frames, scaled, force, layout, audio)
    check_output(request.output, request.video, *logs)
    clip = request.open()
    if size_limit:
        config = config.replace(bitrate=8 * parse_size_limit(size_limit) * float(clip.frame_rate) / clip.frames)
    if segment or workers or ray or output.endswith(MANIFEST_ENDING):
        encode_long([request], config, segment_s, workers, ray, device, precision)
    else:
        _encode_one(clip, request.output, config, device, precision)


def _check_combinations(
    video: str | None,
    output: str | None,
    manifest: Path | None,
    workers: int | None,
    ray: str | None,
    device: str | None,
    precision: str | None,
) -> None:
    if (video is None) != (output is None) or (video is None) != (manifest is not None):
        raise ArgumentError("encode: give a VIDEO and --output FILE, or --manifest CSV, and not both")
    if workers is not None and ray is not None:
        raise ArgumentError("--workers, --ray: give one of them")
    check_device(device)
    if precision not in (None, "float", "bfloat16"):
        raise ArgumentError(f"--precision {precision}: must be float or bfloat16")


def _layout(projection: str | None, stereo: str | None, eye: str | None, config: EncodingConfig) -> Layout:
    """How the video is read: of two eyes, for as many as the model holds."""
    spec = config.architecture.spec
    if eye == BOTH and spec.eyes == 1:
        raise ArgumentError(f"--eye {BOTH}: {spec.name} holds one eye; give --eye left, or right")
    return Layout(projection, stereo, eye, BOTH if spec.eyes == 2 else EYES[0])


def _encode_one(
    clip: Clip, output: Location, config: EncodingConfig, device: str | None, precision: str | None
) -> None:
    from nerv360.api import encode as encode_video

    with progress_bar() as on_progress:
        found = survey(clip, on_progress, shots=False)
    for remark in found.remarks(clip):
        console.print(remark, markup=False, highlight=False, soft_wrap=True)
    with progress_bar() as on_progress:
        result = encode_video(clip, output, config, device=device, precision=precision, on_progress=on_progress)
    console.print(
        f"{result.path}: {result.size:,} bytes for {result.frames} frames, {result.bitrate / 1000:.1f} kbit/s; "
        f"{result.summary}"
    )
    log_event("encoded", path=str(result.path), bytes=result.size, frames=result.frames, bitrate=result.bitrate)
    if result.missed:
        console.print(f"this is {result.missed}")
