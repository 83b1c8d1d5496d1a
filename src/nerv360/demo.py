"""The whole path in a minute: python -m nerv360.demo FOLDER [VIDEO]."""

import sys
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from nerv360.cli.console import console, evaluation_table, progress_bar, run
from nerv360.geometry.viewport import linear_trajectory
from nerv360.types import BT709
from nerv360.video.clip import Clip
from nerv360.video.synthetic import render_frame
from nerv360.video.writer import write_frames

FRAMES, LOOP, WIDTH, HEIGHT = 16, 256, 1536, 768


def demo(folder: Path, video: Path | None) -> None:
    """Leave clip.mp4 (where no video is given), clip.nerv360, view.mp4 and compare.png in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    if video is None:
        video = folder / "clip.mp4"
        frames = (render_frame(index, width=WIDTH, height=HEIGHT, frames=LOOP) for index in range(FRAMES))
        write_frames(video, frames, Fraction(25), BT709)
    whole = Clip.open(video, sound=True)
    clip = replace(whole, frames=min(FRAMES, whole.frames), width=WIDTH, height=HEIGHT)
    from nerv360 import api

    output = folder / "clip.nerv360"
    started = time.perf_counter()
    with progress_bar() as on_progress:
        encoded = api.encode(clip, output, on_progress=on_progress)
    seconds = time.perf_counter() - started
    with api.open(output) as decoder:
        look = replace(decoder.native_view(), width=640, height=360)
    views = linear_trajectory(look, clip.frames, (-60, -10), (60, 20))
    with progress_bar() as on_progress:
        api.decode(output, folder / "view.mp4", views, on_progress=on_progress)
        result = api.eval_file(output, clip, picture=folder / "compare.png", on_progress=on_progress)
    console.print(evaluation_table(result))
    console.print(f"encoded in {seconds:.0f} s: {encoded.size:,} bytes, {encoded.bitrate / 1000:.1f} kbit/s")
    console.print(f"look at {folder / 'view.mp4'} and {folder / 'compare.png'}")


if __name__ == "__main__":
    run(lambda: demo(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None))
