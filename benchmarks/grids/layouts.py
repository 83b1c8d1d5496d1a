"""Layouts of grids on the sphere: quality for a number of values, bytes, and time of a view; tables beside this file.

python benchmarks/grids/layouts.py quality SOURCE, rate SOURCE, bd, or speed. SOURCE is a video, a picture, or
"procedural". No network: a grid is a picture that views read bilinearly.
"""

import csv
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from PIL import Image
from pyramid import Pyramid
from sphere import LAYOUTS, Faces, Layout, Matrix, apply, apply_transposed, reading
from torch import Tensor
from torch.nn.functional import embedding_bag

sys.path.append(str(Path(__file__).parents[1]))
from table import append, cpu

from nerv360.cli.console import progress_bar
from nerv360.cli.options import parse_size
from nerv360.config import preset_for
from nerv360.evaluation.rd_curves import bd_rate
from nerv360.extract import extract_viewport
from nerv360.geometry.rays import viewport_rays
from nerv360.geometry.sampling import sample_sphere
from nerv360.geometry.sphere import lonlat_to_pixel, ray_to_lonlat
from nerv360.geometry.window import Window, sample_at
from nerv360.progress import tracked
from nerv360.quality import psnr
from nerv360.training.sampling import sample_view
from nerv360.video.clip import Clip
from nerv360.video.synthetic import render_frame

FITTED, FITTED_WITH_RATE, HELD_OUT = 128, 48, 24  # views
BANDS = {"equator": (0, 30), "middle": (30, 60), "poles": (60, 90)}  # degrees of latitude, north and south
COLOURS = torch.tensor([[1, 1, 1], [1, 0, -1], [1, -2, 1]]) / torch.tensor([[3], [2], [6]]).sqrt()  # orthonormal


@dataclass(frozen=True)
class Views:
    rays: Tensor  # [views, pixels, 3]
    source: NDArray[np.uint8]  # [views, pixels, 3]

    @classmethod
    def of(cls, panorama: NDArray[np.uint8], count: int, seed: int) -> "Views":
        """Evenly on the sphere, as a fit has them."""
        config = preset_for("nerv360-grid", "medium")
        views = [sample_view(config, panorama.shape[1], seed, number) for number in range(count)]
        rays = torch.stack([viewport_rays(view).reshape(-1, 3) for view in views])
        return cls(rays, np.stack([extract_viewport(panorama, view).reshape(-1, 3) for view in views]))

    def coloured(self) -> Tensor:
        """The source [pixels of all views, 3], of orthonormal colours around 0."""
        return (torch.from_numpy(self.source).flatten(0, 1).float() - 128) @ COLOURS.T

    def quality(self, decoded: Tensor) -> dict[str, str]:  # [pixels of all views, 3]
        """PSNR of all pixels, and of those in each band of latitudes."""
        levels = (decoded @ COLOURS + 128).round().clamp(0, 255).numpy().reshape(self.source.shape)
        latitude = ray_to_lonlat(self.rays)[1].rad2deg().abs().numpy()
        inside = {name: (latitude >= low) & (latitude < high) for name, (low, high) in BANDS.items()}
        bands = {f"{name}_db": f"{psnr(levels[band], self.source[band]):.2f}" for name, band in inside.items()}
        return {"sphere_db": f"{psnr(levels, self.source):.2f}"} | bands


def least_squares(matrices: Sequence[Matrix], samples: Tensor, values: Tensor, steps: int) -> Tensor:
    """The values whose samples come nearest, by conjugate gradients from some to begin with."""
    scale = 1 / apply_transposed(matrices, torch.ones_like(samples)).clamp_min(1e-3)
    rest = apply_transposed(matrices, samples - apply(matrices, values))
    direction = scale * rest
    size = (rest * direction).sum(0)
    for _ in range(steps):
        bent = apply_transposed(matrices, apply(matrices, direction))
        length = size / (direction * bent).sum(0).clamp_min(1e-12)
        values, rest = values + length * direction, rest - length * bent
        before, size = size, (rest * scale * rest).sum(0)
        direction = scale * rest + size / before.clamp_min(1e-12) * direction
    return values


