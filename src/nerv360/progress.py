"""How long work says how far it is: one protocol for the library, the command line and the cluster.

A function that takes long has an argument `on_progress`, which it calls with an `Update` whenever a bit more is done.
An exception that `on_progress` raises ends the work.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

__all__ = ["FitUpdate", "OnProgress", "Update", "both", "ignore", "part_of", "tracked"]

Item = TypeVar("Item")


@dataclass(frozen=True)
class Update:
    """A stage of the work, and how much of it is done."""

    stage: str
    done: int
    total: int


@dataclass(frozen=True)
class FitUpdate(Update):
    """A step of a fit, as a stage `fitting` of so many steps; those that are repeated count again in both numbers."""

    loss: float
    psnr_db: float
    seconds: float  # of fitting up to the last checkpoint, over all runs
    skipped: int  # steps whose gradient was not finite
    recoveries: int  # returns to an earlier state
    rate_scale: float  # of the learning rate; recoveries halve it
    estimate_bitrate: Callable[[], float]  # bits per second of the file that would be written now; takes seconds


OnProgress = Callable[[Update], None]


def ignore(update: Update) -> None:
    """An `OnProgress` that does nothing."""


def both(first: OnProgress, second: OnProgress) -> OnProgress:
    """An `OnProgress` that tells two."""

    def on_progress(update: Update) -> None:
        first(update)
        second(update)

    return on_progress


def tracked(items: Iterable[Item], stage: str, total: int, on_progress: OnProgress) -> Iterator[Item]:
    """The items; each is done when the next is asked for."""
    on_progress(Update(stage, 0, total))
    for done, item in enumerate(items, start=1):
        yield item
        on_progress(Update(stage, done, total))


def part_of(on_progress: OnProgress, stage: str, done_before: int, total: int) -> OnProgress:
    """An `OnProgress` for work that is a part of a stage, of which so much was done when the part began."""
    return lambda update: on_progress(Update(stage, done_before + update.done, total))
