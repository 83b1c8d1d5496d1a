"""What the edge of the view costs a network that decodes only views -> rows of edges.tsv.

python benchmarks/reproduction/edges.py FILE.nerv360 VIDEO --start 130. Views of 192x120, every fourth frame of both
trajectories: decoded as they are, and cut out of views that are wider by a margin on every side, at the same scale.
"""

import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

sys.path.append(str(Path(__file__).parents[1]))
from table import append, commit

import nerv360
from nerv360.codec.decoder import Decoder
from nerv360.extract import extract_viewport
from nerv360.geometry.viewport import JVET_HFOV_DEG, Viewport, dynamic_viewports
from nerv360.quality import psnr
from nerv360.video.clip import Clip

WIDTH, HEIGHT, EVERY = 192, 120, 4
MARGINS = 0, 12, 24, 48  # pixels


def main(
    file: Path,
    video: Path,
    start: int = 0,
    what: Annotated[str, typer.Option(help="How the file was fitted.")] = "",
) -> None:
    with nerv360.open(file) as decoder:
        clip = Clip.open(video, start=start, frames=decoder.frames, size=(decoder.width, decoder.height))
        view = replace(decoder.native_view(), width=WIDTH, height=HEIGHT, hfov_deg=JVET_HFOV_DEG)
        measure(decoder, clip, view, what or file.name)


def measure(decoder: Decoder, clip: Clip, view: Viewport, what: str) -> None:
    """Append a row for every margin."""
    trajectories = dynamic_viewports(view, decoder.frames).values()
    pairs = [
        (index, views[index], extract_viewport(frame, views[index]))
        for index, frame in enumerate(clip)
        if index % EVERY == 0
        for views in trajectories
    ]
    for margin in MARGINS:
        inner = slice(margin, margin + view.height), slice(margin, margin + view.width)
        quality = [psnr(decoder.viewport(index, _wider(look, margin))[inner], source) for index, look, source in pairs]
        row = {"file": what, "margin": margin, "psnr_db": f"{np.mean(quality):.2f}", "commit": commit()}
        append(Path(__file__).with_suffix(".tsv"), row)


def _wider(view: Viewport, margin: int) -> Viewport:
    """More of the same picture plane, at the same focal length."""
    half = math.tan(math.radians(view.hfov_deg / 2)) * (view.width + 2 * margin) / view.width
    hfov_deg = math.degrees(2 * math.atan(half))
    return replace(view, hfov_deg=hfov_deg, width=view.width + 2 * margin, height=view.height + 2 * margin)


if __name__ == "__main__":
    typer.run(main)
