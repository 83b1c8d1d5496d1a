"""BD-rate from runs.tsv beside this, to bd.tsv: python benchmarks/temporal/bd.py."""

import csv
from pathlib import Path

from nerv360.evaluation.rd_curves import bd_rate, curve_points
from nerv360.evaluation.results_store import read_rows

HERE = Path(__file__).parent
METRICS = {"views_psnr": "mean_psnr_db", "views_ms_ssim": "mean_ms_ssim", "panoramas_ws_psnr": "ws_psnr_db"}
OTHERS = ("x265", "svt-av1", "x265-veryslow", "svt-av1-preset2", "instant")


def rows_of(rows: list[dict[str, str]], name: str) -> list[dict[str, str]]:
    """Those of a preset of ours, or of a classical codec."""
    return [row for row in rows if row["codec"] == name or row["settings"].startswith(f"{name}, rate weight")]


def main() -> None:
    rows = read_rows(HERE / "runs.tsv")
    with open(HERE / "bd.tsv", "w", newline="") as file:
        table = csv.writer(file, delimiter="\t", lineterminator="\n")
        table.writerow(["video", "preset", "against", *METRICS])
        for video in dict.fromkeys(row["video"] for row in rows):
            of_video = [row for row in rows if row["video"] == video]
            for other in OTHERS:
                pair = [rows_of(of_video, name) for name in (other, "medium")]
                if min(map(len, pair)) > 2:
                    rates = (bd_rate(*(curve_points(each, metric) for each in pair)) for metric in METRICS.values())
                    table.writerow([video, "medium", other, *map(str, rates)])


if __name__ == "__main__":
    main()
