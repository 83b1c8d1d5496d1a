"""`--log FILE`: what a command does, as JSON lines for machines."""

import logging
import time
from dataclasses import fields
from pathlib import Path

import msgspec

from nerv360.errors import OutputError
from nerv360.progress import Update
from nerv360.storage import check_kind

__all__ = ["LoggedProgress", "log_event", "log_to"]

SECONDS = 1.0  # between lines of one stage
MAX_LINE = 1 << 16
_events = logging.getLogger("nerv360.events")
_events.propagate = False
_events.setLevel(logging.INFO)


class _Event(msgspec.Struct):
    """What every line has."""

    time: float
    event: str


def log_to(path: Path | None) -> Path | None:
    """Append events to a file from now on. Raises OutputError, also where it is a file of something else."""
    if path is not None:
        check_kind(path)
        try:
            if path.is_file() and path.stat().st_size:
                with path.open("rb") as file:
                    msgspec.json.decode(file.readline(MAX_LINE), type=_Event)
            _events.addHandler(logging.FileHandler(path))
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise OutputError(f"--log {path}: is no log of nerv360; name another file") from None
        except OSError as error:
            raise OutputError(f"--log {path}: cannot be written: {error.strerror}") from None
    return path


def log_event(event: str, **values: object) -> None:
    """One line: `{"time": seconds since 1970, "event": ..., ...}`."""
    if _events.handlers:
        _events.info("%s", msgspec.json.encode({"time": round(time.time(), 3), "event": event} | values).decode())


class LoggedProgress:
    """An `OnProgress` that logs events `progress`: the beginning and the end of every stage, and one a second."""

    def __init__(self) -> None:
        self._part: tuple[str, object] | None = None
        self._next_s = 0.0

    def __call__(self, update: Update) -> None:
        now = time.monotonic()
        part = update.stage, getattr(update, "job", None)
        if part == self._part and now < self._next_s and update.done < update.total:
            return
        self._part, self._next_s = part, now + SECONDS
        values = {field.name: getattr(update, field.name) for field in fields(update)}
        log_event("progress", **{name: value for name, value in values.items() if not callable(value)})
