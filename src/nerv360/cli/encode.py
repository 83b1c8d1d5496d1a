"""`nerv360 encode`: fit a network to a video."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from nerv360.bitstream.pieces import MANIFEST_ENDING
from nerv360.cli.console import console, encoding_progress
from nerv360.cli.encode_long import SEGMENT_SECONDS, encode_long, read_list
from nerv360.cli.options import Force, check_folder, parse_amount, parse_range, parse_size
from nerv360.config import (
    DEFAULT_MODEL,
    DEFAULT_PRESET,
    MODELS,
    PRESETS,
    help_of,
    preset_for,
    presets_of,
)
from nerv360.errors import ArgumentError

__all__ = ["encode"]


PRESETS_HELP = "; ".join(
    f"for {model}: {', '.join(presets_of(model))} (by default {DEFAULT_PRESET[model]})" for model in MODELS
)


def encode(
    video: Annotated[
        str | None, typer.Argument(help="An equirectangular video, 2:1: a file or a URL.", show_default=False)
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="The .nerv360 file or URL to write; .json: a manifest, and the segments in files of their own.",
        ),
    ] = None,
    model: Annotated[str | None, typer.Option(help=help_of("model") + " By default, the preset's.")] = None,
    preset: Annotated[
        str | None, typer.Option(help="Settings to start from; " + PRESETS_HELP, show_default=False)
    ] = None,
    epochs: Annotated[int | None, typer.Option(help=help_of("epochs"), show_default=False)] = None,
    start: Annotated[int, typer.Option(metavar="K", help="First frame to encode, from 0.")] = 0,
    frames: Annotated[int | None, typer.Option(metavar="N", help="Number of frames; by default, to the end.")] = None,
    size: Annotated[str | None, typer.Option(metavar="WxH", help="Scale the panorama first.")] = None,
    decoder_size: Annotated[int | None, typer.Option(help=help_of("decoder_size"), show_default=False)] = None,
    views: Annotated[int | None, typer.Option(help=help_of("views"), show_default=False)] = None,
    hfov: Annotated[str | None, typer.Option(metavar="LO:HI", help=help_of("hfov_deg"))] = None,
    roll: Annotated[str | None, typer.Option(metavar="LO:HI", help=help_of("roll_deg"))] = None,
    rate_weight: Annotated[float | None, typer.Option(help=help_of("rate_weight"), show_default=False)] = None,
    key_spacing: Annotated[
        float | None,
        typer.Option(
            metavar="FACTOR",
            help="How far keys of what changes lie apart, against the preset's: "
            "0.5 or 0.25 for a camera that moves, at more bytes.",
        ),
    ] = None,
    bitrate: Annotated[str | None, typer.Option(metavar="BITS", help="Most bits per second of the file: 500k.")] = None,
    size_limit: Annotated[str | None, typer.Option(metavar="BYTES", help="Most bytes of the file: 2MB.")] = None,
    quality: Annotated[float | None, typer.Option(metavar="DB", help=help_of("quality_db"))] = None,
    weight_bits: Annotated[int | None, typer.Option(help=help_of("weight_bits"), show_default=False)] = None,
    embedding_bits: Annotated[int | None, typer.Option(help=help_of("embedding_bits"), show_default=False)] = None,
    seed: Annotated[int | None, typer.Option(help=help_of("seed"), show_default=False)] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; by default, what there is.")] = None,
    segment: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            help="Cut at changes of shot, and into segments no longer than this, each with a network of its own, "
            f"fitted by one thread. By default {SEGMENT_SECONDS:g} with the options below, else all is one segment.",
            min=0.04,
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(metavar="N", help="Processes of this machine that fit segments.", min=1, max=1024)
    ] = None,
    ray: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="HOST:PORT of a Ray cluster whose machines fit segments.")
    ] = None,
    manifest: Annotated[
        Path | None,
        typer.Option(metavar="CSV", help="Many videos: video,output[,start][,frames][,size], instead of VIDEO and -o."),
    ] = None,
    force: Force = False,
) -> None:
    """Fit a network to a video and write it as a .nerv360 file.

    Takes minutes to hours. Interrupt it as you like: the same command goes on where it was, and ends with the
    same file.
    """
    from nerv360.storage import parse_location
    from nerv360.video.clip import Clip

    if (video is None) != (output is None) or (video is None) != (manifest is not None):
        raise ArgumentError("encode: give a VIDEO and --output FILE, or --manifest CSV, and not both")
    if workers is not None and ray is not None:
        raise ArgumentError("--workers, --ray: give one of them")

    if model not in (None, *MODELS):
        raise ArgumentError(f"--model {model}: must be one of {', '.join(MODELS)}")
    names = presets_of(model) if model else list(PRESETS)
    preset = preset or DEFAULT_PRESET[model or DEFAULT_MODEL]
    if preset not in names:
        wanted = f" for --model {model}" if model else ""
        raise ArgumentError(f"--preset {preset}: must be one of {', '.join(names)}{wanted}")
    settings = preset_for(model or PRESETS[preset].model, preset)
    grids, panoramas = bool(settings.grids), settings.model.startswith("hnerv")
    for option, value, fits in (
        ("--decoder-size", decoder_size, not grids),
        ("--embedding-bits", embedding_bits, not grids),
        ("--rate-weight", rate_weight, grids),
        ("--key-spacing", key_spacing, grids),
        ("--bitrate", bitrate, grids),
        ("--size-limit", size_limit, grids),
        ("--quality", quality, grids),
        ("--weight-bits", weight_bits, not grids),
        ("--views", views, not grids and not panoramas),
        ("--hfov", hfov, not panoramas),
        ("--roll", roll, not panoramas),
    ):
        if value is not None and not fits:
            raise ArgumentError(f"{option} {value}: has no meaning for {settings.model}; leave it out")
    targets = {
        "--rate-weight": rate_weight,
        "--bitrate": bitrate,
        "--size-limit": size_limit,
        "--quality": quality,
    }
    if len(rivals := [name for name, value in targets.items() if value is not None]) > 1:
        raise ArgumentError(f"{' and '.join(rivals)}: each of them decides the rate; give one")
    limit = parse_amount(size_limit, "--size-limit", "B") if size_limit else None
    given: dict[str, Any] = {
        "epochs": epochs,
        "decoder_size": decoder_size,
        "views": views,
        "hfov_deg": hfov and parse_range(hfov, "--hfov"),
        "roll_deg": roll and parse_range(roll, "--roll"),
        "rate_weight": rate_weight,
        "bitrate": bitrate and parse_amount(bitrate, "--bitrate", "(?:b|bit/s|bps)"),
        "quality_db": quality,
        "weight_bits": weight_bits,
        "embedding_bits": embedding_bits,
        "seed": seed,
    }
    config = replace(settings, **{name: value for name, value in given.items() if value is not None})
    if key_spacing is not None:
        config = config.with_keys(key_spacing)
    if device not in (None, "cpu", "cuda"):
        raise ArgumentError(f"--device {device}: must be cpu or cuda")
    scaled = parse_size(size) if size else None
    if manifest is not None:
        if start or frames or scaled:
            raise ArgumentError("--start, --frames, --size: are columns of the --manifest; leave them out")
        if size_limit:
            raise ArgumentError(f"--size-limit {size_limit}: is for one file; give --bitrate with a --manifest")
        encode_long(read_list(manifest, force), config, segment or SEGMENT_SECONDS, workers, ray, device)
        return
    assert video is not None and output is not None
    if isinstance(parse_location(output), Path):
        check_folder(Path(output))
    clip = Clip.open(video, start=start, frames=frames, size=scaled, force=force)
    if limit is not None:
        config = replace(config, bitrate=8 * limit * float(clip.frame_rate) / clip.frames)
    if segment or workers or ray or output.endswith(MANIFEST_ENDING):
        from nerv360.cluster.plan import Request

        request = Request(parse_location(video), parse_location(output), start, frames, scaled, force)
        encode_long([request], config, segment or SEGMENT_SECONDS, workers, ray, device)
        return
    from nerv360.api import encode as encode_video

    with encoding_progress(clip, config) as (report, looked_at):
        result = encode_video(clip, output, config, device=device, report=report, looked_at=looked_at)
    console.print(
        f"{result.path}: {result.size:,} bytes for {result.frames} frames, {result.bitrate / 1000:.1f} kbit/s; "
        f"decoder of {result.decoder_size:,} parameters; fitted in {result.seconds / 60:.1f} min "
        f"to {result.training_psnr_db:.2f} dB"
    )
    if result.missed:
        console.print(f"this is {result.missed}: more --epochs come nearer")
