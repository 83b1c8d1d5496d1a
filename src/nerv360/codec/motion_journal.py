"""What an encoding by motion has come to so far, on disk: an interrupted one goes on from it, with the same bytes."""

import math
import time
from typing import Annotated
from zlib import crc32

import msgspec

from nerv360.codec.target_search import Outcome
from nerv360.motion.encoder import CodedKey
from nerv360.storage import Location, atomic_write, open_file, remove, set_aside

__all__ = ["Journal"]

VERSION = 3  # of the fields, which stand behind their checksum
SECONDS = 5.0  # between two writings
CHECKSUM_BYTES = 4


class _Stored(msgspec.Struct, forbid_unknown_fields=True):
    version: int
    signature: str
    outcomes: dict[str, tuple[Annotated[int, msgspec.Meta(gt=0)], float, float]]
    work: str
    keys: list[tuple[bytes, list[bytes], float, Annotated[int, msgspec.Meta(ge=0, lt=2**32)]]]
    seconds: Annotated[float, msgspec.Meta(ge=0)]  # of work, up to this writing

    def __post_init__(self) -> None:
        numbers = [self.seconds, *(error for _, _, error, _ in self.keys)]
        numbers += [decibels for _, *both in self.outcomes.values() for decibels in both]
        if any(map(math.isnan, numbers)):
            raise ValueError("a number is none")


class Journal:
    """Outcomes of finished passes, by their names, and the keys of the pass that is at work.

    Of another encoding, or another version, it begins anew; what lies there is set aside.
    """

    def __init__(self, path: Location, signature: str) -> None:
        self._path, self._signature = path, signature
        self._stored = self._read() or self._empty()
        self._resumed = False
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
        self._stored.work, self._stored.keys, self._resumed = name, [], bool(known)
        return known

    def reject(self) -> bool:
        """Begin anew where keys that were there are at fault for a pass that failed, and say whether they may be."""
        if self._resumed:
            set_aside(self._path, "its keys are not those of the video")
            self._stored, self._resumed = self._empty(), False
            return True
        return False

    def add(self, key: CodedKey) -> None:
        """Keep a key of the pass at work."""
        self._stored.keys.append((key.data, key.sectors, key.squared_error, key.checksum))
        if time.monotonic() > self._written + SECONDS:
            self._write()

    def finish(self, outcome: Outcome) -> None:
        """Keep what the pass at work came to."""
        self._stored.outcomes[self._stored.work] = (outcome.size, outcome.psnr_db, outcome.panoramas_db)

    def remove(self) -> None:
        remove(self._path)

    def _write(self) -> None:
        self._stored.seconds = self.seconds
        fields = msgspec.msgpack.encode(self._stored)
        with atomic_write(self._path) as partial:
            partial.write_bytes(crc32(fields).to_bytes(CHECKSUM_BYTES, "little") + fields)
        self._written = time.monotonic()

    def _empty(self) -> _Stored:
        return _Stored(VERSION, self._signature, {}, "", [], 0.0)

    def _read(self) -> _Stored | None:
        try:
            with open_file(self._path) as file:
                checksum, fields = file.read(CHECKSUM_BYTES), file.read()
            if int.from_bytes(checksum, "little") != crc32(fields):
                raise OSError
            found = msgspec.msgpack.decode(fields, type=_Stored)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            set_aside(self._path, "it is damaged, or of another version")
            return None
        if (found.version, found.signature) == (VERSION, self._signature):
            return found
        set_aside(self._path, "it is of another video or of other settings")
        return None
