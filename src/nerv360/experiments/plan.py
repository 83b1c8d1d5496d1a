"""What fits a time: the epochs of a comparison, from the measured speed of training. Plans are kept, as rows are."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from nerv360.errors import ArgumentError, OutOfMemory
from nerv360.evaluation.results_store import Row, append_row, provenance, read_rows
from nerv360.experiments.reproduce import Run, trainable, training_speed

__all__ = ["planned_runs"]

FITTING_SHARE = 0.7  # of the time that is left; the rest is for starting, writing and measuring


def planned_runs(
    runs: Sequence[Run], costs: Sequence[Row], seconds_left: float, budget_s: float, folder: Path, device: torch.device
) -> list[Run]:
    """The trainable runs, with as many epochs, the same for all, as fit the time; at most those that they have.

    A plan that plans.tsv has for them counts, whatever the time: so a fit goes on on another machine.
    Raises ArgumentError where the time does not suffice for one epoch, OutOfMemory where no run is trainable.
    """
    fitting = [run for run in runs if trainable(run, costs)]
    if not fitting:
        raise OutOfMemory("no network of these can be trained in the memory of this machine; see --size")
    table, name = folder / "plans.tsv", runs[0].name
    known = next((int(row["epochs"]) for row in read_rows(table) if row["run"] == name), None)
    if known is None:
        known = _epochs(fitting, costs, seconds_left, budget_s)
        row = {"run": name, "epochs": str(known), "budget_s": f"{budget_s:g}", **provenance(device)}
        append_row(table, row)
    return [replace(run, config=run.config.replace(epochs=known)) for run in fitting]


def _epochs(runs: Sequence[Run], costs: Sequence[Row], seconds_left: float, budget_s: float) -> int:
    epoch_s = sum(_epoch_seconds(runs, costs))
    epochs = int(FITTING_SHARE * seconds_left / epoch_s)
    if epochs < 1:
        least_s = budget_s - seconds_left + epoch_s / FITTING_SHARE
        raise ArgumentError(
            f"--budget {budget_s:.0f}s: an epoch of {' and '.join(run.variant for run in runs)} takes {epoch_s:.0f} s; "
            f"give at least {least_s + 1:.0f}s, or fewer --frames"
        )
    return min(epochs, runs[0].config.optimisation.epochs)


def _epoch_seconds(runs: Iterable[Run], costs: Sequence[Row]) -> Iterable[float]:
    for run in runs:
        speed = training_speed(run.config, costs)
        assert speed is not None
        yield run.clip.frames / speed
