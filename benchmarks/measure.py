"""Append a row to benchmarks/real_input.tsv: a file decoded and measured against its source.

python benchmarks/measure.py FILE VIDEO --start K --minutes M --command "nerv360 encode ..."
M and the command are those of the encoding, as `nerv360 encode` printed them.
"""

import platform
from pathlib import Path
from typing import Annotated

import torch
import typer
from table import append, commit

from nerv360 import api

ROOT = Path(__file__).parents[1]


def main(
    file: Path,
    video: Path,
    start: int = 0,
    minutes: float = 0.0,
    command: Annotated[str, typer.Option()] = "",
) -> None:
    result = api.eval_file(file, video, start=start, picture=file.with_suffix(".png"))
    with api.open(file) as decoder:
        budget = decoder.container.budget()
    row = {
        "video": video.name,
        "frames": result.frames,
        "viewport": result.viewport,
        "bytes": result.size,
        "weights": budget["weights"],
        "latents": result.size - budget["weights"] - budget["headers"],
        "kbit_per_s": f"{result.bitrate / 1000:.1f}",
        "vp0_psnr_db": f"{result.trajectories['VP0'].psnr_db:.2f}",
        "vp1_psnr_db": f"{result.trajectories['VP1'].psnr_db:.2f}",
        "mean_psnr_db": f"{result.mean.psnr_db:.2f}",
        "mean_psnr_y_db": f"{result.mean.psnr_y_db:.2f}",
        "ms_ssim": f"{result.mean.ms_ssim:.4f}",
        "ms_ssim_window": result.ms_ssim_window,
        "ws_psnr_db": f"{result.ws_psnr_db:.2f}",
        "minutes": f"{minutes:.1f}",
        "device": f"CPU {platform.machine()}, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
        "commit": commit(),
        "command": command,
    }
    table = ROOT / "benchmarks" / "real_input.tsv"
    append(table, row)
    print(row)


if __name__ == "__main__":
    typer.run(main)
