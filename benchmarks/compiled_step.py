"""A step of a fit whose drawing and loss torch.compile has compiled, beside the step as it is.

python benchmarks/compiled_step.py [--model nerv360] [--views 8] [--width 768] [--device cpu] -> a row of
benchmarks/compiled_step.tsv

Both take turns, 16 steps each, one thread on a CPU; the ratio is the median over the turns. `compile_s` is what the
first steps take longer. A model that cannot be compiled has a row that says so.
"""

import statistics
import time
from pathlib import Path

import torch
import typer
from step_ratio import STEPS, Steps
from table import append, commit

from nerv360.evaluation.results_store import device_name
from nerv360.models.device import FITTING_PRECISIONS, choose_device, choose_precision, full_float32
from nerv360.training import step
from nerv360.training.losses import distortion

TURNS, DONE = 6, 0.5
COMPILED_LOSS = torch.compile(distortion, dynamic=False)


def seconds(steps: Steps) -> float:
    """Of STEPS steps, the device idle before and after."""
    wait = torch.get_device_module(steps.device).synchronize
    wait()
    began = time.perf_counter()
    steps.run(DONE)
    wait()
    return time.perf_counter() - began


def compiled_seconds(steps: Steps) -> float:
    """The same with the loss compiled, too."""
    step.distortion = COMPILED_LOSS
    try:
        return seconds(steps)
    finally:
        step.distortion = distortion


def main(model: str = "nerv360", views: int = 8, width: int = 768, device: str = "cpu") -> None:
    """Measure a model on a device."""
    on = choose_device(device)
    precision = FITTING_PRECISIONS[choose_precision(None, on)]
    plain, compiled = (Steps(model, views, width, on, precision) for _ in range(2))
    network = compiled.module.network
    network.draw = torch.compile(network.draw, dynamic=False)  # type: ignore[method-assign]
    row: dict[str, object] = {"model": model, "views": views, "panorama": f"{width}x{width // 2}"}
    with full_float32():
        seconds(plain)
        try:
            first = compiled_seconds(compiled)
        except (AssertionError, RuntimeError) as error:
            row |= dict.fromkeys(("ms", "ms_compiled", "ratio", "compile_s"), "")
            row |= {"failure": str(error).partition("\n")[0]}
        else:
            times = [(seconds(plain), compiled_seconds(compiled)) for _ in range(TURNS)]
            before, after = (1e3 * statistics.median(each) / STEPS for each in zip(*times, strict=True))
            ratio = statistics.median(b / a for a, b in times)
            row |= {"ms": f"{before:.1f}", "ms_compiled": f"{after:.1f}", "ratio": f"{ratio:.3f}"}
            row |= {"compile_s": f"{first - min(each for _, each in times):.0f}", "failure": ""}
    row |= {"torch": torch.__version__, "device": device_name(on), "commit": commit()}
    append(Path(__file__).with_suffix(".tsv"), row)
    print(*row.values(), sep="\t")


if __name__ == "__main__":
    typer.run(main)
