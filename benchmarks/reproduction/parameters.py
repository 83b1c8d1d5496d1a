"""How many of a decoder's parameters draw, and how many make conditions -> a line for every network and size.

python benchmarks/reproduction/parameters.py 140000,500000,2200000
"""

import torch
import typer

from nerv360.config import SCALES
from nerv360.models.build import build, decoder_tensors
from nerv360.training.configure import configure


def main(sizes: str, models: str = "nerv360,hnerv,hnerv-boost") -> None:
    small = SCALES["small"]
    for size in map(int, sizes.split(",")):
        for model in models.split(","):
            shape = configure(small.settings.replace(model=model, decoder_size=size), small.width, small.height)
            with torch.device("meta"):
                tensors = decoder_tensors(build(shape))
            conditions = sum(t.numel() for name, t in tensors.items() if "stem" in name or "affine" in name)
            convolutions = sum(t.numel() for t in tensors.values()) - conditions
            print(f"{model}\t{size}\t{shape.channels}\tconvolutions {convolutions}\tconditions {conditions}")


if __name__ == "__main__":
    typer.run(main)
