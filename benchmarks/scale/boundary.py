"""Playing and seeking across segments, and opening a file of many -> rows of benchmarks/scale/boundary.tsv

python benchmarks/scale/boundary.py FILE [--repeat N]

The training view, turning, at the file's frame rate, by `viewport` as a player calls it: a stall is a picture that
takes longer than a frame lasts. With and without the next segment opened ahead. Seeks go to frames in random order:
within a segment that is open, and into one that is not. Then the file's segments, copied N times into one file: opening
it, and the first picture of a frame in its last segment.
"""

import platform
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import typer

sys.path.append(str(Path(__file__).parents[1]))
from table import append

import nerv360
from nerv360.codec import decoder as decoding
from nerv360.codec.mux import mux

TABLE = Path(__file__).with_suffix(".tsv")
SEEKS = 24


def row(file: Path, what: str, times: Sequence[float], stalls: str = "") -> None:
    """Milliseconds."""
    ms = sorted(1000 * each for each in times)
    found = {
        "file": file.name,
        "what": what,
        "pictures": len(ms),
        "median_ms": f"{statistics.median(ms):.1f}",
        "p95_ms": f"{ms[int(0.95 * (len(ms) - 1))]:.1f}",
        "most_ms": f"{ms[-1]:.1f}",
        "stalls": stalls,
        "device": f"CPU {platform.machine()}, 2 cores",
        "command": f"python benchmarks/scale/boundary.py {file.name}",
    }
    append(TABLE, found)
    print(found)


def timed(decoder: decoding.Decoder, frame: int, yaw_deg: float) -> float:
    view = replace(decoder.native_view(), yaw_deg=yaw_deg)
    began = time.perf_counter()
    decoder.viewport(frame, view)
    return time.perf_counter() - began


def play(file: Path, ahead: bool) -> None:
    """Around every border, from three seconds before it to one second behind."""
    decoding.OPEN_AHEAD_SECONDS = 2.0 if ahead else 0.0
    within, first = [], []
    with nerv360.open(file) as decoder:
        rate = float(decoder.frame_rate)
        borders = [segment.first_frame for segment in decoder.container.segments][1:]
        for border in borders:
            for frame in range(max(0, border - round(3 * rate)), border + round(rate)):
                began = time.perf_counter()
                seconds = timed(decoder, frame, float(frame % 360))
                (first if frame == border else within).append(seconds)
                time.sleep(max(0.0, 1 / rate - (time.perf_counter() - began)))
    how = "opened ahead" if ahead else "not opened ahead"
    row(file, f"first picture of a segment, {how}", first, f"{sum(each > 1 / rate for each in first)} of {len(first)}")
    row(file, f"pictures around borders, {how}", within, f"{sum(each > 1 / rate for each in within)} of {len(within)}")


def seek(file: Path) -> None:
    chance = random.Random(0)
    within, across = [], []
    for _ in range(SEEKS // 4):
        with nerv360.open(file) as decoder:
            segments = list(decoder.container.segments)
            order = chance.sample(segments, min(len(segments), 4))
            timed(decoder, order[0].first_frame, 0.0)
            for segment in order:
                frames = chance.sample(range(segment.frames), 3)
                times = [timed(decoder, segment.first_frame + frame, 0.0) for frame in frames]
                if segment is order[0]:
                    within += times
                else:
                    across.append(times[0])
                    within += times[1:]
    row(file, "seek within an open segment", within)
    row(file, "seek into a segment that is not open", across)


def many(file: Path, repeat: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        parts = Path(folder) / "many.nerv360"
        mux([file] * repeat, parts)
        opened, first = [], []
        for _ in range(5):
            began = time.perf_counter()
            with nerv360.open(parts) as decoder:
                opened.append(time.perf_counter() - began)
                first.append(timed(decoder, decoder.frames - 1, 0.0))
                count = len(decoder.container.segments)
        row(file, f"opening {count} segments, {parts.stat().st_size:,} bytes", opened)
        row(file, f"first picture of the last of {count} segments", first)


def main(file: Path, repeat: int = 2500) -> None:
    play(file, ahead=True)
    play(file, ahead=False)
    seek(file)
    many(file, repeat)


if __name__ == "__main__":
    typer.run(main)
