"""Rows of a comparison -> tables, BD-rates, and rate-distortion curves as PNG and on a page that needs nothing else."""

import io
import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

import bjontegaard
import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter
from rich import box
from rich.table import Table

from nerv360.evaluation.results_store import Row
from nerv360.evaluation.tables import html_page, html_table
from nerv360.storage import atomic_write

__all__ = ["bd_rate", "bd_table", "curve_points", "runs_table", "write_curves"]

Curves = Mapping[str, Sequence[Row]]  # by codec
Points = Sequence[tuple[float, float]]  # rate, quality
PSNR, MS_SSIM, WS_PSNR = "mean_psnr_db", "mean_ms_ssim", "ws_psnr_db"
METRICS = {PSNR: "Viewport PSNR, dB", MS_SSIM: "Viewport MS-SSIM, dB", WS_PSNR: "Panorama WS-PSNR, dB"}
BLUE, ORANGE, GREEN, PINK = "#0072B2", "#E69F00", "#009E73", "#CC79A7"  # Okabe and Ito's colours
LOOKS = {  # colour, marker, line: a codec and its slower setting are of one colour
    "x264": (BLUE, "o", "-"),
    "x264-veryslow": (BLUE, "o", "--"),
    "x265": (ORANGE, "s", "-"),
    "x265-veryslow": (ORANGE, "s", "--"),
    "svt-av1": (GREEN, "^", "-"),
    "svt-av1-preset2": (GREEN, "^", "--"),
    "vp9": (PINK, "D", "-"),
    "vp9-cpu0": (PINK, "D", "--"),
}
OURS = (("#000000", "*", "-"), ("#D55E00", "P", "-"), ("#56B4E9", "X", "-"), ("#882255", "v", "-"))


def runs_table(curves: Curves, left_out: Mapping[str, str]) -> Table:
    """Every row; for codecs that are left out, why."""
    some = next(iter(curves.values()))[0]
    title = f"{some['video']} from frame {some['start']}, {some['frames']} frames at {some['panorama']}"
    table = Table(title=f"{title}; viewport {some['viewport']}; {some['device']}", box=box.MARKDOWN)
    quality = ("PSNR VP0", "PSNR VP1", "MS-SSIM VP0", "MS-SSIM VP1", "WS-PSNR")
    for name in ("Codec", "Settings", "Key frames", "Bytes", "kbit/s", *quality, "Encoding, s", "Decoding, FPS"):
        table.add_column(name, no_wrap=True)
    for codec, rows in curves.items():
        for row in rows:
            table.add_row(
                codec,
                row["settings"],
                row["key_frames"],
                f"{int(row['bytes']):,}",
                f"{float(row['kbit_s']):.1f}",
                *(f"{float(row[f'vp{k}_psnr_db']):.2f}" for k in (0, 1)),
                *(f"{float(row[f'vp{k}_ms_ssim']):.4f}" for k in (0, 1)),
                f"{float(row[WS_PSNR]):.2f}",
                row["encode_s"],
                row["decode_fps"],
            )
    for codec, reason in left_out.items():
        table.add_row(codec, f"left out: {reason}", *["-"] * 10)
    return table


def bd_table(curves: Curves) -> Table:
    """The BD-rate of every curve against those before it: negative where it needs fewer bytes."""
    table = Table(title="BD-rate, and the range of quality that it is taken over", box=box.MARKDOWN)
    for name in ("Codec", "Against", *METRICS.values()):
        table.add_column(name, no_wrap=True)
    for against, codec in combinations(curves, 2):
        rates = (
            bd_rate(curve_points(curves[against], metric), curve_points(curves[codec], metric)) for metric in METRICS
        )
        table.add_row(codec, against, *rates)
    return table


def bd_rate(against: Points, test: Points) -> str:
    """How many more bytes the test takes for the same quality, with the range that both cover; or why none is given.

    Akima interpolation of the logarithm of the rate over the quality, as the authors of `bjontegaard` advise.
    """
    curves = [sorted(points) for points in (against, test)]
    if min(map(len, curves)) < 2:
        return "one rate, no curve"
    rates, qualities = zip(*(np.array(points).T for points in curves), strict=True)
    low, high = max(q.min() for q in qualities), min(q.max() for q in qualities)
    if not all(np.diff(q).min() > 0 for q in qualities):
        return "quality does not rise with the rate"
    if low >= high:
        return "no overlap: " + " and ".join(f"{q.min():.2f} to {q.max():.2f}" for q in qualities)
    percent = bjontegaard.bd_rate(
        rates[0], qualities[0], rates[1], qualities[1], "akima", require_matching_points=False, min_overlap=0
    )
    return f"{percent:+.1f} % ({low:.2f} to {high:.2f})"


def write_curves(curves: Curves, tables: Sequence[Table], path: Path) -> None:
    """PATH.png, and PATH.html with the same picture and the tables. Raises OutputError."""
    figure = _drawn(curves, str(tables[0].title))
    with atomic_write(path.with_suffix(".png")) as partial:
        figure.savefig(partial, dpi=150)
    svg = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "nerv360"}):
        figure.savefig(svg, format="svg", metadata={"Date": None})
    drawing = svg.getvalue()
    page = html_page("nerv360 compare", [drawing[drawing.index("<svg") :], *map(html_table, tables)])
    with atomic_write(path.with_suffix(".html")) as partial:
        partial.write_text(page, encoding="utf-8")


def curve_points(rows: Sequence[Row], metric: str) -> Points:
    """Bytes and quality in dB of a curve."""
    return [(float(row["bytes"]), _quality(row, metric)) for row in rows]


def _quality(row: Row, metric: str) -> float:
    """In dB, MS-SSIM as -10 log10(1 - MS-SSIM)."""
    value = float(row[metric])
    return -10 * math.log10(max(1 - value, 1e-10)) if metric == MS_SSIM else value


def _drawn(curves: Curves, title: str) -> Figure:
    figure = Figure(figsize=(16, 5.5), layout="constrained")
    figure.suptitle(title, fontsize="medium")
    ours = [codec for codec in curves if codec not in LOOKS]
    looks = LOOKS | dict(zip(ours, OURS, strict=False))
    for axes, (metric, name) in zip(figure.subplots(1, len(METRICS)), METRICS.items(), strict=True):
        ends = {}
        for codec, rows in curves.items():
            points = sorted((float(row["kbit_s"]), _quality(row, metric)) for row in rows)
            rates, qualities = zip(*points, strict=True)
            colour, marker, line = looks[codec]
            axes.plot(rates, qualities, line, color=colour, marker=marker, markersize=9 if codec in ours else 5)
            ends[codec] = points[-1]
        _label(axes, ends, {codec: looks[codec][0] for codec in ends})
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("Rate of the file on disk, kbit/s")
        axes.set_title(name, loc="left")
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _label(axes: Axes, ends: Mapping[str, tuple[float, float]], colours: Mapping[str, str]) -> None:
    """Names at the right, each at the height of its curve's end, pushed down where they would overlap."""
    low, high = axes.get_ylim()
    height = math.inf
    for codec, end in sorted(ends.items(), key=lambda item: -item[1][1]):
        height = min(end[1], height - 0.06 * (high - low))
        axes.annotate(
            codec,
            end,
            (1.02, height),
            textcoords=axes.get_yaxis_transform(),
            color=colours[codec],
            verticalalignment="center",
            arrowprops={"arrowstyle": "-", "color": colours[codec], "alpha": 0.4},
        )
