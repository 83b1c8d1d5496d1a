"""Quality from 40 to 120 degrees -> rows of benchmarks/zoom.tsv

python benchmarks/zoom.py FILE VIDEO [--start K]

Views of the training size, of every eighth frame of VP0: decoded as `Decoder.viewport` does it, at the trained focal
length and resampled; and decoded directly at their own. The source's views are cut out of it.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import typer
from table import append

from nerv360 import api
from nerv360.codec import resampling
from nerv360.extract import extract_viewport
from nerv360.geometry.viewport import dynamic_viewports
from nerv360.quality import psnr
from nerv360.video.clip import Clip

HFOV_DEG = (40, 50, 60, 70, 78.1, 90, 100, 110, 120)
TOLERANCES = {"resampled_psnr_db": 0.0, "direct_psnr_db": 10.0}


def main(file: Path, video: Path, start: int = 0) -> None:
    with api.open(file) as decoder:
        clip = Clip.open(video, start=start, frames=decoder.frames, size=(decoder.width, decoder.height))
        frames = list(clip)
        for hfov_deg in HFOV_DEG:
            views = dynamic_viewports(replace(decoder.native_view(), hfov_deg=hfov_deg), decoder.frames)["VP0"]
            row = {"model": decoder.container.segments[0].header.model, "hfov_deg": hfov_deg}
            for name, tolerance in TOLERANCES.items():
                resampling.FOCAL_TOLERANCE = tolerance
                chosen = range(0, decoder.frames, 8)
                pairs = [(decoder.viewport(i, views[i]), extract_viewport(frames[i], views[i])) for i in chosen]
                row[name] = f"{np.mean([psnr(decoded, source) for decoded, source in pairs]):.2f}"
            row["command"] = f"python benchmarks/zoom.py {file.name} {video.name} --start {start}"
            append(Path(__file__).with_suffix(".tsv"), row)


if __name__ == "__main__":
    typer.run(main)
