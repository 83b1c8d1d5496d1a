"""The segments of long videos while they are encoded: a live table, or a line for each where nobody watches."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Group
from rich.live import Live
from rich.table import Table

from nerv360.cli.console import LINE_SECONDS, remarks
from nerv360.cli.event_log import LoggedProgress
from nerv360.cluster.plan import EncodePlan

if TYPE_CHECKING:
    from nerv360.cluster.worker import JobUpdate, OnJobProgress

__all__ = ["job_table"]

COLUMNS = ("segment", "frames", "worker", "stage", "PSNR", "left of it")
ROWS_SHOWN = 24
ENDED = ("done", "failed")


@contextmanager
def job_table(plans: Sequence[EncodePlan]) -> "Iterator[OnJobProgress]":
    """The segments that are worked on, and how far all are.

    Where nobody watches, a line for each that is done, and every ten seconds for all.
    """
    table = _JobTable(plans)
    if not remarks.is_terminal:
        yield table.hear
        return
    with Live(get_renderable=table.render, console=remarks, refresh_per_second=1, transient=True):
        yield table.hear


class _JobTable:
    def __init__(self, plans: Sequence[EncodePlan]) -> None:
        self.jobs = [(plan, index) for plan in plans for index in range(len(plan.jobs))]
        self.frames = [job.clip.frames for plan in plans for job in plan.jobs]
        self.last: dict[int, JobUpdate] = {}
        self.log = LoggedProgress()
        self.next_line_s = time.monotonic() + LINE_SECONDS
        self.began: dict[int, tuple[float, int]] = {}  # when, and how far on, a stage was heard of first

    def hear(self, update: "JobUpdate") -> None:
        self.update(update)
        self.log(update)
        if not remarks.is_terminal:
            self.print_line(update)

    def update(self, update: "JobUpdate") -> None:
        last = self.last.get(update.job)
        if last is None or last.stage != update.stage or last.done > update.done:  # a stage may be repeated
            self.began[update.job] = (time.monotonic(), update.done)
        self.last[update.job] = update

    def print_line(self, update: "JobUpdate") -> None:
        if update.stage not in ENDED:
            if time.monotonic() > self.next_line_s:
                self.next_line_s = time.monotonic() + LINE_SECONDS
                remarks.print(self._summary(), markup=False, highlight=False, soft_wrap=True)
            return
        plan, index = self.jobs[update.job]
        encoded = f"{update.summary}, by {update.worker}" if update.summary else "by an earlier run"
        remarks.print(
            f"{plan.output}: segment {index + 1} of {len(plan.jobs)} {update.stage}: {update.reason or encoded}",
            highlight=False,
            soft_wrap=True,
        )

    def render(self) -> Group:
        running = sorted(number for number, update in self.last.items() if update.stage not in ENDED)
        shown = [self._cells(number) for number in running[:ROWS_SHOWN]]
        fits = any("PSNR" in cells for cells in shown)
        columns = [name for name in COLUMNS if fits or name != "PSNR"]
        table = Table(*columns, title_justify="left")
        for cells in shown:
            table.add_row(*(cells.get(name, "") for name in columns))
        return Group(table, self._summary())

    def _cells(self, number: int) -> dict[str, str]:
        (plan, index), update = self.jobs[number], self.last[number]
        clip = plan.jobs[index].clip
        since, at = self.began[number]
        pace = (update.done - at) / (time.monotonic() - since) if update.done > at else 0.0
        cells = {"segment": f"{plan.output} {index}", "frames": f"{clip.start}-{clip.start + clip.frames - 1}"}
        cells |= {"worker": update.worker, "stage": f"{update.stage} {update.done}/{update.total}"}
        if update.psnr_db is not None:
            cells["PSNR"] = f"{update.psnr_db:.2f} dB"
        if pace:
            cells["left of it"] = f"{(update.total - update.done) / pace / 60:.1f} min"
        return cells

    def _summary(self) -> str:
        done = sum(update.fraction * self.frames[number] for number, update in self.last.items()) / sum(self.frames)
        stages = Counter(update.stage for update in self.last.values())
        hours = sum(update.seconds for update in self.last.values()) / 3600
        whole = f", about {hours / done:.2f} in all" if done else ""
        return (
            f"{100 * done:.1f} %; segments: {stages['done']} of {len(self.jobs)} done, "
            f"{len(self.last) - stages['done'] - stages['failed']} running, {stages['failed']} failed; "
            f"{hours:.2f} worker-hours so far{whole}"
        )
