"""The `nerv360` command. Each verb parses, checks its input before PyTorch is loaded, calls one library function,
and prints the result."""

import json
import re
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from msgspec.structs import asdict
from rich.table import Table

from nerv360 import __version__, cli_player, cli_reproduce
from nerv360.bitstream.container import Container, Segment
from nerv360.bitstream.pieces import MANIFEST_ENDING
from nerv360.cli_bench import bench
from nerv360.cli_compare import compare
from nerv360.cli_long import SEGMENT_SECONDS, encode_long, read_list
from nerv360.config import (
    DEFAULT_MODEL,
    DEFAULT_PRESET,
    MODELS,
    PRESETS,
    help_of,
    preset_for,
    presets_of,
)
from nerv360.console import (
    Source,
    check_folder,
    console,
    encoding_progress,
    evaluation_table,
    parse_amount,
    parse_frames,
    parse_pair,
    parse_range,
    parse_size,
    progress,
    run,
)
from nerv360.errors import ArgumentError
from nerv360.geometry.viewport import JVET_HFOV_DEG, Viewport, linear_trajectory, read_trajectory
from nerv360.runtime.base import BACKENDS, check_precision, choose_backend, describe_backend, installed_backends

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    help="Neural codec for 360-degree video: fits a small network to a video, and decodes only the view you look at.",
)
app.add_typer(cli_reproduce.app, name="reproduce")
app.command()(bench)
app.command()(compare)
app.command()(cli_player.play)
app.command()(cli_player.export)

PRESETS_HELP = "; ".join(
    f"for {model}: {', '.join(presets_of(model))} (by default {DEFAULT_PRESET[model]})" for model in MODELS
)

Force = Annotated[bool, typer.Option("--force", help="Go on with a video that is not 2:1.")]
Precision = Annotated[str, typer.Option(help="float, or int8: faster for the paper's network.")]


def main() -> None:
    """Run the command line."""
    run(app)


@app.callback(invoke_without_command=True)
def version(show: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False) -> None:
    if show:
        console.print(__version__)
        raise typer.Exit


@app.command()
def sample(
    output: Annotated[Path, typer.Argument(metavar="OUT", help="Video to write (.mp4), or a folder for PNGs.")],
    size: Annotated[str, typer.Option(metavar="WxH", help="Size of the panorama, 64x32 to 8192x4096.")] = "1024x512",
    frames: Annotated[int, typer.Option(help="Number of frames.", min=1, max=100_000)] = 64,
    fps: Annotated[str, typer.Option(help="Frames per second, as 25 or 30000/1001.")] = "25",
) -> None:
    """Write a procedural 360-degree clip: the same arguments give the same pixels, on every machine.

    A walk along an avenue; balls cross the seam and the poles. Nothing is needed to make it, and anyone may use it.
    """
    from fractions import Fraction

    from nerv360.video.clip import Colour
    from nerv360.video.synthetic import render_frame
    from nerv360.video.writer import check_ending, write_frames

    width, height = parse_size(size)
    if not (64 <= width <= 8192 and width == 2 * height):
        raise ArgumentError(f"--size {size}: must be 2:1, 64x32 to 8192x4096")
    if not re.fullmatch(r"[1-9]\d{0,5}(\.\d{1,6}|/[1-9]\d{0,5})?", fps):
        raise ArgumentError(f"--fps {fps}: must be a positive number, as 25, 29.97 or 30000/1001")
    check_ending(output)
    check_folder(output)
    with progress("rendering", frames) as (bar, task):
        pictures = (render_frame(index, width=width, height=height, frames=frames) for index in range(frames))
        counted = bar.track(pictures, total=frames, task_id=task)
        write_frames(output, counted, Fraction(fps), Colour(1, 1, 1, False))
    console.print(f"{output}: {width}x{height}, {frames} frames")


@app.command()
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
    from nerv360.storage import place
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
    if isinstance(place(output), Path):
        check_folder(Path(output))
    clip = Clip.open(video, start=start, frames=frames, size=scaled, force=force)
    if limit is not None:
        config = replace(config, bitrate=8 * limit * float(clip.frame_rate) / clip.frames)
    if segment or workers or ray or output.endswith(MANIFEST_ENDING):
        from nerv360.cluster.plan import Request

        request = Request(place(video), place(output), start, frames, scaled, force)
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