app = typer.Typer(add_completion=False)


def _panorama(source: str, size: str, start: int) -> NDArray[np.uint8]:
    width, height = parse_size(size)
    if source == "procedural":
        return render_frame(0, width=width, height=height, frames=64)
    if Path(source).suffix in (".jpg", ".png"):
        return np.asarray(Image.open(source).convert("RGB").resize((width, height), Image.Resampling.LANCZOS))
    return next(iter(Clip.open(source, start=start, frames=1, size=(width, height))))


def _start(panorama: NDArray[np.uint8]) -> Callable[[Tensor], Tensor]:
    """The panorama's own colours along rays [n, 3]."""
    picture = torch.from_numpy(panorama.copy()).permute(2, 0, 1)[None]

    def colours(rays: Tensor) -> Tensor:
        return (sample_sphere(picture, rays[None, None])[0, :, 0].T.float() - 128) @ COLOURS.T

    return colours


def _table(name: str) -> Path:
    return Path(__file__).with_name(f"{name}.tsv")


@app.command()
def quality(source: str, size: str = "624x312", start: int = 0, shares: str = "1,4,16", steps: int = 15) -> None:
    """PSNR of views when grids have as many values as the panorama has pixels, a quarter, a sixteenth."""
    panorama = _panorama(source, size, start)
    fitted, held_out = Views.of(panorama, FITTED, 0), Views.of(panorama, HELD_OUT, 1)
    number = [int(share) for share in shares.split(",")]
    wanted = [(share, name, make) for share in number for name, make in LAYOUTS.items()]
    with progress_bar() as on_progress:
        for share, name, make in tracked(wanted, "layouts", len(wanted), on_progress):
            layout = make(panorama.shape[0] * panorama.shape[1] // share)
            matrices = reading(layout, fitted.rays)
            values = least_squares(matrices, fitted.coloured(), _start(panorama)(layout.rays()), steps)
            row = {"source": Path(source).name, "size": size, "share": f"1/{share}", "layout": name}
            row |= {"values": str(layout.cells)} | held_out.quality(apply(reading(layout, held_out.rays), values))
            append(_table("quality"), row)


@app.command()
def rate(
    source: str,
    size: str = "312x156",
    start: int = 0,
    layouts: str = "",
    quantiser: str = "12,24,48,96",
    steps: int = 250,
) -> None:
    """Bytes and PSNR of views of a pyramid of grids. The rate weighs in proportion to the square of the quantiser."""
    panorama = _panorama(source, size, start)
    values, start_of = panorama.shape[0] * panorama.shape[1], _start(panorama)
    fitted, held_out = Views.of(panorama, FITTED_WITH_RATE, 0), Views.of(panorama, HELD_OUT, 1)
    chosen, coarseness = (
        layouts.split(",") if layouts else list(LAYOUTS),
        [float(step) for step in quantiser.split(",")],
    )
    with progress_bar() as on_progress:
        for name in chosen:
            finest = LAYOUTS[name](values)
            seen, kept = reading(finest, fitted.rays), reading(finest, held_out.rays)
            for step in coarseness:
                pyramid = Pyramid(LAYOUTS[name], values, start_of)
                pyramid.fit(seen, fitted.coloured(), step, steps, on_progress)
                row = {"source": Path(source).name, "size": size, "layout": name, "quantiser": f"{step:g}"}
                row |= {"bytes": str(pyramid.bytes())} | held_out.quality(apply(kept, pyramid.decoded()))
                append(_table("rate"), row)


@app.command()
def bd() -> None:
    """BD-rates of all layouts in the table of rates against ERP."""
    with open(_table("rate")) as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    for source, size in dict.fromkeys((row["source"], row["size"]) for row in rows):
        curves: dict[str, list[tuple[float, float]]] = {}
        for row in rows:
            if (row["source"], row["size"]) == (source, size):
                curves.setdefault(row["layout"], []).append((float(row["bytes"]), float(row["sphere_db"])))
        for name, curve in curves.items():
            print(source, size, name, bd_rate(curves["ERP"], curve), sep="\t")


@app.command()
def speed(size: str = "1536x768", channels: int = 8, repeats: int = 5) -> None:
    """Processor time of reading a view, from its rays to its samples, and the cells that must be at hand for it."""
    torch.set_num_threads(1)
    width, height = parse_size(size)
    views = Views.of(np.zeros((height, width, 3), np.uint8), HELD_OUT, 1)
    names = [name for name in LAYOUTS if name != "equal-area cylinder"]  # which is read as ERP
    readers = {name: _reader(name, width * height, channels) for name in names}
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    with progress_bar() as on_progress:
        count = (1 + repeats) * HELD_OUT
        for number in tracked(range(count), "views", count, on_progress):
            rays = views.rays[number % HELD_OUT]
            for name, (places, samples) in readers.items():  # in turn, so that all have the same machine
                started = time.thread_time()
                at = places(rays)
                middle = time.thread_time()
                samples(at)
                seconds[name].append((middle - started, time.thread_time() - middle))
    for name in names:
        layout = LAYOUTS[name](width * height)
        cells = [_cells_at_hand(layout, name == "ERP", rays) / layout.cells for rays in views.rays]
        where, what = (1000 * statistics.median(part) for part in zip(*seconds[name][HELD_OUT:], strict=True))
        total = statistics.median(map(sum, seconds[name][HELD_OUT:]))
        ratio = total / statistics.median(map(sum, seconds["ERP"][HELD_OUT:]))
        row = {"panorama": size, "rays": str(views.rays.shape[1]), "channels": str(channels), "layout": name}
        row |= {"places_ms": f"{where:.1f}", "samples_ms": f"{what:.1f}", "time_to_erp": f"{ratio:.2f}"}
        row |= {"cells_percent": f"{100 * statistics.mean(cells):.1f}", "most_cells_percent": f"{100 * max(cells):.1f}"}
        append(_table("speed"), row | {"device": f"{cpu()}, 1 thread"})


def _reader(name: str, values: int, channels: int) -> tuple[Callable[[Tensor], Any], Callable[[Any], Tensor]]:
    """Where rays meet the layout, and what they read there: pictures with borders, or a list of cells."""
    layout = LAYOUTS[name](values)
    if name == "ERP":
        rows = round((values / 2) ** 0.5)
        picture = torch.zeros(1, channels, rows + 2, 2 * rows + 2)

        def on_panorama(rays: Tensor) -> Tensor:
            x, y = lonlat_to_pixel(*ray_to_lonlat(rays), 2 * rows, rows)
            return torch.stack(((x + 1) / (rows + 1) - 1, (y + 1) * 2 / (rows + 2) - 1), -1)[None, None]

        return on_panorama, lambda points: sample_at(picture, points)
    if isinstance(layout, Faces):
        side = layout.side + 2
        faces = torch.zeros(1, channels, 6 * side, side)

        def on_faces(rays: Tensor) -> Tensor:
            face, x, y = layout.place(rays)
            return torch.stack(((x + 1) * 2 / side - 1, (face * side + y + 1) / (3 * side) - 1), -1)[None, None]

        return on_faces, lambda points: sample_at(faces, points)
    cells = torch.zeros(layout.cells, channels)
    return layout.read, lambda at: embedding_bag(at[0], cells, mode="sum", per_sample_weights=at[1])


def _cells_at_hand(layout: Layout, is_erp: bool, rays: Tensor) -> int:
    """Of the window of an ERP grid, of one on every face; where rows differ, those that are read."""
    if isinstance(layout, Faces):
        face, x, y = layout.place(rays)
        spans = [
            [float(edge[face == each].max() - edge[face == each].min()) for edge in (x, y)]
            for each in set(face.tolist())
        ]
        return sum((int(wide) + 2) * (int(high) + 2) for wide, high in spans)
    if is_erp:
        rows = len(layout.columns)
        window = Window.covering(*lonlat_to_pixel(*ray_to_lonlat(rays), 2 * rows, rows), rows, 2 * rows).reduced()
        return window.rows * window.columns
    return len(torch.bincount(layout.read(rays)[0].flatten()).nonzero())


if __name__ == "__main__":
    app()
