"""Claim an output before work begins for it: it is none of the inputs, it can be written, and nobody else writes it."""

import os
import platform
import re
import stat
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import filelock
import msgspec
import psutil

from nerv360.errors import ArgumentError, OutputError
from nerv360.storage import (
    Location,
    check_kind,
    exists,
    identity,
    name_of,
    names_in,
    open_file,
    publish,
    remove,
    sibling,
)

__all__ = ["check_no_input", "check_output", "claim"]

LEASE_S, RENEWED_S = 60.0, 15.0  # of a store's lock, which nobody gives back for a machine that has died


def check_output(output: Location, *inputs: Location) -> None:
    """Raises ArgumentError where an output is one of the inputs; OutputError where it cannot be written."""
    check_no_input(output, *inputs)
    if not isinstance(output, Path):
        return
    check_kind(output)
    if not output.parent.is_dir():
        raise OutputError(f"{output}: cannot be written: no folder {output.parent}")
    if not os.access(output.parent, os.W_OK):
        raise OutputError(f"{output}: cannot be written: no right to write in {output.parent}")
    if output.suffix and output.is_dir():
        raise OutputError(f"{output}: cannot be written: it is a folder")


def check_no_input(output: Location, *inputs: Location) -> None:
    """Raises ArgumentError where what is to be written is one of the inputs, by whatever name."""
    own = identity(output)
    for each in inputs:
        if identity(each) == own:
            raise ArgumentError(f"{output}: is the same file as the input {each}; name another output")


@contextmanager
def claim(output: Location, *inputs: Location, work: str = "writing") -> Iterator[None]:
    """Hold an output for this process while the block runs: a lock of the operating system; in a store, a lease.

    Raises what `check_output` does, and OutputError where another nerv360 writes this output.
    """
    check_output(output, *inputs)
    with _locked(output, inputs, work) if isinstance(output, Path) else _leased(output, work):
        yield


def _lock_name(output: Location) -> Location:
    return sibling(output, f".{name_of(output)}.lock")


def _taken(output: Location, work: str) -> OutputError:
    return OutputError(f"{output}: another {work} of this output is running; wait for its end, or name another output")


@contextmanager
def _locked(output: Path, inputs: tuple[Location, ...], work: str) -> Iterator[None]:
    """A file that is locked, and removed at the end; a kill leaves it, but not locked."""
    real = Path(os.path.realpath(output))
    path = Path(_lock_name(real))
    lock = filelock.FileLock(path, timeout=0)
    try:
        left = os.path.lexists(path)
        if left and not (stat.S_ISREG((status := path.lstat()).st_mode) and status.st_size == 0):
            raise OutputError(f"{path}: is no lock of nerv360; move it away")
        lock.acquire()
        if left:
            _remove_unfinished(real, inputs)
    except filelock.Timeout:
        raise _taken(output, work) from None
    except OSError as error:
        raise OutputError(f"{output}: cannot be written: {error.strerror or error}") from None
    try:
        yield
    finally:
        with suppress(OSError):  # while it is held: who waits for it sees that it is another file
            if path.stat().st_size == 0:  # else an output of that name has taken its place
                path.unlink()
        lock.release()


def _remove_unfinished(output: Path, inputs: tuple[Location, ...]) -> None:
    """Remove files of an output, and of its checkpoint, that a kill has left, as it has left the lock."""
    stem, suffix = re.escape(output.stem), re.escape(output.suffix)
    ours = re.compile(rf"\.{stem}\.partial\d*{suffix}|\.{stem}{suffix}\.partial\d*\.checkpoint")
    kept = [identity(each) for each in inputs]
    for path in map(output.with_name, filter(ours.fullmatch, names_in(output.parent))):
        if stat.S_ISREG(path.lstat().st_mode) and identity(path) not in kept:
            path.unlink()


class _Lease(msgspec.Struct, frozen=True):
    """Who writes an output in a store, and until when, by the writer's clock."""

    owner: str
    machine: str
    process: int
    until: float

    def ended(self) -> bool:
        here = self.machine == platform.node()
        return time.time() > self.until or (here and not psutil.pid_exists(self.process))


@contextmanager
def _leased(output: str, work: str) -> Iterator[None]:
    """An object that is written anew while the work goes on; that of a machine that has died ends by itself."""
    where, owner, ended = str(_lock_name(output)), uuid.uuid4().hex, threading.Event()

    def renew() -> None:
        while not ended.wait(RENEWED_S):
            with suppress(OSError):  # the next time, perhaps
                _write_lease(where, owner)

    try:
        found = _read_lease(where)
        if found is None or found.ended():
            _write_lease(where, owner)
            found = _read_lease(where)  # of two who write at once, one is left
    except OSError as error:
        raise OutputError(f"{output}: cannot be written: {error.strerror or error}") from None
    if found is None or found.owner != owner:
        raise _taken(output, work)
    renewing = threading.Thread(target=renew, name="nerv360-lease", daemon=True)
    renewing.start()
    try:
        yield
    finally:
        ended.set()
        renewing.join()
        with suppress(OSError):
            remove(where)


def _read_lease(where: str) -> _Lease | None:
    try:
        if exists(where):
            with open_file(where) as file:
                return msgspec.json.decode(file.read(), type=_Lease)
    except (FileNotFoundError, msgspec.DecodeError):
        pass
    return None


def _write_lease(where: str, owner: str) -> None:
    lease = _Lease(owner, platform.node(), os.getpid(), time.time() + LEASE_S)
    with TemporaryDirectory() as folder:
        local = Path(folder) / "lease"
        local.write_bytes(msgspec.json.encode(lease))
        publish(local, where)
