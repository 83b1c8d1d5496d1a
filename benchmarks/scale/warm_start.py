"""Is a segment's network fitted faster from its neighbour's weights? -> rows of benchmarks/scale/warm_start.tsv

python benchmarks/scale/warm_start.py VIDEO [--first K] [--frames N] [--size WxH] [--epochs E]

Two segments of N frames, one behind the other in one shot, preset fast. The first is fitted; the second is fitted
twice, on the same views in the same order: from the usual start, and from the first's weights (not its grids). PSNR is
the running mean over training views, and at the end that of the file, read back, over both dynamic viewports.
"""

import sys
import tempfile
from pathlib import Path

import torch
import typer
from torch import Tensor

sys.path.append(str(Path(__file__).parents[1]))
from table import append

import nerv360
from nerv360.cli.options import parse_size
from nerv360.codec.network_encoder import fitted_latents
from nerv360.codec.segment_writer import write_segment
from nerv360.config import preset_for
from nerv360.models.build import build, decoder_tensors
from nerv360.training.checkpoint import Progress
from nerv360.training.configure import configure
from nerv360.training.fit import Fit
from nerv360.training.training_module import TrainingModule
from nerv360.video.clip import Clip

TABLE = Path(__file__).with_suffix(".tsv")
MARKS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


def main(video: Path, first: int = 130, frames: int = 24, size: str = "624x312", epochs: int = 30) -> None:
    torch.set_num_threads(1)
    config = preset_for("nerv360-grid", "fast").replace(epochs=epochs)
    left = Clip.open(video, start=first, frames=2 * frames, size=parse_size(size))
    left, right = left.cut(0, frames), left.cut(frames, frames)

    def fitted(clip: Clip, start: dict[str, Tensor] | None, name: str) -> dict[str, Tensor]:
        torch.manual_seed(config.seed)
        model = build(configure(config, clip.width, clip.height), clip.frames)
        if start is not None:
            model.load_state_dict(start, strict=False)
        curve: list[float] = []

        def report(progress: Progress, steps: int) -> None:
            curve.append(progress.psnr_db)

        with tempfile.TemporaryDirectory() as folder:
            module = TrainingModule(model, config.rate_target.rate_weight)
            Fit(module, clip, config, Path(folder) / "checkpoint").run(report)
            written = write_segment(module, fitted_latents(model, clip), clip, config, Path(folder) / "a.nerv360")
            quality = nerv360.eval_file(Path(folder) / "a.nerv360", clip).mean
        row: dict[str, object] = {
            "run": name,
            "frames": f"{clip.start}-{clip.start + frames - 1}",
            "panorama": f"{clip.width}x{clip.height}",
        }
        row |= {f"psnr_db_at_{mark:.0%}": f"{curve[round(mark * len(curve)) - 1]:.2f}" for mark in MARKS}
        row |= {"steps": len(curve), "bytes": written, "psnr_db": f"{quality.psnr_db:.2f}"}
        append(
            TABLE,
            row
            | {
                "command": f"python benchmarks/scale/warm_start.py {video.name} --first {first} "
                f"--frames {frames} --size {size} --epochs {epochs}"
            },
        )
        return {name: tensor.detach().clone() for name, tensor in decoder_tensors(model).items()}

    neighbour = fitted(left, None, "first segment")
    fitted(right, None, "second, from the usual start")
    fitted(right, neighbour, "second, from the first's weights")


if __name__ == "__main__":
    typer.run(main)
