"""Damaged and forged files without end: `make fuzz`, or `python tests/fuzz.py --minutes 600 --seed 7`.

Seeds are the golden files, of all models and versions. Headers are taken apart, fields, tables and chunks changed or
exchanged, and lengths and checksums made right again; one file in eight is raw damage. Each is opened, checked and
looked at, in a process with bounds on its memory and its seconds of processor. Only errors of our own may come of it:
what else does is written to build/fuzz, with its number; `--seed S --first N --minutes 0` does the same file again.
"""

import argparse
import os
import random
import resource
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any
from zlib import crc32

import msgspec
import torch

import nerv360
from nerv360.bitstream.container import MAGIC, PREAMBLE, Container
from nerv360.bitstream.header import FileHeader, pack
from nerv360.bitstream.sound import read_sound
from nerv360.errors import Nerv360Error

GOLDEN = Path(__file__).parent / "data" / "golden"
FAILURES = Path("build/fuzz")
ENTRIES, TRACK = (FileHeader.__struct_fields__.index(name) for name in ("segments", "sound"))
BATCH = 50  # files to a process
MAX_BYTES, MAX_SECONDS = 1 << 30, 20  # of memory for a process, beside what it begins with; of processor, for a file
HANG_SECONDS = 500  # for one that waits
NUMBERS = (0, 1, 2, 3, 7, 8, 64, 255, 256, 1000, 16384, 65536, 10**6, 10**7, 2**31, 2**32 - 1, 2**40, 2**63, -1)
ODD: tuple[Any, ...] = (None, True, "", "nerv360-grid", b"\xff", [], [[]], {}, 0.5, -0.0, float("nan"), float("inf"))
VIEWS = (nerv360.Viewport(width=40, height=30), nerv360.Viewport(170, 70, 30, 100, None, 33, 17))


@dataclass(frozen=True)
class Parts:
    """A file of one segment, taken apart."""

    version: int
    file: list[Any]  # values of its header
    segment: list[Any]
    chunks: list[bytes]
    sound: list[bytes]
    table: int  # index of the chunk table among the values of the segment's header

    @staticmethod
    def of(path: Path) -> "Parts":
        with Container(path) as container:
            (segment,) = container.segments
            chunks = [container.chunk(segment, index) for index in range(len(segment.header.chunks))]
            sound = [container.sound_chunk(0, number) for number in range(len(segment.sound))]
            values = msgspec.msgpack.decode(pack(segment.header))
            table = segment.header.__struct_fields__.index("chunks")
            return Parts(
                container.version, msgspec.msgpack.decode(pack(container.header)), values, chunks, sound, table
            )

    def joined(self) -> bytes:
        """The file, with right lengths and checksums wherever they are still in their places."""
        segment, file = list(self.segment), list(self.file)
        if isinstance(segment[self.table], list):
            segment[self.table] = _table(self.chunks)
        packed = msgspec.msgpack.encode(segment)
        body = packed + b"".join((*self.chunks, *self.sound))
        if len(file) > ENTRIES and isinstance(file[ENTRIES], list):
            file[ENTRIES] = [[file[2], len(body), len(packed), crc32(packed)]]
        if self.sound and len(file) > TRACK and isinstance(file[TRACK], list) and file[TRACK]:
            file[TRACK] = [*file[TRACK][:-1], [_table(self.sound)]]
        head = msgspec.msgpack.encode(file)
        return PREAMBLE.pack(MAGIC, self.version, len(head), crc32(head)) + head + body


def _table(chunks: list[bytes]) -> list[list[int]]:
    return [[len(chunk), crc32(chunk)] for chunk in chunks]


def forged(seeds: list[Parts], rng: random.Random) -> bytes:
    """A file that is like one of the seeds, but for a few changes."""
    parts = rng.choice(seeds)
    for _ in range(rng.choice((1, 1, 2, 4))):
        what = rng.randrange(6)
        if what == 0:
            parts = replace(parts, segment=_changed(parts.segment, rng))
        elif what == 1:
            parts = replace(parts, file=_changed(parts.file, rng))
        elif what == 2:
            parts = replace(parts, chunks=_exchanged(parts.chunks, rng.choice(seeds).chunks, rng))
        else:
            name = "sound" if parts.sound and rng.randrange(2) else "chunks"
            chunks = list(getattr(parts, name))
            if chunks:
                index = rng.randrange(len(chunks))
                chunks[index] = damaged(chunks[index], rng)
            parts = replace(parts, **{name: chunks})
    data = parts.joined()
    return damaged(data, rng) if rng.randrange(8) == 0 else data


