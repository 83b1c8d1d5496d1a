"""What an encoding by motion has come to so far, on disk: an interrupted one goes on from it, with the same bytes."""

import time
from typing import Any

import msgspec

from nerv360.codec.target_search import Outcome
from nerv360.errors import OutputError
from nerv360.motion.encoder import CodedKey
from nerv360.storage import Location, atomic_write, exists, open_file, remove

__all__ = ["Journal"]

VERSION = 1
SECONDS = 5.0  # between two writings


class _Stored(msgspec.Struct):
    version: int
    signature: str
    outcomes: dict[str, tuple[int, float, float]]
    work: str
    keys: list[tuple[bytes, float, int]]
    seconds: float  # of work, up to this writing


class Journal:
    """Outcomes of finished passes, by their names, and the keys of the pass that is at work.

    Of another encoding, or another version, it begins anew.
    """

    def __init__(self, path: Location, signature: str) -> None:
        self._path = path
        self._stored = self._read(signature) or _Stored(VERSION, signature, {}, "", [], 0.0)
        self._written = time.monotonic()
        self._began = self._written - self._stored.seconds

    @property
    def seconds(self) -> float:
        """Of work, over all runs."""
        return time.monotonic() - self._began

    def outcome(self, name: str) -> Outcome | None:
        """What a finished pass came to."""
        found = self._stored.outcomes.get(name)
        return found and Outcome(*found)

    def begin(self, name: str) -> list[CodedKey]:
        """Begin a pass; gives the keys that are there of it, if it was interrupted."""
        known = [CodedKey(*key) for key in self._stored.keys] if self._stored.work == name else []
        self._stored.work, self._stored.keys = name, []
        return known

    def add(self, key: CodedKey) -> None:
        """Keep a key of the pass at work."""
        self._stored.keys.append((key.data, key.squared_error, key.checksum))
        if time.monotonic() > self._written + SECONDS:
            self._write()

    def finish(self, outcome: Outcome) -> None:
        """Keep what the pass at work came to."""
        self._stored.outcomes[self._stored.work] = (outcome.size, outcome.psnr_db, outcome.panoramas_db)

    def remove(self) -> None:
        remove(self._path)

    def _write(self) -> None:
        self._stored.seconds = self.seconds
        with atomic_write(self._path) as partial:
            partial.write_bytes(msgspec.msgpack.encode(self._stored))
        self._written = time.monotonic()

    def _read(self, signature: str) -> _Stored | None:
        if not exists(self._path):
            return None
        try:
            with open_file(self._path) as file:
                found: Any = msgspec.msgpack.decode(file.read(), type=_Stored)
        except (OSError, OutputError, msgspec.DecodeError):
            return None
        return found if (found.version, found.signature) == (VERSION, signature) else None
