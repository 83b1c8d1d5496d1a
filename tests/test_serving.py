"""The player's server, over real sockets: what it gives, what it refuses, and what it bears."""

import asyncio
import gc
import io
import json
import os
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager, asynccontextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import trustme
from aiohttp import ClientSession, ClientWebSocketResponse, TCPConnector, WSCloseCode, WSMsgType, WSServerHandshakeError
from aiohttp.test_utils import TestClient, TestServer
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from helpers.commands import Commands
from helpers.films import panoramas, spherical_box, write_film
from helpers.limits import traced_bytes
from helpers.motion_clip import clip_file
from helpers.processes import running
from PIL import Image

import nerv360
from nerv360.codec.decoder import Decoder
from nerv360.codec.mux import mux
from nerv360.errors import ArgumentError
from nerv360.geometry.viewport import Viewport
from nerv360.quality import psnr
from nerv360.serving import lanes, viewers
from nerv360.serving import server as serving
from nerv360.serving.frames import FrameRequest
from nerv360.serving.lanes import Viewer
from nerv360.serving.pictures import Kind
from nerv360.serving.served import SERVED
from nerv360.types import UNSPECIFIED_COLOUR, Picture
from nerv360.video.clip import Clip
from nerv360.video.writer import write_frames

UPGRADE = "\r\n".join(
    ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {'A' * 22}==")
)
VIEW = {"frame": 2, "yawDeg": 30.0, "pitchDeg": -10.0, "rollDeg": 0.0, "hfovDeg": 78.1, "vfovDeg": 60.0}
SIZE = {"width": 64, "height": 48}
HEADER = struct.Struct("<IfB")
HANG_SECONDS = 300


@asynccontextmanager
async def client_of(path: Path) -> AsyncIterator[TestClient[Any, Any]]:
    async with TestClient(TestServer(serving.create_app(path))) as client:
        yield client


def served(path: Path, talk: Callable[[TestClient[Any, Any]], Awaitable[None]]) -> None:
    async def main() -> None:
        async with client_of(path) as client:
            await asyncio.wait_for(talk(client), HANG_SECONDS)

    asyncio.run(main())


def ask(number: int = 1, **changes: object) -> str:
    return json.dumps({"id": number, **VIEW, **SIZE, **changes})


async def answered(viewer: ClientWebSocketResponse) -> Any:
    """The bytes of a picture, or an object; what only says that the server works on it is passed over."""
    while True:
        message = await viewer.receive()
        if message.type == WSMsgType.BINARY:
            return message.data
        if "working" not in (told := message.json()):
            return told


async def until(happened: Callable[[], bool]) -> None:
    while not happened():
        await asyncio.sleep(0.02)


@asynccontextmanager
async def bare_viewer(client: TestClient[Any, Any]) -> AsyncIterator[asyncio.StreamWriter]:
    """A WebSocket of which nothing is read, and that vanishes without a word."""
    reader, writer = await asyncio.open_connection(client.host, client.port, limit=1 << 10)
    writer.write(f"GET /frames HTTP/1.1\r\nHost: localhost\r\n{UPGRADE}\r\n\r\n".encode())
    try:
        await reader.readuntil(b"\r\n\r\n")
        yield writer
    finally:
        writer.transport.abort()


def bare_message(text: str) -> bytes:
    return struct.pack(">BBHI", 0x81, 0xFE, len(text), 0) + text.encode()  # masked with zeros


def picture_of(data: bytes) -> tuple[int, "np.ndarray[Any, np.dtype[np.uint8]]"]:
    number, _, kind = HEADER.unpack_from(data)
    assert kind == Kind.JPEG
    return number, np.array(Image.open(io.BytesIO(data[HEADER.size :])))


