"""Lists of videos for `nerv360 encode --manifest`."""

import csv
from collections.abc import Mapping
from pathlib import Path

from nerv360.claims import check_no_input
from nerv360.cli.options import parse_size
from nerv360.cluster.plan import Request
from nerv360.errors import ArgumentError
from nerv360.storage import identity, open_text, parse_location
from nerv360.video.reading import Layout

__all__ = ["read_list"]

COLUMNS = {"video", "output", "start", "frames", "size"}


def read_list(path: Path, force: bool, layout: Layout, sound: bool = True) -> list[Request]:
    """The rows of a CSV of videos: video,output[,start][,frames][,size].

    Raises ArgumentError for the first row that cannot be understood: nothing has been done then.
    """
    found: dict[object, Request] = {}
    for line, row in _rows(path):
        where = f"--manifest {path}, line {line}"
        request = _request(row, where, force, layout, sound)
        check_no_input(request.output, path)
        output = identity(request.output)
        if output in found:
            raise ArgumentError(f"{where}: {request.output}: is the output of another line, too")
        found[output] = request
    if not found:
        raise ArgumentError(f"--manifest {path}: names no video")
    return list(found.values())


def _rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """The rows with their line numbers. One of too many or too few columns has a None in it."""
    try:
        with open_text(path) as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            rows = [(reader.line_num, row) for row in reader]
            names = set(reader.fieldnames or ())
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ArgumentError(f"--manifest {path}: cannot be read: {error}") from None
    if not {"video", "output"} <= names <= COLUMNS:
        raise ArgumentError(
            f"--manifest {path}: its first line must name columns: video,output[,start][,frames][,size]"
        )
    for line, row in rows:
        if None in row or None in row.values() or not (row["video"] and row["output"]):
            raise ArgumentError(
                f"--manifest {path}, line {line}: must have a video, an output, and {len(names)} columns in all"
            )
    return rows


def _request(row: Mapping[str, str], where: str, force: bool, layout: Layout, sound: bool) -> Request:
    for name in ("start", "frames"):
        if (text := row.get(name)) and not text.isdecimal():
            raise ArgumentError(f"{where}: {name} {text}: must be a number of frames")
    try:
        size = parse_size(row["size"]) if row.get("size") else None
    except ArgumentError as error:
        raise ArgumentError(f"{where}: {error}") from None
    video, output = parse_location(row["video"]), parse_location(row["output"])
    frames = int(row["frames"]) if row.get("frames") else None
    return Request(video, output, int(row.get("start") or 0), frames, size, force, layout, sound)
