"""Training steps per second, viewport-local against full-frame encoding, in one run, turn by turn.

python benchmarks/local_encoding.py [--size 1536x768] [--steps 20]; writes benchmarks/local_encoding.tsv
"""

import platform
import statistics
import time
from pathlib import Path
from typing import Annotated

import torch
import typer
from table import append

from nerv360.cli.options import parse_size
from nerv360.config import preset_for
from nerv360.geometry.rays import viewport_rays
from nerv360.geometry.sampling import sample_sphere
from nerv360.latents.grid import FrameTime
from nerv360.models.build import build
from nerv360.training.configure import configure
from nerv360.training.losses import distortion
from nerv360.training.optimisers import create_optimiser
from nerv360.training.sampling import sample_view
from nerv360.video.synthetic import render_frame


def main(size: Annotated[str, typer.Option()] = "1536x768", steps: int = 20) -> None:
    width, height = parse_size(size)
    config = preset_for("nerv360", "tiny")
    panorama = torch.from_numpy(render_frame(0, width=width, height=height, frames=1)).permute(2, 0, 1)[None]
    torch.manual_seed(0)
    model = build(configure(config, width, height), 1)
    optimiser = create_optimiser(model, config.optimisation)

    def step(epoch: int, local: bool) -> float:
        view = sample_view(config, width, 0, epoch)
        started = time.perf_counter()
        source = sample_sphere(panorama, viewport_rays(view)) / 255
        window = model.windows(view)[0]
        patch = model.embed(panorama, window) if local else window.crop(model.embed(panorama))
        loss = distortion(
            model.decode([patch], FrameTime(0, 1), view),
            source,
            config.optimisation.loss_lambda,
            config.optimisation.loss_alpha,
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        return time.perf_counter() - started

    for local in (True, False, True):
        step(0, local)
    pairs = [(step(epoch, True), step(epoch, False)) for epoch in range(steps)]
    near, full = (sum(times) / steps for times in zip(*pairs, strict=True))
    ratio = statistics.median(b / a for a, b in pairs)
    view_width, view_height = config.training_view(width)
    row = {
        "panorama": size,
        "viewport": f"{view_width}x{view_height}",
        "steps": steps,
        "local_steps_per_s": f"{1 / near:.3f}",
        "full_steps_per_s": f"{1 / full:.3f}",
        "ratio_of_means": f"{full / near:.2f}",
        "median_of_ratios": f"{ratio:.2f}",
        "threads": torch.get_num_threads(),
        "device": platform.processor() or platform.machine(),
        "torch": torch.__version__,
    }
    table = Path(__file__).with_suffix(".tsv")
    append(table, row)
    print(row)


if __name__ == "__main__":
    typer.run(main)
