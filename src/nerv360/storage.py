"""Read, write and remove files on this machine and behind URLs (s3://, gs://, memory://, whatever fsspec knows).

A location is a Path on this machine, or the URL of a remote file as a string. Every failure is an OSError, but for
`atomic_write`, whose failures are for the user, and for a package that is missing.
"""

import errno
import io
import itertools
import logging
import os
import posixpath
import shutil
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

from nerv360.errors import ArgumentError, MissingExtra, OutputError

__all__ = [
    "BLOCK_BYTES",
    "Location",
    "RemoteFile",
    "atomic_write",
    "check_kind",
    "child",
    "exists",
    "fetch",
    "identity",
    "make_folder",
    "name_of",
    "names_in",
    "open_file",
    "open_text",
    "parse_location",
    "partial_of",
    "publish",
    "read_at",
    "remove",
    "remove_folder",
    "set_aside",
    "sibling",
    "size",
]

Location = Path | str
EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs"}  # that stores need, by what their URLs begin with
BLOCK_BYTES = 1 << 20  # read at once; the last 32 are kept
READ_AT_ONCE = 1 << 30  # the system reads no more than 2 GiB


def parse_location(name: Location) -> Location:
    """Return the location that a user's text names; file:// is a path. Raises ArgumentError for what can be none."""
    text = str(name)
    if "\0" in text:
        raise ArgumentError(f"{text!r}: no name of a file has a zero byte in it")
    scheme, separator, path = text.partition("://")
    if not separator:
        return Path(name)
    return Path(path) if scheme in ("file", "local") else text


def identity(where: Location) -> tuple[object, object]:
    """What a location stands for: the same for all names of one file, whatever links and spellings they are."""
    if isinstance(where, Path):
        try:
            status = where.stat()
        except OSError:  # it is not there
            return "", os.path.realpath(where)
        return status.st_dev, status.st_ino
    outer, _, inner = where.rpartition("::")
    if outer:  # as simplecache::s3://bucket/film.mp4
        return identity(parse_location(inner))
    try:
        system, path = _remote(where)
    except ValueError:  # of no store that is known
        scheme, _, path = where.partition("://")
        return scheme, posixpath.normpath(path)
    return (type(system), system.storage_options.get("host")), posixpath.normpath(path)


def sibling(where: Location, name: str) -> Location:
    """The location of this name in the same folder."""
    return where.parent / name if isinstance(where, Path) else f"{where.rpartition('/')[0]}/{name}"


def child(folder: Location, name: str) -> Location:
    """The location of this name in the folder."""
    return folder / name if isinstance(folder, Path) else f"{folder}/{name}"


def name_of(where: Location) -> str:
    """The last component of a location."""
    return where.name if isinstance(where, Path) else where.rpartition("/")[2]


def open_file(where: Location, block_bytes: int = BLOCK_BYTES) -> BinaryIO:
    """Open a file for reading, with seeking; of a remote file, only the blocks that are read are fetched.

    Without blocks, 0, these are the bytes that are read, and none is kept.
    """
    if isinstance(where, Path):
        if where.exists() and not (where.is_file() or where.is_dir()):  # a pipe would be waited for
            raise OSError(errno.EINVAL, f"it is a {_kind(where.stat().st_mode)}, not a file", str(where))
        return open(where, "rb")
    with _failures(where):
        system, path = _remote(where)
        kind = "blockcache" if block_bytes else "none"
        return RemoteFile(system.open(path, "rb", block_size=block_bytes or BLOCK_BYTES, cache_type=kind), where)  # type: ignore[return-value]


def open_text(path: Path, **options: Any) -> io.TextIOWrapper:
    """Open a text file for reading, in UTF-8; raises OSError, also where it is no file."""
    return io.TextIOWrapper(open_file(Path(path)), **({"encoding": "utf-8", "newline": ""} | options))


def read_at(file: BinaryIO, offset: int, length: int) -> bytes:
    """Bytes of a file of `open_file`; fewer where it ends. One on this machine keeps its position."""
    if not (isinstance(file, io.BufferedReader) and hasattr(os, "pread")):
        file.seek(offset)
        return file.read(length)
    parts = []
    while length > 0 and (part := os.pread(file.fileno(), min(length, READ_AT_ONCE), offset)):
        parts.append(part)
        offset, length = offset + len(part), length - len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def size(where: Location) -> int:
    """The size of a file in bytes."""
    if isinstance(where, Path):
        return where.stat().st_size
    with _failures(where):
        system, path = _remote(where)
        return int(system.size(path))


def exists(where: Location) -> bool:
    if isinstance(where, Path):
        return where.is_file()
    with _failures(where):
        system, path = _remote(where)
        system.invalidate_cache()
        return bool(system.isfile(path))


def make_folder(folder: Location) -> None:
    """Make a folder on this machine; remote stores need none."""
    if isinstance(folder, Path):
        folder.mkdir(parents=True, exist_ok=True)


def names_in(folder: Location) -> list[str]:
    """The names of what lies in a folder; none where there is no folder."""
    if isinstance(folder, Path):
        try:
            return sorted(each.name for each in folder.iterdir())
        except FileNotFoundError:
            return []
    with _failures(folder):
        system, path = _remote(folder)
        system.invalidate_cache()
        return sorted(name_of(each) for each in system.ls(path, detail=False)) if system.isdir(path) else []


def remove_folder(folder: Location) -> None:
    """Remove an empty folder on this machine; remote stores have none."""
    if isinstance(folder, Path):
        folder.rmdir()