def test_a_view_is_of_the_eye_that_is_asked_for(encoded: Path, tmp_path: Path) -> None:
    """Of the left one by default; one that the file has not is refused."""
    (tmp_path / "stereo.nerv360").write_bytes(clip_file(160, 80, [(3,)], inter_view_levels=1)[0])
    look = nerv360.Viewport(30, -10, 0, 78.1, 60, 64, 48)
    with nerv360.open(tmp_path / "stereo.nerv360") as decoder:
        left, right = (decoder.viewport(2, look, eye=eye) for eye in decoder.eyes)

    async def talk(client: TestClient[Any, Any]) -> None:
        assert (await (await client.get("/player.json")).json())["eyes"] == 2
        async with client.ws_connect("/frames") as viewer:
            for asked, shown, other in (
                ({}, left, right),
                ({"eye": "left"}, left, right),
                ({"eye": "right"}, right, left),
            ):
                await viewer.send_str(ask(**asked))
                _, picture = picture_of(await answered(viewer))
                assert psnr(picture, shown) > max(33, psnr(picture, other) + 3)
            await viewer.send_str(ask(eye="third"))
            assert "not a request" in (await answered(viewer))["error"]

    async def refused(client: TestClient[Any, Any]) -> None:
        assert (await (await client.get("/player.json")).json())["eyes"] == 1
        async with client.ws_connect("/frames") as viewer:
            await viewer.send_str(ask(eye="right"))
            assert "holds one eye, which is called left" in (await answered(viewer))["error"]

    served(tmp_path / "stereo.nerv360", talk)
    served(encoded, refused)


@pytest.mark.parametrize("draft", [False, True])
def test_a_view_is_that_of_the_decoder(encoded: Path, draft: bool) -> None:
    with nerv360.open(encoded) as decoder:
        expected = decoder.viewport(2, nerv360.Viewport(30, -10, 0, 78.1, 60, 32, 24), draft=draft)

    async def talk(client: TestClient[Any, Any]) -> None:
        async with client.ws_connect("/frames") as viewer:
            await viewer.send_str(ask(7, width=32, height=24, draft=draft))
            number, picture = picture_of(await answered(viewer))
        assert number == 7
        assert psnr(picture, expected) > 38  # what JPEG costs

    served(encoded, talk)


class Watcher:
    """Decodes a viewer's H.264 as it comes."""

    def __init__(self) -> None:
        self._decoder = av.VideoCodecContext.create("h264", "r")
        self._decoder.thread_count = 1

    def take(self, data: bytes) -> tuple[Kind, "np.ndarray[Any, np.dtype[np.uint8]]"]:
        """Every message is a picture, at once."""
        *_, kind = HEADER.unpack_from(data)
        (frame,) = self._decoder.decode(av.Packet(data[HEADER.size :]))
        return Kind(kind), frame.to_ndarray(format="rgb24", src_colorspace="itu709", dst_colorspace="itu709")


def test_a_drag_is_a_stream_of_h264(encoded: Path) -> None:
    """Its first picture is a key, and so is the first of another size, and after a JPEG."""
    sizes = [(96, 64)] * 4 + [(64, 48)] * 3
    views = [nerv360.Viewport(3 * yaw, 0, 0, 78.1, 60, *size) for yaw, size in enumerate(sizes)]
    with nerv360.open(encoded) as decoder:
        expected = [decoder.viewport(2, view) for view in views]

    async def talk(client: TestClient[Any, Any]) -> None:
        async with client.ws_connect("/frames") as viewer:

            async def shown(view: nerv360.Viewport, form: str) -> bytes:
                size = {"width": view.width, "height": view.height}
                await viewer.send_str(ask(yawDeg=view.yaw_deg, pitchDeg=0, **size, format=form))
                return await answered(viewer)

            watcher, kinds = Watcher(), []
            for view, picture in zip(views, expected, strict=True):
                kind, seen = watcher.take(await shown(view, "h264"))
                kinds.append(kind)
                assert psnr(seen, picture) > 30
            assert kinds == [Kind.KEY, *[Kind.DELTA] * 3, Kind.KEY, *[Kind.DELTA] * 2]
            assert psnr(picture_of(await shown(views[-1], "jpeg"))[1], expected[-1]) > 40
            assert Watcher().take(await shown(views[-1], "h264"))[0] == Kind.KEY

    served(encoded, talk)


@pytest.fixture
def viewers_made(monkeypatch: pytest.MonkeyPatch) -> "list[weakref.ref[Viewer]]":
    """All viewers so far, with their pictures: dead where nobody holds them."""
    made: list[weakref.ref[Viewer]] = []

    class Watched(Viewer):
        def __init__(self) -> None:
            super().__init__()
            made.append(weakref.ref(self))

    monkeypatch.setattr(viewers, "Viewer", Watched)
    return made


