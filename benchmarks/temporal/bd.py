"""BD-rate from runs.tsv beside this, to bd.tsv: python benchmarks/temporal/bd.py."""

import csv
from pathlib import Path

import numpy as np

from nerv360.evaluation.rd_curves import bd_rate
from nerv360.evaluation.results_store import read_rows

HERE = Path(__file__).parent
METRICS = {"views_psnr": "mean_psnr_db", "views_ms_ssim": "mean_ms_ssim", "panoramas_ws_psnr": "ws_psnr_db"}
PAIRS = (("medium", "x265"), ("medium", "svt-av1"), ("medium", "instant"))


def curve(rows: list[dict[str, str]], name: str, metric: str) -> list[tuple[float, float]]:
    """Bytes and quality of a preset of ours, or of a classical codec; MS-SSIM in dB."""
    mine = [row for row in rows if row["codec"] == name or row["settings"].startswith(f"{name}, rate weight")]
    values = [(float(row["bytes"]), float(row[metric])) for row in mine]
    return [(size, -10 * np.log10(1 - value)) if "ssim" in metric else (size, value) for size, value in values]


def main() -> None:
    rows = read_rows(HERE / "runs.tsv")
    with open(HERE / "bd.tsv", "w", newline="") as file:
        table = csv.writer(file, delimiter="\t", lineterminator="\n")
        table.writerow(["video", "preset", "against", *METRICS])
        for video in dict.fromkeys(row["video"] for row in rows):
            of_video = [row for row in rows if row["video"] == video]
            for preset, other in PAIRS:
                curves = [(curve(of_video, other, m), curve(of_video, preset, m)) for m in METRICS.values()]
                if all(min(map(len, pair)) > 2 for pair in curves):
                    table.writerow([video, preset, other, *(str(bd_rate(*pair)) for pair in curves)])


if __name__ == "__main__":
    main()
