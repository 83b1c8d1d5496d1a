"""Quality and bytes of every segment of a file -> rows of benchmarks/scale/segments.tsv

python benchmarks/scale/segments.py FILE SOURCE "COMMAND"

COMMAND is how the file was encoded; it stands in the rows. Both dynamic viewports, decoded from the file.
"""

import sys
from pathlib import Path

import typer

sys.path.append(str(Path(__file__).parents[1]))
from table import append

import nerv360
from nerv360.evaluation.evaluate import Quality


def main(file: Path, source: Path, command: str) -> None:
    result = nerv360.eval_file(file, source)
    rate = result.bitrate * result.frames / (8 * result.size)  # frames per second

    def row(segment: str, frames: str, count: int, size: int, quality: Quality) -> None:
        found = {
            "segment": segment,
            "frames": frames,
            "seconds": f"{count / rate:.2f}",
            "bytes": size,
            "kbit_per_s": f"{8 * size * rate / count / 1000:.1f}",
            "psnr_db": f"{quality.psnr_db:.2f}",
            "psnr_y_db": f"{quality.psnr_y_db:.2f}",
            "ms_ssim": f"{quality.ms_ssim:.4f}",
            "viewport": result.viewport,
            "command": command,
        }
        append(Path(__file__).with_suffix(".tsv"), found)
        print(found)

    for number, each in enumerate(result.segments):
        span = f"{each.first_frame}-{each.first_frame + each.frames - 1}"
        row(str(number), span, each.frames, each.size, each.quality)
    row("all", f"0-{result.frames - 1}", result.frames, result.size, result.mean)


if __name__ == "__main__":
    typer.run(main)
