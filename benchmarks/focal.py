"""Is a view at another focal length better decoded directly, or at the trained one and resampled?

python benchmarks/focal.py FILE VIDEO [--start K]; writes benchmarks/focal.tsv. PSNR of every eighth frame of VP0.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import typer

from nerv360 import api
from nerv360.codec import resampling
from nerv360.extract import extract_viewport
from nerv360.geometry.viewport import dynamic_viewports
from nerv360.quality import psnr
from nerv360.video.clip import Clip

RATIOS = (0.5, 0.7, 0.8, 0.87, 0.95, 1.05, 1.15, 1.25, 1.5, 2.0)


def main(file: Path, video: Path, start: int = 0) -> None:
    lines = ["focal_ratio\tdirect_psnr_db\tresampled_psnr_db"]
    with api.open(file) as decoder:
        clip = Clip.open(video, start=start, frames=decoder.frames, size=(decoder.width, decoder.height))
        frames, native = list(clip), decoder.native_view()
        for ratio in RATIOS:
            look = replace(native, width=round(native.width * ratio), height=round(native.height * ratio))
            views = dynamic_viewports(look, decoder.frames)["VP0"]
            figures = []
            for tolerance in (10.0, 0.0):
                resampling.FOCAL_TOLERANCE = tolerance
                chosen = range(0, decoder.frames, 8)
                pairs = [(decoder.viewport(i, views[i]), extract_viewport(frames[i], views[i])) for i in chosen]
                figures.append(np.mean([psnr(decoded, source) for decoded, source in pairs]))
            lines.append(f"{ratio:g}\t{figures[0]:.3f}\t{figures[1]:.3f}")
            print(lines[-1])
    Path(__file__).with_suffix(".tsv").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    typer.run(main)