def test_viewers_have_streams_of_their_own_and_leave_none(
    encoded: Path, viewers_made: "list[weakref.ref[Viewer]]"
) -> None:
    async def watch(client: TestClient[Any, Any], number: int) -> None:
        watcher = Watcher()
        async with client.ws_connect("/frames") as viewer:
            for turn in range(3):
                await viewer.send_str(ask(yawDeg=40.0 * number + turn, format="h264"))
                kind, _ = watcher.take(await answered(viewer))
                assert kind == (Kind.DELTA if turn else Kind.KEY)

    async def talk(client: TestClient[Any, Any]) -> None:
        await asyncio.gather(*(watch(client, number) for number in range(20)))
        assert len(viewers_made) == 20
        await until(lambda: not any(each() for each in viewers_made))

    served(encoded, talk)


def test_the_page_and_the_file(encoded: Path) -> None:
    data = encoded.read_bytes()

    async def talk(client: TestClient[Any, Any]) -> None:
        page = await client.get("/")
        assert page.content_type == "text/html"
        assert page.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
        for script in ("page.js", "player/player.js"):
            assert (await client.get(f"/{script}")).content_type in ("text/javascript", "application/javascript")
        about = await (await client.get("/player.json")).json()
        assert (about["frames"], about["bytes"], about["server"]) == (6, len(data), "frames")
        part = await client.get("/video.nerv360", headers={"Range": "bytes=5-17"})
        assert part.status == 206
        assert await part.read() == data[5:18]
        assert (await client.get("/video.nerv360", headers={"Range": f"bytes={len(data)}-"})).status == 416

    served(encoded, talk)


PATHS = ["/../api.py", "/..%2fapi.py", "/player/../../api.py", "/player/%2e%2e/%2e%2e/api.py", "//etc/passwd"]
PATHS += ["/%2fetc%2fpasswd", "/player/", "/video.nerv360/../../errors.py", "/page.js%00.html", "/clip.nerv360"]


