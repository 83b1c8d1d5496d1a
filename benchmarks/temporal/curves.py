"""Draw docs/rate.png of runs.tsv beside this: python benchmarks/temporal/curves.py."""

from pathlib import Path

import matplotlib.pyplot as plt

from nerv360.evaluation.results_store import read_rows

HERE = Path(__file__).parent
CLIPS = {"film: the camera stands": "battle_", "tunnel: the camera rides": "lhc_tunnel_", "driving": "overpass_"}
TICKS = (20, 50, 100, 200, 500, 1000, 2000)
CODECS = {"nerv360-motion": "#c33", "x265": "#36c", "svt-av1": "#393"}


def main() -> None:
    rows = read_rows(HERE / "runs.tsv")
    figure, axes = plt.subplots(1, len(CLIPS), figsize=(11, 3.4), layout="constrained")
    for axis, (title, video) in zip(axes, CLIPS.items(), strict=True):
        for codec, colour in CODECS.items():
            mine = [
                row
                for row in rows
                if row["codec"] == codec and row["video"].startswith(video) and "instant" not in row["settings"]
            ]
            points = sorted((float(row["kbit_s"]), float(row["mean_psnr_db"])) for row in mine)
            axis.plot(*zip(*points, strict=True), "o-", color=colour, label=codec, markersize=4)
        axis.set(title=title, xscale="log", xlabel="kbit/s")
        axis.set_xticks(TICKS, list(map(str, TICKS)))
        axis.set_xticks([], minor=True)
        axis.set_xlim(20, 2000)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("PSNR of views, dB")
    axes[0].legend()
    figure.savefig(HERE.parents[1] / "docs" / "rate.png", dpi=110)


if __name__ == "__main__":
    main()
