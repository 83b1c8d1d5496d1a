"""Commands of nerv360, each in a process of its own, forked from one that has told its version and no more.

Importing the command line is paid once, and what a command loads (PyTorch) is not there for the next, unless the one
that they are forked from has loaded it.
"""

import contextlib
import gc
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from helpers.limits import limit_bytes

TESTS = Path(__file__).parents[1]
HANG_SECONDS = 1500


@dataclass
class Finished:
    """A command that has ended."""

    returncode: int
    stdout: str
    stderr: str
    imported: frozenset[str]  # the packages that were loaded when it ended


class Commands:
    """Runs them: `commands("info", "a.nerv360", cwd=folder)`."""

    def __init__(self, folder: Path, *loaded: str) -> None:
        """`loaded` are packages that every command finds imported."""
        self._outputs = folder / "imported", folder / "stdout", folder / "stderr"
        self._server = subprocess.Popen(
            [sys.executable, "-m", "helpers.commands", *loaded],
            cwd=TESTS,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._server.stdin and self._server.stdout
        self._asked, self._answers = self._server.stdin, self._server.stdout

    def __call__(self, *arguments: object, cwd: Path | None = None, max_bytes: int | None = None) -> Finished:
        """Run a command that may ask for so much memory, beside what the imports took."""
        request = [[*map(str, arguments)], str(cwd or Path.cwd()), max_bytes, *map(str, self._outputs)]
        self._asked.write(json.dumps(request).encode() + b"\n")
        self._asked.flush()
        status = json.loads(self._answers.readline())
        imported, stdout, stderr = (path.read_text() for path in self._outputs)
        return Finished(status, stdout, stderr, frozenset(imported.split()))

    def close(self) -> None:
        self._server.communicate(timeout=10)


def serve(loaded: Sequence[str]) -> None:
    from nerv360 import cli

    sys.argv = ["nerv360", "--version"]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        cli.main()
    for name in loaded:
        import_module(name)
    gc.freeze()  # else every child copies all of it
    while line := sys.stdin.readline():
        child = os.fork()
        if child == 0:
            return become(cli.main, *json.loads(line))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def become(
    main: Callable[[], None], arguments: list[str], folder: str, max_bytes: int | None, imported: str, *outputs: str
) -> None:
    signal.alarm(HANG_SECONDS)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for descriptor, path in enumerate(outputs, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    os.chdir(folder)
    sys.argv = ["nerv360", *arguments]
    if max_bytes is not None:
        limit_bytes(max_bytes)
    try:
        main()
    finally:
        Path(imported).write_text(" ".join(name for name in sys.modules if "." not in name))


if __name__ == "__main__":
    serve(sys.argv[1:])