@pytest.mark.parametrize("path", PATHS)
def test_nothing_else_is_read(encoded: Path, path: str) -> None:
    async def talk(client: TestClient[Any, Any]) -> None:
        reader, writer = await asyncio.open_connection(client.host, client.port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()
        assert answer.split()[1] in (b"404", b"400"), answer[:200]

    served(encoded, talk)


BAD = ["", "{", "[]", "null", "1e999", '"x"', "\x00", ask(frame=-1), ask(frame="x"), ask(id=2**32), ask(width=1.5)]
BAD += [ask(width=0), ask(width=16384, height=16384), ask(frame=6), ask(pitchDeg=91), ask(hfovDeg=180), ask(more=1)]
BAD += [ask().replace("30.0", "NaN"), ask().replace("30.0", "1e400"), "[" * 900, json.dumps({"id": 1})]
BAD += [ask(draft=1), ask(format="png"), ask(format="h264", width=63), ask(format="h264", width=2048, height=2048)]
BAD += [ask(hfovDeg=1e-200, vfovDeg=1e-200), ask(hfovDeg=5e-324)]


def test_malformed_messages_are_answered_and_borne(encoded: Path) -> None:
    async def talk(client: TestClient[Any, Any]) -> None:
        async with client.ws_connect("/frames") as viewer:
            for text in BAD:
                await viewer.send_str(text)
                answer = await answered(viewer)
                assert answer["error"] and not answer["broken"], text
            await viewer.send_bytes(b"\xff" * 100)
            assert "error" in await answered(viewer)
            await viewer.send_str(ask(9))
            assert picture_of(await answered(viewer))[0] == 9
        async with client.ws_connect("/frames") as viewer:
            await viewer.send_str("x" * 5000)
            assert (await viewer.receive()).type == WSMsgType.CLOSE

    served(encoded, talk)


@pytest.mark.parametrize("form", ["jpeg", "h264"])
def test_the_newest_view_wins(encoded: Path, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 199 that arrive while the first one is decoded, the last is answered."""
    begun, all_sent = asyncio.Event(), asyncio.Event()

    async def talk(client: TestClient[Any, Any]) -> None:
        frames = client.server.app[SERVED].frames
        answer = frames.answer

        async def held(request: FrameRequest, viewer: Viewer) -> bytes:
            begun.set()
            await all_sent.wait()
            return await answer(request, viewer)

        monkeypatch.setattr(frames, "answer", held)
        async with client.ws_connect("/frames") as viewer:
            await viewer.send_str(ask(0, format=form))
            await begun.wait()
            for number in range(1, 200):
                await viewer.send_str(ask(number, yawDeg=float(number), format=form))
            await viewer.send_str("no request")
            assert "error" in await answered(viewer)  # all before it have been read
            all_sent.set()
            answers = [HEADER.unpack_from(await answered(viewer))[0] for _ in range(2)]
            assert answers == [0, 199]
            await viewer.send_str("no request")
            assert "error" in await answered(viewer)  # and no picture

    served(encoded, talk)


def test_fifty_viewers_and_those_who_vanish(
    encoded: Path, viewers_made: "list[weakref.ref[Viewer]]", monkeypatch: pytest.MonkeyPatch
) -> None:
    """All are answered; of 170 viewers, 100 of them gone without a word, nothing is held."""
    monkeypatch.setattr(viewers, "HEARTBEAT_S", None)  # else aiohttp holds who vanished until the next one

    async def watch(client: TestClient[Any, Any], number: int) -> None:
        async with client.ws_connect("/frames") as viewer:
            for frame in range(3):
                await viewer.send_str(ask(number, frame=frame))
                assert picture_of(await answered(viewer))[0] == number

    async def vanish(client: TestClient[Any, Any]) -> None:
        async with bare_viewer(client) as writer:
            for number in range(100):
                writer.write(bare_message(ask(number, format="h264")))
            await writer.drain()

    async def talk(client: TestClient[Any, Any]) -> None:
        await asyncio.gather(*(watch(client, number) for number in range(50)))
        watching = client.server.app[viewers.VIEWERS]
        await until(lambda: not watching)
        tasks = len(asyncio.all_tasks())
        with traced_bytes() as traced:
            for _ in range(2):
                await asyncio.gather(*(vanish(client) for _ in range(50)))
                await asyncio.gather(*(watch(client, number) for number in range(10)))
            await until(lambda: not watching and len(asyncio.all_tasks()) <= tasks)
            await until(lambda: not any(each() for each in viewers_made))
            gc.collect()
            assert traced()[0] < 1 << 20  # 0.26 MB measured

    served(encoded, talk)


def test_a_viewer_who_does_not_read_holds_one_picture(encoded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 200 pictures of 1 MB, those are made that fit the buffers between them, and no more."""
    unread: list[int] = []

    async def talk(client: TestClient[Any, Any]) -> None:
        frames = client.server.app[SERVED].frames
        answer = frames.answer

        async def large(request: FrameRequest, viewer: Viewer) -> bytes:
            if request.id == 1:
                return await answer(request, viewer)
            unread.append(request.id)
            return bytes(1 << 20)

        monkeypatch.setattr(frames, "answer", large)
        async with client.ws_connect("/frames") as other, bare_viewer(client) as writer:
            with traced_bytes() as traced:
                for number in range(2, 202):
                    writer.write(bare_message(ask(number)))
                    await other.send_str(ask(1))  # once it is answered, the server has seen to the other one too
                    picture_of(await answered(other))
                assert traced()[1] < 8 << 20  # 2.1 MB measured
            assert 2 in unread
            assert len(unread) < 100  # 4 measured

    served(encoded, talk)


def test_a_view_that_takes_long_does_not_hold_up_others(encoded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor do two; and viewers who are known to take long wait for one another, not others for them."""
    monkeypatch.setattr(lanes, "LONG_S", 0.01)
    viewport, begun, go_on = Decoder.viewport, threading.Semaphore(0), threading.Event()

    def held(self: Decoder, frame_index: int, view: Viewport, **how: Any) -> Picture:
        if frame_index == 0:
            begun.release()
            assert go_on.wait(HANG_SECONDS)
        return viewport(self, frame_index, view, **how)

    async def has_begun() -> None:
        await asyncio.to_thread(begun.acquire)

    async def another(client: TestClient[Any, Any]) -> None:
        async with client.ws_connect("/frames") as viewer:
            await viewer.send_str(ask(9))
            assert picture_of(await answered(viewer))[0] == 9

    monkeypatch.setattr(Decoder, "viewport", held)

    async def talk(client: TestClient[Any, Any]) -> None:
        slow = [await client.ws_connect("/frames") for _ in range(3)]
        try:
            for number in range(2):
                await slow[number].send_str(ask(number, frame=0))
                await has_begun()
            await another(client)
            go_on.set()
            for number in range(2):
                assert picture_of(await answered(slow[number]))[0] == number
            go_on.clear()
            for number in range(2):
                await slow[number].send_str(ask(number, frame=0))
            await has_begun()
            await slow[2].send_str(ask(2, frame=0))
            await has_begun()
            assert not begun.acquire(blocking=False)  # the second waits for the first
            await another(client)
        finally:
            go_on.set()
        for number in range(3):
            assert picture_of(await answered(slow[number]))[0] == number

    served(encoded, talk)


def test_other_sites_are_refused(encoded: Path) -> None:
    async def talk(client: TestClient[Any, Any]) -> None:
        assert (await client.get("/", headers={"Host": "evil.example:80"})).status == 403
        for origin in ("http://evil.example", "null"):
            with pytest.raises(WSServerHandshakeError) as refusal:
                await client.ws_connect("/frames", headers={"Origin": origin})
            assert refusal.value.status == 403

    served(encoded, talk)


def test_too_many_viewers_are_told(encoded: Path) -> None:
    async def talk(client: TestClient[Any, Any]) -> None:
        for _ in range(viewers.MAX_VIEWERS):
            await client.ws_connect("/frames")
        for _ in range(2 * viewers.MAX_VIEWERS):
            late = await client.ws_connect("/frames")
            farewell = await late.receive()
            assert (farewell.type, farewell.data) == (WSMsgType.CLOSE, WSCloseCode.TRY_AGAIN_LATER)
            assert farewell.extra == "64 viewers are watching."
        assert len(client.server.app[viewers.VIEWERS]) == viewers.MAX_VIEWERS

    served(encoded, talk)


def test_who_waits_hears_that_the_server_works(encoded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(viewers, "WORKING_S", 0.05)
    heard = asyncio.Event()

    def tellers() -> list[Any]:
        return [task for task in asyncio.all_tasks() if task.get_coro().__qualname__ == "_tell"]

    async def talk(client: TestClient[Any, Any]) -> None:
        frames = client.server.app[SERVED].frames
        answer = frames.answer

        async def late(request: FrameRequest, viewer: Viewer) -> bytes:
            await heard.wait()
            return await answer(request, viewer)

        monkeypatch.setattr(frames, "answer", late)
        async with client.ws_connect("/frames") as viewer:
            await viewer.send_str(ask(4))
            for _ in range(3):
                assert json.loads(await viewer.receive_str()) == {"id": 4, "working": True}
            assert len(tellers()) == 1
            heard.set()
            assert picture_of(await answered(viewer))[0] == 4
            await until(lambda: not tellers())  # no more of it

    served(encoded, talk)


def test_another_file_in_its_place(encoded: Path, tmp_path: Path) -> None:
    path, new = tmp_path / "a.nerv360", tmp_path / "new"
    path.write_bytes(encoded.read_bytes())

    def replace_by(data: bytes) -> None:
        new.write_bytes(data)
        new.replace(path)

    async def talk(client: TestClient[Any, Any]) -> None:
        before = await (await client.get("/player.json")).json()
        async with client.ws_connect("/frames") as viewer:
            await viewer.send_str(ask(1))
            picture_of(await answered(viewer))
            mux([encoded, encoded], new)
            new.replace(path)
            for name in ("video.nerv360", "network-0.onnx"):
                assert (await client.get(f"/{name}")).status == 409
            await viewer.send_str(ask(2))  # it has the old one open
            assert picture_of(await answered(viewer))[0] == 2
            after = await (await client.get("/player.json")).json()
            assert (before["frames"], after["frames"]) == (6, 12)
            assert before["checksum"] != after["checksum"]
            farewell = await viewer.receive()
            assert farewell.extra == "The video was replaced."
        assert await (await client.get("/video.nerv360")).read() == path.read_bytes()
        async with client.ws_connect("/frames") as viewer:
            await viewer.send_str(ask(3, frame=11))
            assert picture_of(await answered(viewer))[0] == 3
        replace_by(b"unfinished")
        for _ in range(2):
            assert (await client.get("/player.json")).status == 503
        replace_by(encoded.read_bytes())
        assert (await (await client.get("/player.json")).json())["frames"] == 6
        path.unlink()
        assert (await client.get("/player.json")).status == 503
        assert (await client.get("/video.nerv360")).status == 409

    served(path, talk)


def test_the_times_of_the_source(encoded: Path, video: Path, make_video: Callable[..., Path]) -> None:
    expected = [(frame + 0.5) * 1001 / 30000 for frame in range(6)]

    async def main() -> None:
        app = serving.create_app(encoded, source=video)
        async with TestClient(TestServer(app)) as client:
            assert (await (await client.get("/player.json")).json())["source"] == {
                "video": "source",
                "times": "source.json",
            }
            times = await (await client.get("/source.json")).json()
            assert times == pytest.approx(expected, abs=1e-4)
            assert await (await client.get("/source")).read() == video.read_bytes()

    asyncio.run(main())
    late = serving.create_app(encoded, source=make_video(frames=9), start=3)
    assert late[SERVED].times == pytest.approx([(frame + 3.5) * 1001 / 30000 for frame in range(6)], abs=1e-4)
    longer_and_larger = serving.create_app(encoded, source=make_video(width=120, height=60, frames=9))
    assert longer_and_larger[SERVED].times == pytest.approx(expected, abs=1e-4)


def test_damage_is_told_to_the_viewer(encoded: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.nerv360"
    path.write_bytes(encoded.read_bytes())

    async def main() -> None:
        app = serving.create_app(path)
        path.write_bytes(encoded.read_bytes()[:-20] + bytes(20))  # damaged after it was checked
        async with TestClient(TestServer(app)) as client, client.ws_connect("/frames") as viewer:
            await viewer.send_str(ask(frame=0))
            picture_of(await answered(viewer))
            await viewer.send_str(ask(frame=5))
            answer = await answered(viewer)
        assert answer["broken"]
        assert "checksum" in answer["error"]

    asyncio.run(main())


def play(*arguments: object) -> "AbstractContextManager[subprocess.Popen[str]]":
    command = [sys.executable, "-m", "nerv360", "play", "--no-browser", *map(str, arguments)]
    environment = os.environ | {"COLUMNS": "200", "PYTHONUNBUFFERED": "1"}
    return running(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)


def test_play_serves_until_it_is_interrupted(encoded: Path) -> None:
    with play(encoded, "--port", 0) as process:
        assert process.stdout is not None and process.stderr is not None
        address = process.stdout.readline().split(" at ")[1].split(";")[0]
        assert address.startswith("http://127.0.0.1:")

        async def look() -> None:
            async with ClientSession() as session, session.get(address) as page:
                assert "<nerv360-player" in await page.text()
            async with ClientSession() as session, session.ws_connect(address + "frames") as viewer:
                process.send_signal(signal.SIGINT)
                assert (await viewer.receive()).type in (WSMsgType.CLOSE, WSMsgType.CLOSED)

        asyncio.run(asyncio.wait_for(look(), HANG_SECONDS))
        assert process.wait() == 0
        assert process.stderr.read() == ""


def test_what_is_no_request_is_answered_and_told_to_nobody(encoded: Path) -> None:
    with play(encoded, "--port", 0) as process:
        assert process.stdout is not None and process.stderr is not None
        port = int(process.stdout.readline().split(" at ")[1].split(";")[0].rstrip("/").rpartition(":")[2])
        for nonsense in (
            b"\0\xff\r\n\r\n",
            b"GET / HTTP/9.x\r\n\r\n",
            b"GET / HTTP/1.1\r\nA" + b"a" * 99999 + b"\r\n\r\n",
        ):
            with socket.create_connection(("127.0.0.1", port)) as connection:
                connection.sendall(nonsense)
                assert connection.recv(12)[9:] == b"400"
        process.send_signal(signal.SIGINT)
        assert process.wait() == 0
        assert process.stderr.read() == ""


@pytest.mark.parametrize(
    "begun", [b"", b"GET / HTTP/1.1\r\nHost: localhost\r\n", b"GET /page.css HTTP/1.1\r\nHost: localhost\r\n\r\n"]
)
def test_who_asks_nothing_is_let_go(encoded: Path, begun: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a first request, within its headers, and behind the last."""
    monkeypatch.setattr(serving, "IDLE_S", 0.5)
    addresses: list[str] = []

    async def main() -> None:
        server = asyncio.create_task(serving.serve(encoded, "127.0.0.1", 0, addresses.append))
        while not addresses:
            await asyncio.sleep(0.01)
        port = int(addresses[0].rstrip("/").rpartition(":")[2])
        slow = [await asyncio.open_connection("127.0.0.1", port) for _ in range(20)]
        for _, writer in slow:
            writer.write(begun)
        for reader, writer in slow:
            await asyncio.wait_for(reader.read(), HANG_SECONDS)  # to its end
            writer.close()
        server.cancel()
        with suppress(asyncio.CancelledError):
            await server

    asyncio.run(main())


def test_with_a_certificate_play_speaks_https(encoded: Path, tmp_path: Path) -> None:
    authority, both, certificate, key = trustme.CA(), *(tmp_path / f"{name}.pem" for name in ("both", "cert", "key"))
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_and_cert_chain_pem.write_to_path(both)
    issued.cert_chain_pems[0].write_to_path(certificate)
    issued.private_key_pem.write_to_path(key)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)

    async def look(address: str) -> None:
        async with ClientSession(connector=TCPConnector(ssl=trusting)) as session:
            async with session.get(address) as page:
                assert "<nerv360-player" in await page.text()
            async with session.ws_connect(address + "frames", origin=address.rstrip("/")) as viewer:
                await viewer.send_str(ask())
                picture_of(await answered(viewer))

    for arguments in (("--certificate", both), ("--certificate", certificate, "--key", key)):
        with play(encoded, "--port", 0, *arguments) as process:
            assert process.stdout is not None
            address = process.stdout.readline().split(" at ")[1].split(";")[0]
            assert address.startswith("https://127.0.0.1:")
            asyncio.run(asyncio.wait_for(look(address), HANG_SECONDS))
            process.send_signal(signal.SIGINT)
            assert process.wait() == 0


def test_play_says_what_is_wrong_in_one_line(
    commands: Commands, encoded: Path, video: Path, make_video: Callable[..., Path], tmp_path: Path
) -> None:
    shapeless, short = make_video(width=128, height=72), make_video(frames=4)
    slow = tmp_path / "slow.mp4"
    cube = write_film(tmp_path / "cube.mp4", panoramas(6), sample_entry=spherical_box(b"cbmp"))
    write_frames(slow, Clip.open(video), Fraction(25), UNSPECIFIED_COLOUR)
    (tmp_path / "bad.nerv360").write_bytes(encoded.read_bytes()[:-9])
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        for arguments, message in (
            ((tmp_path / "bad.nerv360",), "truncated"),
            ((tmp_path / "none.nerv360",), "No such file"),
            ((encoded, "--port", taken.getsockname()[1]), "taken by another program"),
            ((encoded, "--host", "256.0.0.1"), "--host 256.0.0.1"),
            ((encoded, "--key", encoded), "give its certificate too"),
            ((encoded, "--start", 3), "give the video that was encoded too"),
            ((encoded, "--source", video, "--start", 3), "has 3 frames from --start 3 on, fewer than"),
            ((encoded, "--source", short), "has 4 frames from --start 0 on, fewer than"),
            ((encoded, "--source", shapeless), "is 128x72, another shape than"),
            ((encoded, "--source", cube), "cube.mp4: its pictures are no plain panoramas"),
            ((encoded, "--source", slow), "slow.mp4: has 25 frames/s"),
        ):
            result = commands("play", "--no-browser", *arguments)
            assert result.returncode == 2
            assert result.stderr.count("\n") == 1
            assert message in result.stderr


def test_a_certificate_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    issued = trustme.CA().issue_cert("localhost")
    certificate, locked, text, missing = (tmp_path / name for name in ("certificate", "locked", "text", "missing"))
    issued.cert_chain_pems[0].write_to_path(certificate)
    key = load_pem_private_key(issued.private_key_pem.bytes(), None)
    secret = BestAvailableEncryption(b"secret")
    locked.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, secret))
    text.write_text("no certificate")
    for files, message in (
        ((missing,), "missing: no such file"),
        ((certificate, missing), "missing: no such file"),
        ((text,), "a certificate and its key are needed"),
        ((certificate,), "a certificate and its key are needed"),
        ((certificate, locked), "the key without a password"),
        ((tmp_path,), "a certificate and its key are needed"),
    ):
        with pytest.raises(ArgumentError, match=message):
            serving.tls(*files)
