"""A server under viewers without end: `make soak`, or `python tests/soak.py --minutes 10 FILE`.

Fifty sockets ask for one random view after the other; one of them is hostile, and opens more. Where the server's memory
or its open files grow after the first half of the time, or a viewer waits for ever, that is a failure.
"""

import argparse
import asyncio
import json
import math
import random
import re
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from aiohttp import ClientError, ClientSession, WSMsgType
from helpers.processes import running

GOLDEN = Path(__file__).parent / "data" / "golden"
VIEWERS = 50
GROWTH = 1.1  # of memory, from the first half of the time to its end: caches fill by then
SAMPLES = 20  # of memory and files
PATIENCE_S = 120.0  # for a picture, where fifty take turns on a busy machine
ODD = (None, -1, 0, 1, 1.5, 1e9, 2**40, "x", [], {}, True)
LINES = (
    b"GET /frames HTTP/9.9\r\n\r\n",
    b"\xff\x00" * 99,
    b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    b"G",
)


@dataclass
class Soak:
    """The server's address, when to stop, and what has been seen."""

    port: int
    end: float
    frames: int
    pictures: int = 0
    refusals: int = 0
    attacks: int = 0
    waits_s: list[float] = field(default_factory=list)

    def goes_on(self) -> bool:
        return time.monotonic() < self.end


def request(rng: random.Random, frames: int) -> dict[str, object]:
    """What the page asks for."""
    return {
        **{"id": rng.randrange(2**32), "frame": rng.randrange(frames), "yawDeg": rng.uniform(-180, 180)},
        **{
            "pitchDeg": rng.uniform(-90, 90),
            "rollDeg": 0.0,
            "hfovDeg": 90.0,
            "vfovDeg": 60.0,
            "width": 96,
            "height": 64,
        },
        **{"format": rng.choice(("jpeg", "h264")), "draft": rng.random() < 0.5},
    }


async def watch(soak: Soak, session: ClientSession, rng: random.Random) -> None:
    """A viewer who asks for the next view when the last is there."""
    async with session.ws_connect(f"http://127.0.0.1:{soak.port}/frames") as socket:
        while soak.goes_on():
            began = time.monotonic()
            await socket.send_json(request(rng, soak.frames))
            while (message := await socket.receive(PATIENCE_S)).type != WSMsgType.BINARY:  # told that it is worked on
                assert message.type == WSMsgType.TEXT, message
                assert json.loads(message.data).get("working"), message.data
            soak.pictures += 1
            soak.waits_s.append(time.monotonic() - began)


async def attack(soak: Soak, session: ClientSession, rng: random.Random) -> None:
    """A viewer of another kind: requests that are none, or too much, and connections that say little or nothing."""
    while soak.goes_on():
        with suppress(OSError, ClientError, asyncio.TimeoutError, AssertionError):
            if rng.random() < 0.3:
                reader, writer = await asyncio.open_connection("127.0.0.1", soak.port)
                writer.write(rng.choice(LINES))
                if rng.random() < 0.5:
                    await asyncio.wait_for(reader.read(99), 1)
                writer.close()
            async with session.ws_connect(f"http://127.0.0.1:{soak.port}/frames") as socket:
                for _ in range(rng.randrange(20)):
                    await socket.send_str(forged(soak, rng))
                    soak.attacks += 1
                if rng.random() < 0.5:
                    message = await socket.receive(5)
                    soak.refusals += message.type == WSMsgType.TEXT and "error" in message.data
        await asyncio.sleep(0.05)


def forged(soak: Soak, rng: random.Random) -> str:
    values = request(rng, soak.frames)
    if rng.random() < 0.2:
        return rng.choice(("", "[" * 900, "{" + " " * 2000, "\0"))
    if rng.random() < 0.2:  # the largest that is sent
        return json.dumps(values | {"width": 2048, "height": 1024, "hfovDeg": 170.0})
    return json.dumps(values | {rng.choice(list(values)): rng.choice((*ODD, math.nan))})


async def soak_server(server: psutil.Process, port: int, minutes: float, seed: int) -> list[str]:
    """What is wrong; empty where nothing is."""
    began = time.monotonic()
    known: list[tuple[int, int]] = []  # bytes, open files
    async with ClientSession() as session:
        about = await (await session.get(f"http://127.0.0.1:{port}/player.json")).json()
        soak = Soak(port, began + 60 * minutes, about["frames"])
        viewers = [watch(soak, session, random.Random(f"{seed} {number}")) for number in range(VIEWERS - 1)]
        tasks = [asyncio.create_task(each) for each in (*viewers, attack(soak, session, random.Random(seed)))]
        while soak.goes_on() and not any(task.done() for task in tasks):
            await asyncio.sleep(60 * minutes / SAMPLES)
            known.append((server.memory_info().rss, server.num_fds()))
            print(
                f"\r{time.monotonic() - began:.0f} s: {soak.pictures:,} pictures, {soak.attacks:,} attacks, "
                f"{known[-1][0] / 2**20:.0f} MiB, {known[-1][1]} files",
                end="",
                flush=True,
            )
        failures = [repr(each) for each in await asyncio.gather(*tasks, return_exceptions=True) if each is not None]
    half, last = (max(each) for each in zip(*known[: len(known) // 2 + 1], strict=True)), known[-1]
    grown = [
        f"{what} grew from {a} to {b}"
        for what, a, b in zip(("memory", "files"), half, last, strict=True)
        if b > GROWTH * a
    ]
    waits = sorted(soak.waits_s)
    print(f"\nwaits: {waits[len(waits) // 2]:.2f} s in the middle, {waits[-1]:.2f} s at most; {soak.refusals} refusals")
    return failures + grown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", nargs="?", default=GOLDEN / "nerv360-motion.nerv360")
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    given = parser.parse_args()
    command = [sys.executable, "-u", "-m", "nerv360", "play", str(given.file), "--no-browser", "--port", "0"]
    with running(command, stdout=-1) as server:
        assert server.stdout
        port = int(re.findall(r":(\d+)/", server.stdout.readline())[0])
        failures = asyncio.run(soak_server(psutil.Process(server.pid), port, given.minutes, given.seed))
    print("\n".join(failures) or f"memory and files are flat (seed {given.seed})")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
