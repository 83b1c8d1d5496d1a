"""What tests do with the progress of a fit."""

from collections.abc import Callable

from nerv360.progress import FitUpdate, OnProgress, Update


class Stopped(Exception):
    """A fit ends before its time."""


def on_steps(act: Callable[[FitUpdate], object]) -> OnProgress:
    """An `on_progress` that sees the steps of the fit, and nothing before them."""

    def on_progress(update: Update) -> None:
        if isinstance(update, FitUpdate):
            act(update)

    return on_progress


def stop_at(step: int | None, error: type[BaseException] = Stopped) -> OnProgress:
    """An `on_progress` that raises at that step; None: never."""

    def act(update: FitUpdate) -> None:
        if update.done == step:
            raise error

    return on_steps(act)
