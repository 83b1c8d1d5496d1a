"""The options of `nerv360 encode`, panel by panel of its help."""

from pathlib import Path
from typing import Annotated

import typer

from nerv360.config import help_of, presets_of
from nerv360.models.registry import MODELS, networks

__all__ = [
    "SEGMENT_SECONDS",
    "Audio",
    "Bitrate",
    "DecoderSize",
    "Device",
    "EmbeddingBits",
    "Epochs",
    "Frames",
    "HorizontalFov",
    "Manifest",
    "Model",
    "Output",
    "Precision",
    "Preset",
    "Quality",
    "RateWeight",
    "Ray",
    "Roll",
    "Sectors",
    "Seed",
    "Segment",
    "Size",
    "SizeLimit",
    "Start",
    "Video",
    "Views",
    "WeightBits",
    "Workers",
]

SEGMENT_SECONDS = 10.0
MODEL, FIT, VIEWS = "Model", "Fit of a network", "Views that are trained for, or measured by"
RATE = "Rate: at most one of the first four"
LONG = "Long videos"
PRESETS_HELP = "; ".join(
    f"for {spec.name}: {', '.join(presets_of(spec.name))} (by default {spec.default_preset})"
    for spec in MODELS.values()
)


def _help(name: str, text: str | None = None) -> str:
    """Help of a setting, by default its own text, with the models that have a use for it, where others do not."""
    users = [spec.name for spec in MODELS.values() if name not in spec.unused]
    if users == list(MODELS):
        return text or help_of(name)
    return f"{text or help_of(name)} For {'networks' if users == networks() else ', '.join(users)}."


Video = Annotated[str | None, typer.Argument(help="A 360-degree video: a file or a URL.", show_default=False)]
Output = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="The .nerv360 file or URL to write; .json: a manifest, and the segments in files of their own.",
    ),
]
Start = Annotated[int, typer.Option(metavar="K", help="First frame to encode, from 0.")]
Frames = Annotated[int | None, typer.Option(metavar="N", help="Number of frames; by default, to the end.")]
Size = Annotated[str | None, typer.Option(metavar="WxH", help="Scale the panorama first.")]
Audio = Annotated[bool, typer.Option("--audio/--no-audio", help="Keep the sound, where it is AAC or Opus.")]

Model = Annotated[str | None, typer.Option(help=f"{help_of('model')} By default, the preset's.", rich_help_panel=MODEL)]
Preset = Annotated[
    str | None,
    typer.Option(help=f"Settings to start from; {PRESETS_HELP}", show_default=False, rich_help_panel=MODEL),
]
Sectors = Annotated[bool, typer.Option("--sectors", help=_help("sectors"), rich_help_panel=MODEL)]
Epochs = Annotated[int | None, typer.Option(help=_help("epochs"), show_default=False, rich_help_panel=FIT)]
DecoderSize = Annotated[int | None, typer.Option(help=_help("decoder_size"), show_default=False, rich_help_panel=FIT)]
Seed = Annotated[int | None, typer.Option(help=_help("seed"), show_default=False, rich_help_panel=FIT)]
Device = Annotated[
    str | None, typer.Option(help=_help("device", "cpu or cuda; by default, what there is."), rich_help_panel=FIT)
]
Precision = Annotated[
    str | None,
    typer.Option(
        help=_help("precision", "Of convolutions: float or bfloat16; by default bfloat16 on cuda."), rich_help_panel=FIT
    ),
]

Views = Annotated[int | None, typer.Option(help=_help("views"), show_default=False, rich_help_panel=VIEWS)]
HorizontalFov = Annotated[str | None, typer.Option(metavar="LO:HI", help=_help("hfov_deg"), rich_help_panel=VIEWS)]
Roll = Annotated[str | None, typer.Option(metavar="LO:HI", help=_help("roll_deg"), rich_help_panel=VIEWS)]

RateWeight = Annotated[float | None, typer.Option(help=_help("rate_weight"), show_default=False, rich_help_panel=RATE)]
Bitrate = Annotated[
    str | None,
    typer.Option(
        metavar="BITS", help=_help("bitrate", "Most bits per second of the file: 500k."), rich_help_panel=RATE
    ),
]
SizeLimit = Annotated[
    str | None,
    typer.Option(metavar="BYTES", help=_help("bitrate", "Most bytes of the file: 2MB."), rich_help_panel=RATE),
]
Quality = Annotated[float | None, typer.Option(metavar="DB", help=_help("quality_db"), rich_help_panel=RATE)]
WeightBits = Annotated[int | None, typer.Option(help=_help("weight_bits"), show_default=False, rich_help_panel=RATE)]
EmbeddingBits = Annotated[
    int | None, typer.Option(help=_help("embedding_bits"), show_default=False, rich_help_panel=RATE)
]

Segment = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        help="Cut at changes of shot, and into segments no longer than this, each decoded from nothing else, "
        f"encoded by one thread. By default {SEGMENT_SECONDS:g} with the options below, else all is one segment.",
        min=0.04,
        rich_help_panel=LONG,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        metavar="N", help="Processes of this machine that encode segments.", min=1, max=1024, rich_help_panel=LONG
    ),
]
Ray = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS", help="HOST:PORT of a Ray cluster whose machines encode segments.", rich_help_panel=LONG
    ),
]
Manifest = Annotated[
    Path | None,
    typer.Option(
        metavar="CSV",
        help="Many videos: video,output[,start][,frames][,size], instead of VIDEO and -o.",
        rich_help_panel=LONG,
    ),
]
