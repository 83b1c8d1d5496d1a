"""What quantisation costs: a fitted model's checkpoint, written at several bit depths, read back and measured.

python benchmarks/quantisation.py CHECKPOINT VIDEO [--start K --frames N --size WxH]
writes benchmarks/quantisation.tsv.
CHECKPOINT is the file beside an unfinished encoding (copy it before the encoding ends).
"""

import tempfile
from pathlib import Path

import torch
import typer
from safetensors.torch import load_file

from nerv360 import api
from nerv360.cli.options import parse_size
from nerv360.codec.network_encoder import fitted_latents
from nerv360.codec.segment_writer import write_segment
from nerv360.config import preset_for
from nerv360.models.build import build
from nerv360.training.configure import configure
from nerv360.training.training_module import TrainingModule
from nerv360.video.clip import Clip

DEPTHS = ((16, 8), (8, 8), (8, 6), (7, 6), (6, 6), (8, 5), (8, 4))


def main(checkpoint: Path, video: Path, start: int = 0, frames: int | None = None, size: str | None = None) -> None:
    clip = Clip.open(video, start=start, frames=frames, size=parse_size(size) if size else None)
    config = preset_for("nerv360", "tiny")
    fitting = TrainingModule(
        build(configure(config, clip.width, clip.height), clip.frames), config.rate_target.rate_weight
    )
    tensors = load_file(checkpoint)
    fitting.load_state_dict({k.removeprefix("now.model."): v for k, v in tensors.items() if k.startswith("now.model.")})
    (embeddings,) = fitted_latents(fitting.network, clip)
    table = Path(__file__).with_suffix(".tsv")
    lines = ["video\tweight_bits\tembedding_bits\tbytes\tvp0_psnr_db\tvp1_psnr_db\tmean_psnr_db\tms_ssim\ttorch"]
    for weight_bits, embedding_bits in DEPTHS:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "a.nerv360"
            depths = config.replace(weight_bits=weight_bits, embedding_bits=embedding_bits)
            written = write_segment(fitting, [embeddings], clip, depths, file)
            result = api.eval_file(file, clip)
        each = [f"{quality.psnr_db:.3f}" for quality in result.trajectories.values()]
        mean = [f"{result.mean.psnr_db:.3f}", f"{result.mean.ms_ssim:.4f}", torch.__version__]
        lines.append("\t".join([video.name, str(weight_bits), str(embedding_bits), str(written), *each, *mean]))
        print(lines[-1])
    table.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    typer.run(main)
