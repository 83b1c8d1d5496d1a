"""The same view of several files side by side: the source, ours, and x265 at the bytes of the first file.

python benchmarks/grids/pictures.py VIDEO OUT.png --file OURS.nerv360 --file PAPERS.nerv360 --frame 40 --yaw 30
"""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

import nerv360
from nerv360.cli.console import progress_bar
from nerv360.evaluation.anchors import ANCHORS, AnchorDecoder, encode_anchor
from nerv360.evaluation.evaluate import titled
from nerv360.extract import extract_viewport
from nerv360.quality import psnr
from nerv360.video.clip import Clip
from nerv360.video.writer import write_frames

LEAST_CRF, MOST_CRF = 10, 51


def main(
    video: Path,
    output: Path,
    file: Annotated[list[Path], typer.Option()],
    frame: int = 0,
    yaw: float = 0,
    pitch: float = 0,
    start: int = 0,
) -> None:
    with nerv360.open(file[0]) as decoder:
        view = replace(decoder.native_view(), yaw_deg=yaw, pitch_deg=pitch)
        clip = Clip.open(video, start=start, frames=decoder.frames, size=(decoder.width, decoder.height))
    source = extract_viewport(next(clip.read(frame, frame + 1)), view)
    pictures = []
    for each in file:
        with nerv360.open(each) as decoder:
            model = decoder.container.segments[0].header.model
            pictures.append((model, each.stat().st_size, decoder.viewport(frame, view)))
    with tempfile.TemporaryDirectory() as folder:
        anchor = Path(folder) / "x265.mkv"
        _encode_within(clip, file[0].stat().st_size, anchor)
        pictures.append(("x265", anchor.stat().st_size, AnchorDecoder(anchor).viewport(frame, view)))
    told = [f"{name}: {size:,} bytes, {psnr(drawn, source):.1f} dB" for name, size, drawn in pictures]
    tiles = [titled(source, "source"), *(titled(p[2], title) for p, title in zip(pictures, told, strict=True))]
    tiles += [np.full_like(tiles[0], 255)] * (len(tiles) % 2)
    rows = [np.concatenate(tiles[at : at + 2], axis=1) for at in range(0, len(tiles), 2)]
    write_frames(output, [np.concatenate(rows)], clip.frame_rate, clip.colour)
    print("\n".join(told))


def _encode_within(clip: Clip, size: int, path: Path) -> None:
    """Write the best x265 file of at most so many bytes, by bisection of its CRF; the smallest where there is none."""
    low, high, trial = LEAST_CRF, MOST_CRF, path.with_stem("trial")
    with progress_bar() as on_progress:

        def encode(crf: int) -> None:
            encode_anchor(ANCHORS["x265"], crf, clip, [0], trial, on_progress)

        while low < high:
            middle = (low + high) // 2
            encode(middle)
            if trial.stat().st_size <= size:
                high = middle
                trial.replace(path)
            else:
                low = middle + 1
        if not path.exists():
            encode(MOST_CRF)
            trial.replace(path)


if __name__ == "__main__":
    typer.run(main)
