"""Make a clip by turning a panorama: python benchmarks/pan.py PICTURE OUT.mp4 --size WxH --frames N.

The camera pans by 1.5 degrees a frame and nods and rolls a little: what a rotating tripod sees.
"""

import math
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from PIL import Image

from nerv360.cli.options import parse_size
from nerv360.geometry.rays import rotation
from nerv360.geometry.sampling import sample_sphere
from nerv360.geometry.sphere import lonlat_to_ray, pixel_to_lonlat
from nerv360.types import BT709
from nerv360.video.writer import write_frames


def main(picture: Path, output: Path, size: Annotated[str, typer.Option()], frames: int = 64) -> None:
    width, height = parse_size(size)
    panorama = torch.from_numpy(np.array(Image.open(picture).resize((width, height), Image.Resampling.LANCZOS)))
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    rays = lonlat_to_ray(*pixel_to_lonlat(x, y, width, height))[None]

    def turned(index: int) -> np.ndarray:
        angles = (1.5 * index, 3 * math.sin(index / 9), 2 * math.sin(index / 7))
        turn = rotation(*(torch.tensor([angle]) for angle in angles))
        sampled = sample_sphere(panorama.permute(2, 0, 1)[None], rays @ turn.transpose(-1, -2))
        return sampled[0].permute(1, 2, 0).round().to(torch.uint8).contiguous().numpy()

    write_frames(output, (turned(index) for index in range(frames)), Fraction(25), BT709)


if __name__ == "__main__":
    typer.run(main)
