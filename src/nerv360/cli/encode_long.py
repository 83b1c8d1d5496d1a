"""`nerv360 encode` of long videos: in segments, by several processes or machines, many videos at once."""

import csv
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

from nerv360.cli.console import console, progress
from nerv360.cli.options import check_folder, parse_size
from nerv360.cluster.address import check_ray
from nerv360.config import EncodingConfig
from nerv360.errors import ArgumentError, Nerv360Error
from nerv360.storage import Location, parse_location

if TYPE_CHECKING:
    from nerv360.cluster.plan import EncodePlan, Request
    from nerv360.cluster.scheduler import Finished
    from nerv360.cluster.worker import Status, Tell

__all__ = ["SEGMENT_SECONDS", "encode_long", "read_list"]

SEGMENT_SECONDS = 10.0
COLUMNS = {"video", "output", "start", "frames", "size"}
ROWS_SHOWN = 24


def encode_long(
    requests: "Sequence[Request]",
    config: EncodingConfig,
    segment_s: float,
    workers: int | None,
    address: str | None,
    device: str | None,
) -> None:
    """Plan and encode videos, and say what became of each. Raises the first error where there is but one video."""
    if workers is not None or address is not None:
        check_ray(address)
    for request in requests:
        if isinstance(request.output, Path):
            check_folder(request.output)
        if parse_location(request.output) == parse_location(request.video):
            raise ArgumentError(f"{request.output}: is the video itself; name another output")
    films, refused = _planned(requests, config, segment_s, device)
    from nerv360.cluster.scheduler import encode_plans
    from nerv360.cluster.worker import run_in_process

    if workers is None and address is None:
        run: Any = run_in_process
    else:
        from nerv360.cluster.ray_executor import run_on_ray

        run = partial(run_on_ray, workers=workers, address=address)
    with _live_table(films) as tell:
        results = encode_plans(films, run, tell)
    for result in results:
        console.print(_line(result), markup=False, highlight=False, soft_wrap=True)
    failures = refused + [f"{result.film.output}: {result.reason}" for result in results if result.reason]
    if failures:
        kept = "; what is done is kept, and the same command goes on with the rest"
        many = f"{len(failures)} of {len(requests)} videos failed: " if len(requests) > 1 else ""
        raise Nerv360Error(many + "; ".join(failures) + kept)


