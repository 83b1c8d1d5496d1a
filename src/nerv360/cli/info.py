"""`nerv360 info`: what a file is, and where its bytes go."""

import json
from collections.abc import Iterable
from typing import Annotated, Any

import typer
from msgspec.structs import asdict
from rich.table import Table

from nerv360.backends.registry import choose_backend, describe_backend, installed_backends
from nerv360.bitstream.container import Container, Segment
from nerv360.cli.console import console
from nerv360.cli.options import Source

__all__ = ["info"]


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