def _changed(values: list[Any], rng: random.Random) -> list[Any]:
    """With another value somewhere, however deep."""
    values, at = list(values), rng.randrange(len(values) or 1)
    if not values:
        return [rng.choice(NUMBERS)]
    old = values[at]
    if isinstance(old, list) and old and rng.random() < 0.7:
        values[at] = _changed(old, rng)
    elif isinstance(old, int) and rng.random() < 0.7:
        new = rng.choice((old + rng.choice((-1, 1)), old * 2, old // 2, rng.choice(NUMBERS)))
        values[at] = max(-(1 << 63), min(new, (1 << 64) - 1))  # what MessagePack holds
    elif isinstance(old, float) and rng.random() < 0.7:
        values[at] = old * rng.choice((-1.0, 0.0, 0.01, 100.0, 1e30))
    elif rng.random() < 0.3:
        values.insert(at, old)
    else:
        values[at] = rng.choice((*NUMBERS, *ODD))
    return values


def _exchanged(chunks: list[bytes], others: list[bytes], rng: random.Random) -> list[bytes]:
    """With a chunk that is gone, doubled, or another's."""
    chunks, at = list(chunks), rng.randrange(len(chunks) or 1)
    chunks[at : at + rng.randrange(2)] = rng.choice(([], chunks[at : at + 1] * 2, [rng.choice(others or [b""])]))
    return chunks


def damaged(data: bytes, rng: random.Random) -> bytes:
    """With bytes that are changed, cut, put in, or set to one value."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 3, 20))):
        at, length = rng.randrange(len(changed) + 1), rng.choice((1, 1, 2, 4, 30))
        new = rng.choice((rng.randbytes(length), bytes(length), b"\xff" * length, b""))
        changed[at : at + rng.choice((0, length))] = new
    return bytes(changed)


def look(path: Path) -> None:
    """All that a viewer asks of a file."""
    with nerv360.open(path, backend="torch") as decoder:
        decoder.container.verify()
        decoder.container.budget()
        if decoder.container.header.sound is not None:
            list(read_sound(decoder.container, Fraction(0), decoder.container.timeline.start_s(decoder.frames)))
        for frame in (0, decoder.frames - 1):
            for view in VIEWS:
                for eye in decoder.eyes:
                    decoder.viewport(frame, view, eye=eye)
        if decoder.width * decoder.height <= 1 << 16:
            decoder.panorama(decoder.frames // 2)


def run(seeds: list[Parts], seed: int, numbers: range, folder: Path) -> None:
    """Look at files of these numbers: in a child process, which ends at the first that is not borne."""
    resource.setrlimit(resource.RLIMIT_DATA, (_data_bytes() + MAX_BYTES, resource.RLIM_INFINITY))
    path = folder / f"{os.getpid()}.nerv360"
    for number in numbers:
        path.write_bytes(forged(seeds, random.Random(f"{seed} {number}")))
        signal.setitimer(signal.ITIMER_PROF, MAX_SECONDS)
        signal.alarm(HANG_SECONDS)
        try:
            look(path)
        except Nerv360Error as error:
            assert "\n" not in str(error), error
        except MemoryError:
            sys.exit(f"file {number}: more than {MAX_BYTES} bytes of memory")
        (folder / f"{os.getpid()}.done").write_text(str(number))
    path.unlink()


def _data_bytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmData:"))


def batches(seed: int, first: int, minutes: float) -> Iterator[range]:
    """Numbers of files, until the time is over; one file where there is none."""
    deadline = time.monotonic() + 60 * minutes
    yield range(first, first + (BATCH if minutes else 1))
    while time.monotonic() < deadline:
        first += BATCH
        yield range(first, first + BATCH)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--first", type=int, default=0)
    given = parser.parse_args()
    seeds = [Parts.of(path) for path in sorted(GOLDEN.glob("*.nerv360"))]
    FAILURES.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)  # threads would not be there behind a fork
    look(GOLDEN / "nerv360.nerv360")  # loads PyTorch, for all that are forked from here
    looked = failed = 0
    for numbers in batches(given.seed, given.first, given.minutes):
        child = os.fork()
        if child == 0:
            run(seeds, given.seed, numbers, FAILURES)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        path, done = (FAILURES / f"{child}.{ending}" for ending in ("nerv360", "done"))
        if status:
            failed += 1
            number = int(done.read_text()) + 1 if done.exists() else numbers.start
            kept = path.rename(FAILURES / f"seed-{given.seed}-{number}.nerv360")
            print(f"\n{kept}: status {status}: --seed {given.seed} --first {number} --minutes 0", flush=True)
        done.unlink(missing_ok=True)
        looked += len(numbers)
        print(f"\r{looked:,} files, {failed} not borne (seed {given.seed})", end="", flush=True)
    print()
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