@app.command()
def decode(
    file: Source,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="OUT", help=".mp4, .png, .rgb, or a folder.")],
    yaw: Annotated[float, typer.Option(help="Degrees to the right.")] = 0.0,
    pitch: Annotated[float, typer.Option(help="Degrees up.")] = 0.0,
    roll: Annotated[float, typer.Option(help="Degrees that the camera turns clockwise.")] = 0.0,
    hfov: Annotated[float, typer.Option(help="Horizontal field of view in degrees.")] = JVET_HFOV_DEG,
    size: Annotated[str | None, typer.Option(metavar="WxH", help="Size; by default the training viewport's.")] = None,
    frames: Annotated[str | None, typer.Option(metavar="A:B", help="Frames A to B-1; by default all.")] = None,
    to: Annotated[str | None, typer.Option(metavar="YAW,PITCH", help="Move there from --yaw, --pitch, evenly.")] = None,
    trajectory: Annotated[
        Path | None, typer.Option(metavar="CSV", help="A view per frame: yaw_deg,pitch_deg[,roll_deg][,hfov_deg].")
    ] = None,
    panorama: Annotated[bool, typer.Option("--panorama", help="The whole panorama, stitched from viewports.")] = False,
    backend: Annotated[
        str | None, typer.Option(help=f"{', '.join(BACKENDS)}; by default the first of them that is installed.")
    ] = None,
    precision: Precision = "float",
) -> None:
    """Decode a view of every frame, from the file alone.

    The ending of OUT chooses the kind: a video (.mp4, .mkv, .mov), one picture (.png), raw RGB (.rgb), or a folder of
    PNG pictures.
    """
    from nerv360.video.writer import check_ending

    check_ending(output)
    check_folder(output)
    check_precision(precision, choose_backend(backend, "cpu"))
    with Container(file) as container:
        header, segment = container.header, container.segments[0].header
        chosen = parse_frames(frames, header.frames)
        width, height = parse_size(size) if size else (segment.view_width, segment.view_height)
        container.verify()
    look = Viewport(yaw, pitch, roll, hfov, None, width, height)
    views: Viewport | list[Viewport] | None = look
    if sum((panorama, to is not None, trajectory is not None)) > 1:
        raise ArgumentError("--panorama, --to, --trajectory: give one of them")
    if panorama:
        views = None
    elif trajectory is not None:
        views = read_trajectory(trajectory, look)
        if len(views) != len(chosen):
            raise ArgumentError(f"{trajectory}: {len(views)} views for {len(chosen)} frames; give one for each")
    elif to is not None:
        views = linear_trajectory(look, len(chosen), (yaw, pitch), parse_pair(to, "--to", ","))
    from nerv360.api import decode as decode_file

    started = time.perf_counter()
    with progress("decoding", len(chosen)) as (bar, task):
        count = decode_file(
            file,
            output,
            views,
            frames=chosen,
            backend=backend,
            precision=precision,
            report=lambda done, total: bar.update(task, completed=done),
        )
    console.print(f"{output}: {count} frames, {count / (time.perf_counter() - started):.1f} frames/s with writing")


@app.command()
def info(
    file: Source,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
    runtime: Annotated[bool, typer.Option("--runtime", help="Say, too, what would decode it here.")] = False,
) -> None:
    """Say what a file is, and where its bytes go. Reads and checks every byte; decodes nothing."""
    with Container(file) as container:
        container.verify()
        budget, header = container.budget(), container.header
    seconds = header.frames * header.rate_denominator / header.rate_numerator
    total = sum(budget.values())
    facts: dict[str, Any] = {
        "size": total,
        "width": header.width,
        "height": header.height,
        "frames": header.frames,
        "frame_rate": f"{header.rate_numerator}/{header.rate_denominator}",
        "seconds": seconds,
        "bitrate": 8 * total / seconds,
        "bits_per_pixel": 8 * total / (header.frames * header.width * header.height),
        "colour": {name: getattr(header.colour, name) for name in header.colour.__struct_fields__},
        "segments": [
            {"first_frame": segment.first_frame, "frames": segment.frames, "bytes": segment.length}
            | named_fields(segment.header)
            for segment in container.segments
        ],
        "budget": budget,
    }
    if runtime:
        facts["runtime"] = {"taken": choose_backend(None, "cpu"), "installed": installed_backends()}
    if as_json:
        print(json.dumps(facts, indent=2, default=asdict))
        return
    table = Table(title=str(file), show_header=False, title_justify="left")
    table.add_row("video", f"{header.width}x{header.height}, {header.frames} frames, {seconds:.2f} s")
    table.add_row("rate", f"{facts['bitrate'] / 1000:.1f} kbit/s, {facts['bits_per_pixel']:.4f} bits per pixel")
    for segment in _different(container.segments):
        network = segment.header
        table.add_row("network", f"{network.model}, widths {tuple(network.channels)}")
        for latent in segment.latents:
            when = f"every {latent.period} frames" if latent.period > 1 else "every frame" if latent.period else "still"
            table.add_row("latent", f"1/{latent.stride} of the panorama, {latent.channels} channels, {when}")
        low, high = network.hfov_deg
        fields = f"{low:g}" if low == high else f"{low:g} to {high:g}"
        table.add_row("trained view", f"{network.view_width}x{network.view_height}, {fields} degrees wide")
        table.add_row("random access", f"groups of {network.group_size} frames")
    for name, size in budget.items():
        table.add_row(name, f"{size:,} bytes ({100 * size / total:.1f} %)")
    table.add_row("total", f"{total:,} bytes")
    if runtime:
        table.add_row("decoded by", describe_backend(facts["runtime"]["taken"]))
        table.add_row("installed", ", ".join(describe_backend(name) for name in facts["runtime"]["installed"]))
    console.print(table)
    if len(container.segments) > 1:
        console.print(_segment_table(container))


