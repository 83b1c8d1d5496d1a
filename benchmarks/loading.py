"""Reading 6K: how many frames a second the loader of a fit gives, beside what a step of the paper needs (3.4).

python benchmarks/loading.py VIDEO [--frames 16] [--memory-mib 432] -> rows of benchmarks/loading.tsv

A clip that does not fit the memory, so that it goes by in blocks. `before` keeps RGB and converts on the thread that
decodes; `now` converts whole frames, as HNeRV needs them; `now, MODEL` what a step of that model looks at. All take
turns, three times; processor time is that of all threads.
"""

import itertools
import os
import statistics
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import typer
from table import append, commit, cpu

from nerv360.config import preset_for
from nerv360.models.build import build
from nerv360.training.configure import configure
from nerv360.training.sampling import seen_parts
from nerv360.types import Picture
from nerv360.video.clip import Clip
from nerv360.video.shuffle import in_blocks, shuffled

TURNS = 3
PRESETS = {"hnerv": "paper-2.2m", "nerv360": "paper-2.2m", "nerv360-grid": "medium"}


def before(clip: Clip, memory: int) -> Iterator[object]:
    """Blocks of RGB, the next one decoded and converted on one thread."""
    with ThreadPoolExecutor(1) as reader:
        yield from in_blocks(clip.read, clip.frames, max(1, memory // (2 * clip.frame_bytes)), 0, 0, reader)


def now(model: str) -> Callable[[Clip, int], Generator[tuple[int, Picture]]]:
    """As a fit reads."""
    config = preset_for(model, PRESETS[model])

    def frames(clip: Clip, memory: int) -> Generator[tuple[int, Picture]]:
        network = build(configure(config, clip.width, clip.height), clip.frames)

        return shuffled(clip, 0, 0, memory, lambda step, frame: seen_parts(network, config, clip, frame, step))

    return frames


def rate(frames: Iterator[object], count: int) -> tuple[float, float]:
    """Frames a second, and seconds of processor time a frame, behind the first."""
    next(frames)
    began, worked = time.perf_counter(), time.process_time()
    for _ in itertools.islice(frames, count):
        pass
    return count / (time.perf_counter() - began), (time.process_time() - worked) / count


def main(video: Path, frames: int = 16, memory_mib: int = 432) -> None:
    """Measure all ways by turns."""
    clip, memory = Clip.open(video), memory_mib << 20
    ways: dict[str, Callable[[Clip, int], Iterator[object]]] = {"before": before, "now": now("hnerv")}
    ways |= {f"now, {model}": now(model) for model in ("nerv360", "nerv360-grid")}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _, (name, way) in itertools.product(range(TURNS), ways.items()):
        found[name].append(rate(way(clip, memory), frames))
    for name, figures in found.items():
        row = {
            "loader": name,
            "panorama": f"{clip.width}x{clip.height}",
            "frames": clip.frames,
            "memory_mib": memory_mib,
        }
        row |= {"frames_per_s": f"{statistics.median(fps for fps, _ in figures):.2f}"}
        row |= {"cpu_s_per_frame": f"{statistics.median(seconds for _, seconds in figures):.3f}"}
        row |= {"cores": os.cpu_count(), "device": cpu(), "commit": commit()}
        append(Path(__file__).with_suffix(".tsv"), row)
        print(*row.values(), sep="\t")


if __name__ == "__main__":
    typer.run(main)
