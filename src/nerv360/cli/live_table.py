"""The segments of long videos while they are encoded: a live table, or a line for each where nobody watches."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Group
from rich.live import Live
from rich.table import Table

from nerv360.cli.console import remarks
from nerv360.cluster.plan import EncodePlan

if TYPE_CHECKING:
    from nerv360.cluster.worker import JobUpdate, OnJobProgress

__all__ = ["job_table"]

ROWS_SHOWN = 24
ENDED = ("done", "failed")


@contextmanager
def job_table(plans: Sequence[EncodePlan]) -> "Iterator[OnJobProgress]":
    """The segments that are worked on, and how far all are. Where nobody watches, a line for each that is done."""
    table = _JobTable(plans)
    if not remarks.is_terminal:
        yield table.print_ended
        return
    with Live(get_renderable=table.render, console=remarks, refresh_per_second=1, transient=True):
        yield table.update


class _JobTable:
    def __init__(self, plans: Sequence[EncodePlan]) -> None:
        self.jobs = [(plan, index) for plan in plans for index in range(len(plan.jobs))]
        self.steps = sum(job.steps for plan in plans for job in plan.jobs)
        self.last: dict[int, JobUpdate] = {}
        self.began: dict[int, tuple[float, int]] = {}  # when, and at which step, a fit was heard of first

    def update(self, update: "JobUpdate") -> None:
        self.last[update.job] = update
        if update.stage not in ("analysing", *ENDED):
            self.began.setdefault(update.job, (time.monotonic(), update.done))

    def print_ended(self, update: "JobUpdate") -> None:
        if update.stage not in ENDED:
            return
        plan, index = self.jobs[update.job]
        fitted = f"{_psnr(update)} by {update.worker}".strip() if update.seconds else "by an earlier run"
        remarks.print(
            f"{plan.output}: segment {index + 1} of {len(plan.jobs)} {update.stage}: {update.reason or fitted}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )

    def render(self) -> Group:
        table = Table("segment", "frames", "worker", "step", "PSNR", "left", title_justify="left")
        running = sorted(number for number, update in self.last.items() if update.stage not in ENDED)
        for number in running[:ROWS_SHOWN]:
            table.add_row(*self._cells(number))
        return Group(table, self._summary())

    def _cells(self, number: int) -> tuple[str, ...]:
        (plan, index), update = self.jobs[number], self.last[number]
        clip = plan.jobs[index].clip
        since, at = self.began.get(number, (0.0, update.done))
        pace = (update.done - at) / (time.monotonic() - since) if update.done > at else 0.0
        left = f"{(update.total - update.done) / pace / 60:.1f} min" if pace else ""
        step = update.stage if update.stage == "analysing" else f"{update.done}/{update.total}"
        span = f"{clip.start}-{clip.start + clip.frames - 1}"
        return f"{plan.output} {index}", span, update.worker, step, _psnr(update), left

    def _summary(self) -> str:
        done = sum(update.done for update in self.last.values())
        stages = Counter(update.stage for update in self.last.values())
        hours = sum(update.seconds for update in self.last.values()) / 3600
        whole = f", about {hours * self.steps / done:.2f} in all" if done else ""
        return (
            f"{100 * done / max(1, self.steps):.1f} %; segments: {stages['done']} of {len(self.jobs)} done, "
            f"{len(self.last) - stages['done'] - stages['failed']} running, {stages['failed']} failed; "
            f"{hours:.2f} worker-hours so far{whole}"
        )


def _psnr(update: "JobUpdate") -> str:
    return "" if update.psnr_db is None else f"{update.psnr_db:.2f} dB"
