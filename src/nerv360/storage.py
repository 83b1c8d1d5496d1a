"""Read, write and remove files on this machine and behind URLs (s3://, gs://, memory://, whatever fsspec knows).

A location is a Path on this machine, or the URL of a remote file as a string. Every failure is an OSError, but for
`atomic_write`, whose failures are for the user.
"""

import io
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

from nerv360.errors import OutputError

__all__ = [
    "Location",
    "atomic_write",
    "child",
    "exists",
    "fetch",
    "make_folder",
    "name_of",
    "open_file",
    "parse_location",
    "publish",
    "remove",
    "remove_folder",
    "sibling",
    "size",
]

Location = Path | str
BLOCK_BYTES = 1 << 20  # read at once; the last 32 are kept


def parse_location(name: Location) -> Location:
    """Return the location that a user's text names; file:// is a path."""
    text = str(name)
    if "://" not in text:
        return Path(name)
    return Path(text.removeprefix("file://")) if text.startswith("file://") else text


def sibling(where: Location, name: str) -> Location:
    """The location of this name in the same folder."""
    return where.parent / name if isinstance(where, Path) else f"{where.rpartition('/')[0]}/{name}"


def child(folder: Location, name: str) -> Location:
    """The location of this name in the folder."""
    return folder / name if isinstance(folder, Path) else f"{folder}/{name}"


def name_of(where: Location) -> str:
    """The last component of a location."""
    return where.name if isinstance(where, Path) else where.rpartition("/")[2]


def open_file(where: Location) -> BinaryIO:
    """Open a file for reading, with seeking; of a remote file, only the blocks that are read are fetched."""
    if isinstance(where, Path):
        return open(where, "rb")
    with _failures(where):
        system, path = _remote(where)
        return _Remote(system.open(path, "rb", block_size=BLOCK_BYTES, cache_type="blockcache"), where)  # type: ignore[return-value]


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


def remove_folder(folder: Location) -> None:
    """Remove a folder and its contents, where there is one."""
    if isinstance(folder, Path):
        shutil.rmtree(folder, ignore_errors=True)
        return
    with _failures(folder):
        system, path = _remote(folder)
        system.invalidate_cache()
        if system.exists(path):
            system.rm(path, recursive=True)


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


@contextmanager
def atomic_write(path: Location) -> Iterator[Path]:
    """Yield a temporary path to write to; publish it as `path` at the end, remove it after any failure.

    The temporary file or folder lies in the folder of `path`; for a URL, on this machine. Raises OutputError.
    """
    if not isinstance(path, Path):
        with TemporaryDirectory() as folder:
            try:
                yield Path(folder) / name_of(path)
                publish(Path(folder) / name_of(path), path)
            except OSError as error:
                raise OutputError(f"{path}: cannot be written: {error.strerror}") from None
        return
    if path.is_dir() and any(path.iterdir()):
        raise OutputError(f"{path}: cannot be written: the folder is not empty")
    partial = path.with_name(f".{path.stem}.partial{path.suffix}")
    try:
        yield partial
        if partial.is_dir() and path.is_dir():
            path.rmdir()
        os.replace(partial, path)
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
    """The file system of a URL, and the path in it."""
    from fsspec.core import url_to_fs

    system, path = url_to_fs(where)
    return system, str(path)


@contextmanager
def _failures(where: str) -> Iterator[None]:
    """Turn every failure of a store into an OSError."""
    try:
        yield
    except FileNotFoundError:
        raise FileNotFoundError(2, "no such file or bucket", where) from None
    except PermissionError as error:
        raise PermissionError(13, f"no permission ({error})", where) from None
    except Exception as error:
        raise OSError(5, f"{error or type(error).__name__}", where) from None


class _Remote(io.RawIOBase):
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