@app.command("eval")
def evaluate(
    file: Source,
    source: Annotated[Path, typer.Option(help="The video that was encoded.", show_default=False)],
    start: Annotated[int, typer.Option(metavar="K", help="The --start with which it was encoded.")] = 0,
    size: Annotated[
        str | None, typer.Option(metavar="WxH", help="Viewport; by default the training viewport's.")
    ] = None,
    hfov: Annotated[float, typer.Option(help="Horizontal field of view in degrees.")] = JVET_HFOV_DEG,
    trajectory: Annotated[
        Path | None, typer.Option(metavar="CSV", help="A view per frame, instead of JVET's Balboa VP0 and VP1.")
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(metavar="PNG", help="Write source, decoded view and their difference side by side.")
    ] = None,
    precision: Precision = "float",
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
    force: Force = False,
) -> None:
    """Decode a file and measure it against its source: PSNR, MS-SSIM, WS-PSNR, rate, speed."""
    from nerv360.video.clip import Clip

    if picture is not None and picture.suffix.lower() != ".png":
        raise ArgumentError(f"--picture {picture}: must end in .png")
    check_precision(precision, choose_backend(None, "cpu"))
    with Container(file) as container:
        container.verify()
        header, segment = container.header, container.segments[0].header
    width, height = parse_size(size) if size else (segment.view_width, segment.view_height)
    look = Viewport(hfov_deg=hfov, width=width, height=height)
    clip = Clip.open(source, start=start, frames=header.frames, size=(header.width, header.height), force=force)
    views = {trajectory.stem: read_trajectory(trajectory, look)} if trajectory else None
    if views and len(next(iter(views.values()))) != header.frames:
        raise ArgumentError(f"{trajectory}: needs {header.frames} views, one for each frame")
    from nerv360.api import eval_file
    from nerv360.evaluation.evaluate import dynamic_viewports

    with progress("measuring", header.frames, quiet=as_json) as (bar, task):
        result = eval_file(
            file,
            clip,
            views=views or dynamic_viewports(look, header.frames),
            picture=picture,
            precision=precision,
            report=lambda done, total: bar.update(task, completed=done),
        )
    if as_json:
        print(json.dumps(result.as_dict(), indent=2))
    else:
        console.print(evaluation_table(result))


def _different(segments: Iterable[Segment]) -> list[Segment]:
    """The first of all segments whose networks are of the same shape."""
    found: dict[str, Segment] = {}
    for segment in segments:
        found.setdefault(json.dumps(named_fields(segment.header), default=asdict), segment)
    return list(found.values())


def _segment_table(container: Container) -> Table:
    table = Table("segment", "from", "frames", "bytes", "kbit/s", title="segments", title_justify="left")
    rate = container.header.rate_numerator / container.header.rate_denominator
    for number, segment in enumerate(container.segments):
        bitrate = 8 * segment.length * rate / segment.frames
        began = f"{segment.first_frame / rate:.2f} s"
        table.add_row(str(number), began, str(segment.frames), f"{segment.length:,}", f"{bitrate / 1000:.1f}")
    return table


def named_fields(header: Any) -> dict[str, Any]:
    """A header as a dictionary, without its chunk table."""
    return {name: getattr(header, name) for name in header.__struct_fields__ if name != "chunks"}


if __name__ == "__main__":
    main()
