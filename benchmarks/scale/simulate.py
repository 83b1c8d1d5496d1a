"""Thousands of segments on a thousand workers that fail, simulated -> rows of benchmarks/scale/simulate.tsv

python benchmarks/scale/simulate.py [--segments N] [--workers N] [--minutes M] [--days D] [--preempted P]

Nothing is fitted: events, not hours. A worker takes the next segment that waits. The driver hands them out one by one,
each costing it `--handout-ms` (overhead.tsv says what was measured). A worker fails every D days on average, and a
share P of the workers is lost at one moment chosen for each; a lost worker is back after `--back-s`. What a segment did
since its last checkpoint, every 50 seconds, is lost, and `--start-s` is spent on every start. Compared: the longest
segments first against the order of the film; the least time is all work over all workers, or the longest segment.
"""

import heapq
import random
import sys
from dataclasses import dataclass
from pathlib import Path

import typer

sys.path.append(str(Path(__file__).parents[1]))
from table import append

TABLE = Path(__file__).with_suffix(".tsv")
CHECKPOINT_S = 50.0
DAY_S = 86400.0


@dataclass
class Outcome:
    """What a run came to, in seconds."""

    makespan: float
    lost: float  # work done twice
    starting: float  # of processes, and of reading
    waiting: float  # of workers, for the driver to hand out
    failures: int


def run(
    lengths: list[float], workers: int, handout: float, start: float, back: float, rate: float, lost_hour: list[float]
) -> Outcome:
    """Discrete events: a worker is free, and takes the next segment that waits."""
    chance = random.Random(1)
    waiting = list(reversed(lengths))  # the next is the last
    free = [(0.0, worker) for worker in range(workers)]
    heapq.heapify(free)
    returned: list[tuple[float, float]] = []  # segments of lost workers: when they are back, what is left of them
    outcome = Outcome(0.0, 0.0, 0.0, 0.0, 0)
    driver = 0.0
    while waiting or returned:
        now, worker = heapq.heappop(free)
        if returned and (returned[0][0] <= now or not waiting):
            at, left = heapq.heappop(returned)
            now = max(now, at)
        elif waiting:
            left = waiting.pop()
        driver = max(driver, now) + handout
        outcome.waiting += driver - now
        begins = driver + start
        fails = driver + (chance.expovariate(rate) if rate else float("inf"))
        if driver < lost_hour[worker] < fails:
            fails = lost_hour[worker]
        outcome.starting += start
        if fails < begins + left:
            outcome.failures += 1
            done = max(0.0, fails - begins)
            kept = done // CHECKPOINT_S * CHECKPOINT_S
            outcome.lost += done - kept
            heapq.heappush(returned, (fails, left - kept))
            heapq.heappush(free, (fails + back, worker))
        else:
            heapq.heappush(free, (begins + left, worker))
            outcome.makespan = max(outcome.makespan, begins + left)
    return outcome


def main(
    segments: int = 10_000,
    workers: int = 1_000,
    minutes: float = 20.0,
    days: float = 2.0,
    preempted: float = 0.1,
    handout_ms: float = 5.0,
    start_s: float = 20.0,
    back_s: float = 300.0,
) -> None:
    chance = random.Random(0)
    lengths = [60 * minutes * min(1.0, chance.uniform(0.1, 1.9)) for _ in range(segments)]  # many are as long as can be
    work = sum(lengths)
    least = max(work / workers, max(lengths))
    hours = [chance.uniform(0, work / workers) if chance.random() < preempted else float("inf") for _ in range(workers)]
    for order, taken in (("longest first", sorted(lengths, reverse=True)), ("in the film's order", lengths)):
        for failing, rate, lost in (("none", 0.0, [float("inf")] * workers), ("yes", 1 / (days * DAY_S), hours)):
            outcome = run(taken, workers, handout_ms / 1000, start_s, back_s, rate, lost)
            row = {
                "segments": segments,
                "workers": workers,
                "order": order,
                "failing": failing,
                "failures": outcome.failures,
                "work_hours": f"{work / 3600:.1f}",
                "least_min": f"{least / 60:.2f}",
                "taken_min": f"{outcome.makespan / 60:.2f}",
                "efficiency": f"{work / workers / outcome.makespan:.3f}",
                "handing_out_%": f"{100 * outcome.waiting / work:.3f}",
                "starting_%": f"{100 * outcome.starting / work:.2f}",
                "done_twice_%": f"{100 * outcome.lost / work:.3f}",
                "lost_s_per_failure": f"{outcome.lost / max(1, outcome.failures):.1f}",
                "command": f"python benchmarks/scale/simulate.py --segments {segments} --workers {workers} "
                f"--minutes {minutes:g} --days {days:g} --preempted {preempted:g} --handout-ms {handout_ms:g} "
                f"--start-s {start_s:g} --back-s {back_s:g}",
            }
            append(TABLE, row)
            print({name: value for name, value in row.items() if name != "command"})


if __name__ == "__main__":
    typer.run(main)
