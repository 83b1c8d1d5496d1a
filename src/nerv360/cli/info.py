"""`nerv360 info`: what a file is, and where its bytes go."""

import json
from typing import Annotated, Any

import typer
from msgspec.structs import asdict
from rich.table import Table

from nerv360.backends.registry import backend_of, describe_backend, has_shaders, installed_backends, opengl_adapter
from nerv360.bitstream.container import Container
from nerv360.cli.console import console
from nerv360.cli.options import Source
from nerv360.codec.view_share import share_of_view
from nerv360.errors import ArgumentError, MissingExtra
from nerv360.geometry.viewport import JVET_HFOV_DEG
from nerv360.types import Sound

__all__ = ["info"]


def info(
    file: Source,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
    runtime: Annotated[bool, typer.Option("--runtime", help="Say, too, what would decode it here.")] = False,
) -> None:
    """Say what a file is, and where its bytes go. Reads and checks every byte; decodes nothing."""
    with Container(file) as container:
        container.verify()
        facts = _facts(container)
        if runtime:
            taken = container.segments[0].spec.runtime or backend_of(container, None)
            facts["runtime"] = {"taken": taken, "installed": installed_backends()}
            if has_shaders(container):
                facts["runtime"]["opengl"] = _opengl(container)
    if as_json:
        print(json.dumps(facts, indent=2, default=asdict))
        return
    console.print(_table(str(file), container, facts))
    if len(container.segments) > 1:
        console.print(_segment_table(container))


def _facts(container: Container) -> dict[str, Any]:
    """All that --json tells."""
    header, budget = container.header, container.budget()
    seconds = float(container.timeline.start_s(header.frames))
    total = sum(budget.values())
    return {
        "size": total,
        "width": header.width,
        "height": header.height,
        "frames": header.frames,
        "eyes": header.eyes or 1,
        "frame_rate": f"{header.rate_numerator}/{header.rate_denominator}",
        "variable_frame_rate": container.timeline.variable,
        "seconds": seconds,
        "bitrate": 8 * total / seconds,
        "bits_per_pixel": 8 * total / (header.frames * header.width * header.height * (header.eyes or 1)),
        "colour": asdict(header.colour),
        "segments": [
            {"first_frame": segment.first_frame, "frames": segment.frames, "bytes": segment.length}
            | named_fields(segment.header)
            for segment in container.segments
        ],
        **({"sound": _sound(header.sound)} if header.sound else {}),
        **({"view_share": share} if (share := share_of_view(container, JVET_HFOV_DEG)) is not None else {}),
        "budget": budget,
    }


def _table(title: str, container: Container, facts: dict[str, Any]) -> Table:
    """The facts, to be read."""
    table = Table(title=title, show_header=False, title_justify="left")
    table.add_row("video", "{width}x{height}, {frames} frames, {seconds:.2f} s".format_map(facts))
    if facts["variable_frame_rate"]:
        table.add_row("frame rate", f"variable, {facts['frames'] / facts['seconds']:.3g} frames/s on average")
    table.add_row("rate", f"{facts['bitrate'] / 1000:.1f} kbit/s, {facts['bits_per_pixel']:.4f} bits per pixel")
    for rows in dict.fromkeys(tuple(segment.header.rows()) for segment in container.segments):
        for name, value in rows:
            table.add_row(name, value)
    if "sound" in facts:
        table.add_row("sound", "{codec}, {sample_rate} Hz, {channels} channels".format_map(facts["sound"]))
    if (share := facts.get("view_share")) is not None:
        table.add_row("a view ahead", f"{JVET_HFOV_DEG:g} degrees wide: at least {100 * share:.0f} % of the bytes")
    for name, size in facts["budget"].items():
        table.add_row(name, f"{size:,} bytes ({100 * size / facts['size']:.1f} %)")
    table.add_row("total", f"{facts['size']:,} bytes")
    if "runtime" in facts:
        table.add_row("decoded by", describe_backend(facts["runtime"]["taken"]))
        table.add_row("installed", ", ".join(describe_backend(name) for name in facts["runtime"]["installed"]))
        if "opengl" in facts["runtime"]:
            table.add_row("OpenGL", facts["runtime"]["opengl"])
    return table


def _opengl(container: Container) -> str:
    """What OpenGL would draw a file by, or why nothing does."""
    try:
        found = opengl_adapter(container)
    except (ArgumentError, MissingExtra) as error:
        return str(error)
    return f"{found.name}, computed by the processor; to take it, --backend opengl" if found.software else found.name


def _sound(sound: Sound) -> dict[str, Any]:
    """What --json tells of the sound."""
    return {"codec": sound.codec, "sample_rate": sound.sample_rate, "channels": sound.channels}


def _segment_table(container: Container) -> Table:
    table = Table("segment", "from", "frames", "bytes", "kbit/s", title="segments", title_justify="left")
    start_s = container.timeline.start_s
    for number, segment in enumerate(container.segments):
        begin, end = (float(start_s(segment.first_frame + frames)) for frames in (0, segment.frames))
        bitrate = 8 * segment.length / (end - begin)
        began = f"{begin:.2f} s"
        table.add_row(str(number), began, str(segment.frames), f"{segment.length:,}", f"{bitrate / 1000:.1f}")
    return table


def named_fields(header: Any) -> dict[str, Any]:
    """A header as a dictionary, without its chunk table."""
    return {name: getattr(header, name) for name in header.__struct_fields__ if name != "chunks"}
