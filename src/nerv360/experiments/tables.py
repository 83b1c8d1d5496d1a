"""Build the paper's tables from rows of results, with the published figures below ours."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
from rich import box
from rich.table import Table

from nerv360.evaluation.results_store import Row
from nerv360.experiments.benchmark import PHASES
from nerv360.experiments.reproduce import NAMES

__all__ = [
    "costs_table",
    "free_view_table",
    "table1",
    "table2",
]

# Table I: PSNR, MS-SSIM; encoding, decoding and training, in frames/s and in GiB; one NVIDIA H100, 6144x3072
PUBLISHED_1 = {
    "HNeRV": (24.37, 0.728, (27.3, 15.0, 2.7), (2.8, 26.2, 51.3)),
    "HNeRV-Boost": (24.74, 0.740, (27.3, 5.0, 0.8), (2.8, 30.3, 73.2)),
    "NeRV360": (24.39, 0.734, (27.3, 38.4, 3.4), (2.8, 3.6, 21.2)),
}
# Table II: embedding, PSNR on VP0 and VP1 of Balboa
PUBLISHED_2 = {
    "NeRV360": ("1x128x256", 26.69, 27.00),
    "w/ 4x channels, 1/2 resolution": ("4x64x128", 26.34, 26.66),
    "w/ 16x channels, 1/4 resolution": ("16x32x64", 24.74, 24.89),
    "w/ 1x channels, 1/2 resolution": ("1x64x128", 25.29, 25.40),
    "w/ 1x channels, 1/4 resolution": ("1x32x64", 24.02, 23.45),
    "Channel expansion after viewport extraction": ("1x128x256", 25.34, 25.69),
    "w/o STAT inputs (yaw, pitch)": ("1x128x256", 26.51, 26.85),
}


def table1(rows: Sequence[Row], costs: Sequence[Row], left_out: Sequence[str] = ()) -> Table:
    """Table I. `rows` are of runs, `costs` of the three phases; with several seeds, a spread stands behind the mean.

    `left_out` are the models that do not fit the memory.
    """
    table = Table(title=f"Table I: {_setting(rows)}", box=box.MARKDOWN)
    for name in ("Model", "Decoder", "Embedding", "PSNR", "MS-SSIM", *_phases("FPS"), *_phases("GiB")):
        table.add_column(name, no_wrap=True)
    for name in ("File, bytes", "Fitting, min"):
        table.add_column(name, no_wrap=True)
    for variant, group in _grouped(rows):
        matching = _costs_of(group[0], costs)
        table.add_row(
            variant,
            f"{int(group[0]['decoder_size']):,}",
            ", ".join(dict.fromkeys(row["embedding"] for row in group)),
            _spread(group, "mean_psnr_db", 2),
            _spread(group, "mean_ms_ssim", 3),
            *(_cost(matching.get(phase), costs, "frames_per_s", 1) for phase in PHASES),
            *(_cost(matching.get(phase), costs, "peak_mib", 1024) for phase in PHASES),
            f"{np.mean([float(row['bytes']) for row in group]):,.0f}",
            _spread(group, "minutes", 1),
        )
    for variant in left_out:
        table.add_row(variant, "left out: does not fit the memory", *["-"] * (len(table.columns) - 2))
    for variant, (psnr_db, ms_ssim, speeds, memories) in PUBLISHED_1.items():
        figures = [f"{figure:g}" for figure in (*speeds, *memories)]
        cells = (f"{psnr_db:.2f}", f"{ms_ssim:.3f}", *figures, "", "")
        table.add_row(f"{variant}, as published", "2.2M", "1x128x256", *cells)
    return table


def table2(rows: Sequence[Row]) -> Table:
    """Table II. Differences are those to the first row."""
    table = Table(title=f"Table II: {_setting(rows)}", box=box.MARKDOWN)
    for name in (
        "Variant",
        "Embedding",
        "VP0",
        "VP1",
        "Difference",
        "Published: embedding",
        "VP0",
        "VP1",
        "Difference",
    ):
        table.add_column(name, no_wrap=True)
    groups = _grouped(rows)
    base = _mean(groups[0][1], "mean_psnr_db") if groups[0][0] == "NeRV360" else None
    published_base = sum(PUBLISHED_2["NeRV360"][1:]) / 2
    for variant, group in groups:
        embedding, vp0, vp1 = PUBLISHED_2[variant]
        table.add_row(
            variant,
            ", ".join(dict.fromkeys(row["embedding"] for row in group)),
            _spread(group, "vp0_psnr_db", 2),
            _spread(group, "vp1_psnr_db", 2),
            "-" if base is None else f"{_mean(group, 'mean_psnr_db') - base:+.2f}",
            embedding,
            f"{vp0:.2f}",
            f"{vp1:.2f}",
            f"{(vp0 + vp1) / 2 - published_base:+.2f}",
        )
    return table


def costs_table(costs: Sequence[Row]) -> Table:
    """Speed and memory of the three networks over sizes; what does not fit is extrapolated, and marked with ~."""
    devices = ", ".join(dict.fromkeys(row["device"] for row in costs))
    table = Table(title=f"Speed and memory: {devices}", box=box.MARKDOWN)
    for name in ("Panorama", "Viewport", "Decoder", "Model", *_phases("FPS"), *_phases("GiB")):
        table.add_column(name, no_wrap=True)
    groups: dict[tuple[str, ...], dict[str, Row]] = defaultdict(dict)
    for row in costs:
        groups[tuple(row[name] for name in ("panorama", "viewport", "decoder_size", "model", "views"))][
            row["phase"]
        ] = row
    for key, phases in groups.items():
        speeds = [_cost(phases.get(phase), costs, "frames_per_s", 1) for phase in PHASES]
        memories = [_cost(phases.get(phase), costs, "peak_mib", 1024) for phase in PHASES]
        panorama, viewport, decoder_size, model, views = key
        name = NAMES[model] if views == "1" else f"{NAMES[model]}, {views} views per step"
        table.add_row(panorama, viewport, f"{int(decoder_size):,}", name, *speeds, *memories)
    return table


def free_view_table(rows: Sequence[Row]) -> Table:
    """PSNR over field of view (columns) and roll, of every variant."""
    fields = list(dict.fromkeys(row["hfov_deg"] for row in rows))
    table = Table(title="PSNR (dB) over horizontal field of view and roll, degrees", box=box.MARKDOWN)
    for name in ("Trained for", "Roll", *fields):
        table.add_column(name, no_wrap=True)
    lines: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for row in rows:
        lines[row["variant"], row["roll_deg"]][row["hfov_deg"]] = f"{float(row['psnr_db']):.2f}"
    for (variant, roll), cells in lines.items():
        table.add_row(variant, roll, *(cells.get(field, "-") for field in fields))
    return table


def _phases(unit: str) -> list[str]:
    return [f"{phase.capitalize()}, {unit}" for phase in PHASES]


def _setting(rows: Sequence[Row]) -> str:
    """What all rows have in common, for the title."""
    names = ("video", "frames", "panorama", "viewport", "steps", "device")
    video, frames, panorama, viewport, steps, device = (
        ", ".join(dict.fromkeys(row[name] for row in rows)) for name in names
    )
    return f"{video}; {frames} frames at {panorama}, viewport {viewport}; {steps} steps; {device}"


def _grouped(rows: Iterable[Row]) -> list[tuple[str, list[Row]]]:
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[row["variant"]].append(row)
    return list(groups.items())


def _mean(rows: Sequence[Row], name: str) -> float:
    return float(np.mean([float(row[name]) for row in rows]))


def _spread(rows: Sequence[Row], name: str, digits: int) -> str:
    """The mean over videos and seeds, and the standard deviation of the seeds' means where there are several."""
    seeds = defaultdict(list)
    for row in rows:
        seeds[row["seed"]].append(float(row[name]))
    means = [float(np.mean(values)) for values in seeds.values()]
    spread = f" ± {np.std(means, ddof=1):.{digits}f}" if len(means) > 1 else ""
    return f"{np.mean(means):.{digits}f}{spread}"


