"""nerv360-grid with one part of it removed or changed: a row of ablation.tsv for every variant, of a file read back.

python benchmarks/grids/ablation.py VIDEO --start 130 --frames 64 --size 624x312 --variant whole --variant "no motion"
"""

import random
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from unittest.mock import patch

import torch
import typer
from torch import Tensor, nn

sys.path.append(str(Path(__file__).parents[1]))
from table import append, commit

import nerv360
from nerv360.cli.console import progress_bar
from nerv360.cli.options import parse_size
from nerv360.codec import network_encoder
from nerv360.codec.encoder import encode_clip
from nerv360.config import EncodingConfig, preset_for
from nerv360.experiments.playback import drawing_gmac
from nerv360.geometry.viewport import Viewport
from nerv360.models import nerv360_grid
from nerv360.models.nerv360_grid import GridStage
from nerv360.models.spec import NetworkSpec
from nerv360.training import initialization, sampling
from nerv360.training.sampling import sample_view
from nerv360.video.clip import Clip

TABLE = Path(__file__).with_suffix(".tsv")

Change = Callable[[EncodingConfig], EncodingConfig]


def _without(*strides: int, motion: bool = False, still: bool = False) -> Change:
    """Without the motion, without still grids, or without keys at these strides."""

    def change(config: EncodingConfig) -> EncodingConfig:
        kept = [
            grid
            for grid in config.architecture.grids
            if not (motion if grid.motion else still if not grid.key_interval else grid.stride in strides)
        ]
        return config.replace(grids=tuple(kept))

    return change


def _width(channels: int) -> Change:
    return lambda config: config.replace(channels=(channels,) * len(config.architecture.channels or ()))


class DeepStage(GridStage):
    """A second convolution behind the sine."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, latents: int) -> None:
        super().__init__(inputs, outputs, kernel, stride, latents)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1, padding_mode="replicate")

    def forward(self, features: Tensor, picture: Tensor, latents: list[Tensor]) -> tuple[Tensor, Tensor]:
        features, picture = super().forward(features, picture, latents)
        return self.second(features).sin(), picture


class StageWithoutPicture(GridStage):
    """Only the network draws."""

    def forward(self, features: Tensor, picture: Tensor, latents: list[Tensor]) -> tuple[Tensor, Tensor]:
        features, picture = super().forward(features, picture, latents)
        return features, torch.zeros_like(picture)


def _view_by_chance(config: EncodingConfig, panorama_width: int, frame: int, number: int) -> Viewport:
    return sample_view(config, panorama_width, frame, random.Random(f"{frame} {number}").randrange(10**6))


def _as_it_is(config: EncodingConfig) -> EncodingConfig:
    return config


@dataclass(frozen=True)
class Variant:
    """What is changed: the settings, or a name of a module or class."""

    settings: Change = _as_it_is
    code: tuple[object, str, object] | None = None


VARIANTS = {
    "whole": Variant(),
    "no motion": Variant(_without(motion=True)),
    "no still grids": Variant(_without(still=True)),
    "no keys at 1/2": Variant(_without(2)),
    "no keys at 1/4 and 1/2": Variant(_without(2, 4)),
    "no picture beside the network": Variant(code=(nerv360_grid, "GridStage", StageWithoutPicture)),
    "from zeros, not from the clip": Variant(code=(initialization, "initialize_from_clip", lambda *_: None)),
    "the camera's rotation left in": Variant(code=(network_encoder, "estimate_rotations", lambda *_: None)),
    "views by chance": Variant(code=(sampling, "sample_view", _view_by_chance)),
    "convolutions of 1x1": Variant(code=(NetworkSpec, "kernels", lambda spec, stages: (1,) * stages)),
    "two convolutions a stage": Variant(code=(nerv360_grid, "GridStage", DeepStage)),
    **{f"width {channels}": Variant(_width(channels)) for channels in (2, 8, 16, 24)},
}


def main(
    video: Path,
    name: Annotated[list[str], typer.Option("--variant")],
    start: int = 0,
    frames: int | None = None,
    size: str | None = None,
    preset: str = "fast",
    rate_weight: float = 1.0,
    seed: int = 0,
) -> None:
    torch.set_num_threads(1)
    clip = Clip.open(video, start=start, frames=frames, size=parse_size(size) if size else None)
    for each in name:
        variant = VARIANTS[each]
        config = variant.settings(preset_for("nerv360-grid", preset).replace(rate_weight=rate_weight, seed=seed))
        with ExitStack() as stack:
            if variant.code is not None:
                stack.enter_context(patch.object(*variant.code))
            file = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "clip.nerv360"
            on_progress = stack.enter_context(progress_bar())
            began = time.process_time()
            encode_clip(clip, file, config, torch.device("cpu"), on_progress)
            seconds = time.process_time() - began
            result = nerv360.eval_file(file, clip)
            with nerv360.open(file) as decoder:
                view = decoder.native_view()
            row = {
                "video": video.name,
                "variant": each,
                "preset": preset,
                "rate_weight": rate_weight,
                "seed": seed,
                "bytes": result.size,
                "psnr_db": f"{result.mean.psnr_db:.2f}",
                "ms_ssim": f"{result.mean.ms_ssim:.4f}",
                "ws_psnr_db": f"{result.ws_psnr_db:.2f}",
                "kmac_per_pixel": f"{drawing_gmac(file, view) * 1e6 / (view.width * view.height):.2f}",
                "cpu_seconds": round(seconds),
                "commit": commit(),
            }
            append(TABLE, row)
            print(row)


if __name__ == "__main__":
    typer.run(main)