def read_list(path: Path, force: bool) -> "list[Request]":
    """The rows of a CSV of videos: video,output[,start][,frames][,size].

    Raises ArgumentError for the first row that cannot be understood: nothing has been done then.
    """
    from nerv360.cluster.plan import Request

    try:
        with open(path, newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            rows = [(reader.line_num, row) for row in reader]
            names = set(reader.fieldnames or ())
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ArgumentError(f"--manifest {path}: cannot be read: {error}") from None
    if not {"video", "output"} <= names <= COLUMNS:
        raise ArgumentError(
            f"--manifest {path}: its first line must name columns: video,output[,start][,frames][,size]"
        )
    found: dict[Location, Request] = {}
    for line, row in rows:
        where = f"--manifest {path}, line {line}"
        if None in row or None in row.values() or not (row["video"] and row["output"]):
            raise ArgumentError(f"{where}: must have a video, an output, and {len(names)} columns in all")
        numbers = {name: row.get(name) or "" for name in ("start", "frames")}
        for name, text in numbers.items():
            if text and not text.isdecimal():
                raise ArgumentError(f"{where}: {name} {text}: must be a number of frames")
        if row.get("size"):
            try:
                size = parse_size(row["size"])
            except ArgumentError as error:
                raise ArgumentError(f"{where}: {error}") from None
        else:
            size = None
        output = parse_location(row["output"])
        if output in found:
            raise ArgumentError(f"{where}: {output}: is the output of another line, too")
        frames = int(numbers["frames"]) if numbers["frames"] else None
        found[output] = Request(parse_location(row["video"]), output, int(numbers["start"] or 0), frames, size, force)
    if not found:
        raise ArgumentError(f"--manifest {path}: names no video")
    return list(found.values())


def _planned(
    requests: "Sequence[Request]", config: EncodingConfig, segment_s: float, device: str | None
) -> "tuple[list[EncodePlan], list[str]]":
    """The films, and why others are refused. A single video is refused at once."""
    films, refused = [], []
    for request in requests:
        try:
            films.append(_plan_one(request, config, segment_s, device))
        except Nerv360Error as error:
            if len(requests) == 1:
                raise
            refused.append(str(error))
            continue
        for note in _notes(films[-1]):
            console.print(note, markup=False, highlight=False, soft_wrap=True)
    return films, refused


def _plan_one(request: "Request", config: EncodingConfig, segment_s: float, device: str | None) -> "EncodePlan":
    from nerv360.cluster.plan import plan

    with ExitStack() as held:
        bar_of = cache(lambda total: held.enter_context(progress("looking for shots", total)))

        def looked_at(done: int, total: int) -> None:
            bar, task = bar_of(total)
            bar.update(task, completed=done)

        return plan(request, config, segment_s, device, looked_at)


def _notes(film: "EncodePlan") -> Iterator[str]:
    """What the user should know of a video."""
    clip = film.clip
    if clip.missing:
        named = _ranges(sorted(frame + clip.start for frame in clip.missing))
        yield f"{clip.path}: damaged: frames {named} cannot be decoded; each is replaced by the one before"
    if clip.lost:
        yield f"{clip.path}: ends early: {clip.lost} frames that it promises are not there"


def _ranges(numbers: Sequence[int]) -> str:
    """1, 2, 3, 7 -> 1-3, 7."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    return ", ".join("-".join(map(str, run)) for run in runs)


def _line(result: "Finished") -> str:
    if result.reason:
        return f"{result.film.output}: failed"
    clip, count = result.film.clip, len(result.film.jobs)
    bitrate, most = 8 * result.size * float(clip.frame_rate) / clip.frames, result.film.jobs[0].config.bitrate
    over = f"; more than the limit of {most / 1000:.1f} kbit/s" if most is not None and bitrate > most else ""
    return (
        f"{result.film.output}: {result.size:,} bytes for {clip.frames} frames in {count} segments, "
        f"{bitrate / 1000:.1f} kbit/s; fitted in {result.seconds / 60:.1f} min of all workers{over}"
    )


@contextmanager
def _live_table(films: "Sequence[EncodePlan]") -> "Iterator[Tell]":
    """The segments that are worked on, and how far all are. Where nobody watches, a line for each that is done."""
    jobs = [(film, number) for film in films for number in range(len(film.jobs))]
    words: dict[int, Status] = {}
    began: dict[int, tuple[float, int]] = {}  # when, and at which step, a job was heard of first
    error = Console(stderr=True)

    def drawn() -> Group:
        now = time.monotonic()
        table = Table("segment", "frames", "worker", "step", "PSNR", "left", title_justify="left")
        busy = [number for number, word in words.items() if word.state in ("camera", "fitting")]
        for number in sorted(busy)[:ROWS_SHOWN]:
            film, index = jobs[number]
            job, word = film.jobs[index], words[number]
            since, at = began[number]
            pace = (word.step - at) / (now - since) if word.step > at else 0.0
            left = f"{(job.steps - word.step) / pace / 60:.1f} min" if pace else ""
            step = f"{word.step}/{job.steps}" if word.state == "fitting" else "camera"
            span = f"{job.clip.start}-{job.clip.start + job.clip.frames - 1}"
            table.add_row(f"{film.output} {index}", span, word.worker, step, f"{word.psnr_db:.2f} dB", left)
        return Group(table, _summary(films, jobs, words))

    def tell(number: int, word: "Status") -> None:
        words[number] = word
        if word.state == "fitting":
            began.setdefault(number, (time.monotonic(), word.step))
        if word.state in ("done", "failed") and not error.is_terminal:
            film, index = jobs[number]
            result = word.reason or (f"{word.psnr_db:.2f} dB by {word.worker}" if word.seconds else "by an earlier run")
            error.print(
                f"{film.output}: segment {index + 1} of {len(film.jobs)} {word.state}: {result}",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )

    with (
        Live(get_renderable=drawn, console=error, refresh_per_second=1, transient=True)
        if error.is_terminal
        else _quiet()
    ):
        yield tell


@contextmanager
def _quiet() -> Iterator[None]:
    yield


def _summary(
    films: "Sequence[EncodePlan]", jobs: "Sequence[tuple[EncodePlan, int]]", words: "dict[int, Status]"
) -> str:
    steps = sum(job.steps for film in films for job in film.jobs)
    done = sum(word.step for word in words.values())
    states = Counter(word.state for word in words.values())
    hours = sum(word.seconds for word in words.values()) / 3600
    whole = f", about {hours * steps / done:.2f} in all" if done else ""
    return (
        f"{100 * done / max(1, steps):.1f} %; segments: {states['done']} of {len(jobs)} done, "
        f"{states['camera'] + states['fitting']} running, {states['failed']} failed; "
        f"{hours:.2f} worker-hours so far{whole}"
    )
