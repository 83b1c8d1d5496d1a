"""BD-rate of both eyes in one file against one file for each, from runs.tsv, to bd.tsv beside this."""

import csv
from pathlib import Path

from nerv360.evaluation.rd_curves import Points, bd_rate
from nerv360.evaluation.results_store import Row, read_rows
from nerv360.types import EYES
from nerv360.video.reading import BOTH

HERE = Path(__file__).parent
METRICS = ("psnr_db", "ws_psnr_db")


def points(rows: list[Row], files: tuple[str, ...], metric: str) -> Points:
    """Bytes of these files together, and the mean quality of both eyes, at each rate weight."""
    found = []
    for weight in dict.fromkeys(row["rate_weight"] for row in rows):
        chosen = [row for row in rows if row["rate_weight"] == weight and row["eyes"] in files]
        quality = [float(row[f"{eye}_{metric}"]) for row in chosen for eye in EYES if row[f"{eye}_{metric}"]]
        found.append((float(sum(int(row["bytes"]) for row in chosen)), sum(quality) / len(quality)))
    return found


def main() -> None:
    rows = read_rows(HERE / "runs.tsv")
    with open(HERE / "bd.tsv", "w", newline="") as file:
        table = csv.writer(file, delimiter="\t", lineterminator="\n")
        table.writerow(["video", "preset", "views", "panoramas"])
        for video, preset in dict.fromkeys((row["video"], row["preset"]) for row in rows):
            chosen = [row for row in rows if (row["video"], row["preset"]) == (video, preset)]
            pairs = ((points(chosen, EYES, metric), points(chosen, (BOTH,), metric)) for metric in METRICS)
            table.writerow([video, preset, *(bd_rate(two, one) for two, one in pairs)])


if __name__ == "__main__":
    main()
