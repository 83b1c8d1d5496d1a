"""NeRV360 beside HNeRV, as many parameters per pixel and as large a share of convolutions as the paper has.

python benchmarks/reproduction/level.py VIDEO FOLDER [--seeds 0,1,2] [--epochs 10] [--only NAME] [--edges]
-> rows of level.tsv

At 384x192, 500 frames, decoders of 15,000 parameters have widths of a twelfth of the paper's. The condition networks
shrink with them, and the encoder; the positional encoding keeps the frequencies that tell one frame from the next.
Fits go on from their checkpoints in FOLDER. With --edges, what the edge of the view costs its files of NeRV360: rows of
edges.tsv.
"""

import itertools
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import typer

sys.path.append(str(Path(__file__).parents[1]))
from edges import measure as measure_edges
from table import append, commit, cpu

from nerv360.codec.decoder import open_file
from nerv360.codec.network_encoder import fitted_latents
from nerv360.codec.segment_writer import write_segment
from nerv360.config import EncodingConfig
from nerv360.evaluation.evaluate import evaluate
from nerv360.evaluation.results_store import quality_columns, read_rows
from nerv360.geometry.viewport import JVET_HFOV_DEG, dynamic_viewports
from nerv360.models import nerv360
from nerv360.models.build import build, decoder_tensors
from nerv360.progress import ignore
from nerv360.training.configure import configure
from nerv360.training.fit import Fit
from nerv360.training.training_module import TrainingModule
from nerv360.video.clip import Clip

SIZE, FRAMES = (384, 192), 500
ENCODER_WIDTH, FREQUENCIES = 16, 28
STEM_HIDDEN, CONDITION = 3, 2
TABLE = Path(__file__).with_suffix(".tsv")


@dataclass(frozen=True)
class Variant:
    name: str
    model: str
    channels: tuple[int, ...]
    views: int = 1


VARIANTS = (
    Variant("HNeRV", "hnerv", (12, 10, 9, 7, 6)),
    Variant("NeRV360, 8 views per step", "nerv360", (11, 10, 8, 7, 5), 8),
    Variant("NeRV360", "nerv360", (11, 10, 8, 7, 5)),
)


def measure(variant: Variant, clip: Clip, config: EncodingConfig, file: Path) -> dict[str, object]:
    """Fit, write, read back and measure."""
    torch.manual_seed(config.seed)
    shape = replace(configure(config, clip.width, clip.height), pe_frequencies=FREQUENCIES)
    module = TrainingModule(build(shape, clip.frames), 0.0)
    fit = Fit(module, clip, config, file.with_suffix(".checkpoint"))
    fit.run(lambda progress, steps: None)
    write_segment(module, fitted_latents(module.network, clip), clip, config, file)
    tensors = decoder_tensors(module.network)
    conditions = sum(tensor.numel() for name, tensor in tensors.items() if "stem" in name or "affine" in name)
    parameters = sum(tensor.numel() for tensor in tensors.values())
    with open_file(file) as decoder:
        look = replace(decoder.native_view(), hfov_deg=JVET_HFOV_DEG)
        result = evaluate(decoder, clip, dynamic_viewports(look, clip.frames), ignore)
    return {
        "parameters": parameters,
        "conditions": conditions,
        "parameters_per_pixel": f"{parameters / (clip.width * clip.height * clip.frames):.5f}",
        "minutes": f"{fit.progress.seconds / 60:.1f}",
        "bytes": result.size,
        **quality_columns(result),
        "ws_psnr_db": f"{result.ws_psnr_db:.3f}",
    }


def main(
    video: Path, folder: Path, seeds: str = "0,1,2", epochs: int = 10, only: str | None = None, edges: bool = False
) -> None:
    """Fit what has no row yet, seed by seed."""
    torch.set_num_threads(1)
    nerv360.STEM_HIDDEN, nerv360.CONDITION = STEM_HIDDEN, CONDITION
    clip, code = Clip.open(video, frames=FRAMES, size=SIZE), commit()
    folder.mkdir(parents=True, exist_ok=True)
    for seed, variant in itertools.product(map(int, seeds.split(",")), VARIANTS):
        file = folder / f"{variant.model}-{variant.views}-{epochs}-{seed}.nerv360"
        known = {"film": video.stem, "variant": variant.name, "seed": str(seed), "steps": str(epochs * clip.frames)}
        fitted = any(known.items() <= row.items() for row in read_rows(TABLE))
        if only not in (None, variant.name):
            continue
        if edges and fitted and variant.model == "nerv360":
            with open_file(file) as decoder:
                look = replace(decoder.native_view(), hfov_deg=JVET_HFOV_DEG)
                measure_edges(decoder, clip, look, f"level.py: {variant.name}, seed {seed}")
        elif not edges and not fitted:
            shape: dict[str, Any] = {"model": variant.model, "channels": variant.channels, "views": variant.views}
            config = EncodingConfig.of(encoder_channels=ENCODER_WIDTH, epochs=epochs, seed=seed, **shape)
            row = known | measure(variant, clip, config, file) | {"device": cpu(), "commit": code}
            append(TABLE, row)
            print(*row.values(), sep="\t", flush=True)


if __name__ == "__main__":
    typer.run(main)