def _costs_of(run: Row, costs: Sequence[Row]) -> dict[str, Row]:
    """The costs that were measured for a run's network, by phase."""
    wanted = {name: run[name] for name in ("model", "decoder_size", "panorama")}
    wanted["viewport"] = run["viewport"].split(" @ ")[0]
    return {
        cost["phase"]: cost
        for cost in costs
        if wanted.items() <= cost.items() and (cost["phase"] != "training" or cost["views"] == run["views"])
    }


def _cost(row: Row | None, costs: Sequence[Row], name: str, scale: int) -> str:
    """A figure of a phase. What could not be measured is extrapolated over the panorama's pixels: ~; else -."""
    if row is None:
        return "-"
    if row[name]:
        return f"{float(row[name]) / scale:.3g}"
    same = ("model", "views", "decoder_size", "phase", "device")
    others = [other for other in costs if other[name] and all(other[key] == row[key] for key in same)]
    if len(others) < 2:
        return "-"
    power = -1 if name == "frames_per_s" else 1  # seconds and bytes grow with the pixels
    slope, start = np.polyfit(
        [_pixels(other) for other in others], [float(other[name]) ** power for other in others], 1
    )
    return f"~{(start + slope * _pixels(row)) ** power / scale:.3g}"


def _pixels(row: Row) -> int:
    width, height = row["panorama"].split("x")
    return int(width) * int(height)
