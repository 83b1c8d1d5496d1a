"""Commands of nerv360, each in a process of its own, forked from one that has told its version and no more.

Importing the command line is paid once, and what a command loads (PyTorch) is not there for the next.
"""

import contextlib
import gc
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

MOST_SECONDS = 120


@dataclass
class Finished:
    """A command that has ended."""

    returncode: int
    stdout: str
    stderr: str
    processor_s: float  # with the interpreter's start and the import


class Commands:
    """Runs them: `commands("info", "a.nerv360", cwd=folder)`."""

    def __init__(self, folder: Path) -> None:
        self._outputs = folder / "stdout", folder / "stderr"
        self._server = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._server.stdin and self._server.stdout
        self._asked, self._answers = self._server.stdin, self._server.stdout
        self._import_s = json.loads(self._answers.readline())

    def __call__(self, *arguments: object, cwd: Path | None = None) -> Finished:
        request = [[*map(str, arguments)], str(cwd or Path.cwd()), *map(str, self._outputs)]
        self._asked.write(json.dumps(request).encode() + b"\n")
        self._asked.flush()
        status, processor_s = json.loads(self._answers.readline())
        stdout, stderr = (path.read_text() for path in self._outputs)
        return Finished(status, stdout, stderr, self._import_s + processor_s)

    def close(self) -> None:
        self._server.communicate(timeout=10)


def serve() -> None:
    from nerv360 import cli

    sys.argv = ["nerv360", "--version"]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        cli.main()
    assert "torch" not in sys.modules
    gc.freeze()  # else every child copies all of it
    print(time.process_time(), flush=True)
    while line := sys.stdin.readline():
        child = os.fork()
        if child == 0:
            return become(cli.main, *json.loads(line))
        _, status, used = os.wait4(child, 0)
        print(json.dumps([os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime]), flush=True)


def become(main: Callable[[], None], arguments: list[str], folder: str, *outputs: str) -> None:
    signal.alarm(MOST_SECONDS)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for descriptor, path in enumerate(outputs, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    os.chdir(folder)
    sys.argv = ["nerv360", *arguments]
    main()


if __name__ == "__main__":
    serve()
