"""Toy fits of what the paper leaves open: the precision of fits, learning rates, losses, where views are.

python benchmarks/toy_fits.py precision|choices|blocks [--seeds 0,1,2] -> rows of benchmarks/toy_fits.tsv

The procedural clip at 192x96, 16 frames, 25 epochs (400 steps), decoders of 140,000 parameters, one view a step. Every
fit is decoded in float32; PSNR is the mean over the frames of both trajectories. Half precision is that of a CPU's
autocast; float16 has PyTorch's GradScaler, whose skipped steps are counted.
"""

from pathlib import Path
from typing import Any

import torch
import typer
from table import append, commit, cpu

from nerv360.config import HNERV_RECIPE, EncodingConfig, preset_for
from nerv360.evaluation.results_store import read_rows
from nerv360.extract import extract_viewport
from nerv360.geometry.viewport import Viewport, dynamic_viewports
from nerv360.latents.grid import FrameTime
from nerv360.models.build import build, channels_last
from nerv360.models.decoder_network import DecoderNetwork
from nerv360.quality import psnr
from nerv360.training.configure import configure
from nerv360.training.losses import distortion, squared_error
from nerv360.training.optimisers import create_optimiser, learning_rate
from nerv360.training.sampling import training_sample
from nerv360.training.training_module import TrainingModule
from nerv360.types import Picture
from nerv360.video.synthetic import render_frame

WIDTH, HEIGHT, FRAMES, EPOCHS = 192, 96, 16, 25
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
CPU = torch.device("cpu")
ONE: dict[str, Any] = {"learning_rate": 1e-3}
STUDIES: dict[str, list[tuple[str, str, str, dict[str, Any]]]] = {  # model, variant, precision, settings
    "precision": [(model, name, name, {}) for model in ("nerv360", "hnerv") for name in PRECISIONS],
    "choices": [
        ("nerv360", "peak 1e-3", "float32", ONE),
        ("nerv360", "start 3e-4", "float32", {"learning_rate_start": 3e-4}),
        ("nerv360", "views uniform in angle", "float32", {"centres": "angle"}),
        ("nerv360", "views within 45 degrees of the equator", "float32", {"pitch_deg": (-45, 45)}),
        ("hnerv", "peak 1e-3", "float32", ONE),
        ("hnerv", "its own recipe", "float32", HNERV_RECIPE),
    ],
    "blocks": [
        ("hnerv-boost", "one block a stage", "float32", {}),
        ("hnerv-boost", "two blocks in the last three stages", "float32", {"late_blocks": 2}),
    ],
}


def fit(clip: list[Picture], config: EncodingConfig, precision: str) -> tuple[DecoderNetwork, int]:
    """A fitted network, and the number of steps that were skipped for gradients that were not finite."""
    torch.manual_seed(config.seed)
    network = channels_last(build(configure(config, WIDTH, HEIGHT), FRAMES))
    module, half = TrainingModule(network, 0.0), PRECISIONS[precision]
    optimiser = create_optimiser(module, config.optimisation)
    scaler = torch.amp.GradScaler("cpu", enabled=precision == "float16")
    steps, skipped = EPOCHS * FRAMES, 0
    generator = torch.Generator().manual_seed(config.seed)
    for step in range(steps):
        if step % FRAMES == 0:
            order = torch.randperm(FRAMES, generator=generator).tolist()
        index = order[step % FRAMES]
        sample = training_sample(clip[index], index, FRAMES, step, config, None, CPU)
        optimiser.param_groups[0]["lr"] = learning_rate(step, steps, config.optimisation)
        with torch.autocast("cpu", half, enabled=half != torch.float32):
            drawn, wanted, _ = module(sample, None)
        settings = config.optimisation
        if settings.loss == "l2":
            loss = squared_error(drawn.float(), wanted)
        else:
            loss = distortion(drawn.float(), wanted, settings.loss_lambda, settings.loss_alpha)
        optimiser.zero_grad()
        scaler.scale(loss).backward()
        optimiser.found_inf = torch.zeros(())  # type: ignore[attr-defined]  # the scaler skips whole steps
        scaler.step(optimiser)
        before = scaler.get_scale()
        scaler.update()
        skipped += scaler.get_scale() < before
    return network, skipped


@torch.inference_mode()
def quality_db(network: DecoderNetwork, clip: list[Picture], view: Viewport) -> float:
    """Mean over both trajectories."""
    panoramas = [torch.from_numpy(frame).permute(2, 0, 1)[None] for frame in clip]
    (latents,) = network.fitted_latents(panoramas)
    figures = []
    for views in dynamic_viewports(view, FRAMES).values():
        for index, look in enumerate(views):
            (window,) = network.windows(look)
            picture = network.decode([window.crop(latents[index : index + 1])], FrameTime(index, FRAMES), look)
            levels = (picture[0] * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
            figures.append(psnr(levels, extract_viewport(clip[index], look)))
    return sum(figures) / len(figures)


def main(study: str, seeds: str = "0,1,2") -> None:
    """Fit every variant of a study with every seed, but those that have their row."""
    table = Path(__file__).with_suffix(".tsv")
    known = {(row["model"], row["variant"], row["seed"]) for row in read_rows(table)}
    clip = [render_frame(index, width=WIDTH, height=HEIGHT, frames=FRAMES) for index in range(FRAMES)]
    for seed in map(int, seeds.split(",")):
        for model, variant, precision, settings in STUDIES[study]:
            if (model, variant, str(seed)) in known:
                continue
            config = preset_for(model, "tiny").replace(seed=seed, epochs=EPOCHS, **settings)
            width, height = config.training_view(WIDTH)
            network, skipped = fit(clip, config, precision)
            row: dict[str, object] = {"model": model, "variant": variant, "seed": seed}
            row |= {"psnr_db": f"{quality_db(network, clip, Viewport(width=width, height=height)):.3f}"}
            row |= {"skipped": skipped, "torch": torch.__version__, "device": cpu(), "commit": commit()}
            append(table, row)
            print(*row.values(), sep="\t", flush=True)


if __name__ == "__main__":
    typer.run(main)