def set_aside(where: Location, why: str) -> None:
    """Give what lies in the place of a checkpoint, and is none, another name, and tell of it in a warning.

    Raises OutputError.
    """
    names = (sibling(where, f"{name_of(where)}.{count}") for count in itertools.count(1))
    kept = next(each for each in names if not _lies(each))
    try:
        _rename(where, kept)
    except OSError as error:
        raise OutputError(f"{where}: is not used, for {why}; it cannot be renamed: {error.strerror}") from None
    logging.getLogger(__name__).warning("%s: not used, for %s; kept as %s, work begins anew", where, why, name_of(kept))


def _rename(where: Location, name: Location) -> None:
    if isinstance(where, Path):
        where.rename(name)
        return
    with _failures(where):
        system, path = _remote(where)
        system.mv(path, _remote(str(name))[1])


def _lies(where: Location) -> bool:
    """Whether anything lies there."""
    return os.path.lexists(where) if isinstance(where, Path) else exists(where)


def fetch(where: Location, local: Path) -> None:
    """Copy a whole file to this machine."""
    with open_file(where) as source, open(local, "wb") as target:
        while block := source.read(BLOCK_BYTES):
            target.write(block)


def publish(local: Path, where: Location) -> None:
    """Move a whole file to its location: others see all of it, or none."""
    if isinstance(where, Path):
        os.replace(local, where)
        return
    with _failures(where):
        system, path = _remote(where)
        unfinished = f"{path}.{uuid.uuid4().hex}.tmp"
        try:
            system.put_file(str(local), unfinished)
            system.mv(unfinished, path)
        except BaseException:
            if system.exists(unfinished):
                system.rm_file(unfinished)
            raise
    local.unlink()


def partial_of(path: Path) -> Path:
    """Where an unfinished output may lie: beside it, or beside the file that a link stands for, under a free name."""
    path = Path(os.path.realpath(path)) if path.is_symlink() else path
    names = (f".{path.stem}.partial{number or ''}{path.suffix}" for number in itertools.count())
    return next(place for place in map(path.with_name, names) if not os.path.lexists(place))


def check_kind(path: Path) -> None:
    """Raises OutputError where an output is neither a file nor a folder nor absent."""
    if str(path).startswith(("/dev/std", "/dev/fd/", "/proc/")):
        raise OutputError(f"{path}: cannot be written: it is a stream; name a file, which is written as a whole")
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror}") from None
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OutputError(f"{path}: cannot be written: it is a {_kind(mode)}; name a file, which is written as a whole")


def _kind(mode: int) -> str:
    """What a thing is that is no file."""
    return "pipe" if stat.S_ISFIFO(mode) else "socket" if stat.S_ISSOCK(mode) else "device"


@contextmanager
def atomic_write(path: Location) -> Iterator[Path]:
    """Yield a temporary path to write to; publish it as `path` at the end, remove it after any failure.

    The temporary file or folder lies in the folder of `path`; for a URL, on this machine. A link stays, and the file
    that it stands for is written. Raises OutputError, also where a device or a pipe lies there.
    """
    if not isinstance(path, Path):
        with TemporaryDirectory() as folder:
            try:
                yield Path(folder) / name_of(path)
                publish(Path(folder) / name_of(path), path)
            except OSError as error:
                raise OutputError(f"{path}: cannot be written: {error.strerror}") from None
        return
    check_kind(path)
    if path.is_dir() and any(path.iterdir()):
        raise OutputError(f"{path}: cannot be written: the folder is not empty")
    partial = partial_of(path)
    try:
        yield partial
        if partial.is_dir() and path.is_dir():
            path.rmdir()
        os.replace(partial, os.path.realpath(path))
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from None
    finally:
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        else:
            partial.unlink(missing_ok=True)


def remove(where: Location) -> None:
    """Remove a file where there is one."""
    if isinstance(where, Path):
        where.unlink(missing_ok=True)
        return
    with _failures(where):
        system, path = _remote(where)
        system.invalidate_cache()
        if system.exists(path):
            system.rm_file(path)


def _remote(where: str) -> tuple[Any, str]:
    """The file system of a URL, and the path in it. Raises MissingExtra where its package is not installed."""
    from fsspec.core import url_to_fs

    try:
        system, path = url_to_fs(where)
    except ImportError as error:
        extra = EXTRAS.get(where.partition("://")[0])
        needed = f"needs its package: pip install 'nerv360[{extra}]'" if extra else str(error)
        raise MissingExtra(f"{where}: {needed}") from None
    return system, str(path)


@contextmanager
def _failures(where: str) -> Iterator[None]:
    """Turn every failure of a store into an OSError."""
    try:
        yield
    except MissingExtra:
        raise
    except FileNotFoundError:
        raise FileNotFoundError(2, "no such file or bucket", where) from None
    except PermissionError as error:
        raise PermissionError(13, f"no permission ({error})", where) from None
    except Exception as error:
        raise OSError(5, str(error) or type(error).__name__, where) from None


class RemoteFile(io.RawIOBase):
    """A remote file whose failures are OSErrors while it is read, too."""

    def __init__(self, file: Any, where: str) -> None:
        self._file, self._where = file, where

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, length: int = -1) -> bytes:
        with _failures(self._where):
            return bytes(self._file.read(length))

    def seek(self, offset: int, whence: int = 0) -> int:
        return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        return int(self._file.tell())

    def close(self) -> None:
        self._file.close()
        super().close()
