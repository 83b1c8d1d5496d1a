"""A small HTTP server for one .nerv360 file: the page, the file, and its frames for any number of viewers.

Every viewer has a WebSocket and at most one view waiting: a newer one takes its place. So a viewer who asks faster than
views can be decoded, or reads slower, holds one request, one answer and one encoder in memory, and no more.
"""

import asyncio
import errno
import json
import logging
import signal
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path

import msgspec
from aiohttp import WSCloseCode, WSMsgType, web
from aiohttp.web_request import Request
from aiohttp.web_response import StreamResponse

from nerv360.bitstream.container import Container
from nerv360.bitstream.pieces import MANIFEST_ENDING
from nerv360.errors import ArgumentError, BitstreamError, Nerv360Error
from nerv360.serving.frames import FrameRequest, Frames
from nerv360.serving.pictures import Pictures
from nerv360.serving.site import VIDEO, manifest, network_names, page_files
from nerv360.storage import Location, parse_location
from nerv360.video.clip import Clip

__all__ = ["create_app", "serve", "tls"]

MAX_VIEWERS = 64
MAX_MESSAGE = 1024  # bytes
HEARTBEAT_S = 15.0
SHUTDOWN_S = 1.0
WORKING_S = 3.0  # after which a viewer who waits is told that the server works on it
SOURCE, TIMES = "source", "source.json"
RATES_DIFFER = 0.03  # of the file and its source, in frames per second: where times are uneven, an average
LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",  # these two let the page use threads
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cache-Control": "no-cache",
    "X-Content-Type-Options": "nosniff",
}
VIEWERS = web.AppKey("viewers", set[web.WebSocketResponse])

Handler = Callable[[Request], Awaitable[StreamResponse]]


class Served:
    """A file, its frames, and what is told about it: of the one that was there when it was last taken up."""

    def __init__(self, path: Location, source: Path | None, start: int) -> None:
        self._path, self._source, self._start = path, source, start
        self.whole = isinstance(path, Path) and not path.name.endswith(MANIFEST_ENDING)
        self.take_up()

    def take_up(self) -> None:
        """Raises BitstreamError where the file cannot be read, ArgumentError or VideoError for another's source."""
        stamp = _stamp(self._path)
        with Container(self._path) as container:
            container.verify()
            networks = network_names(container) if self.whole and find_spec("onnx") else None
            times = _times(container, self._source, self._start) if self._source else []
            original = {"video": SOURCE, "times": TIMES} if self._source else None
            about = manifest(container, server="frames", networks=networks, source=original)
        self._stamp, self.networks, self.times, self.about = stamp, networks, times, about
        self.frames = Frames(self._path)

    def replaced(self) -> bool:
        """Whether another file is in its place."""
        return _stamp(self._path) != self._stamp


SERVED = web.AppKey("served", Served)


def create_app(path: Location, *, source: Path | None = None, start: int = 0, loopback: bool = True) -> web.Application:
    """The application that serves a file, and its source video, of which frame `start` is the file's first.

    With `loopback`, it answers only to names of this machine. Browsers decode by themselves where the file lies here,
    and not in parts. A file that takes its place is taken up when a page next asks what it plays.

    Raises BitstreamError where the file cannot be read, ArgumentError or VideoError for a source of another video.
    """
    path = parse_location(path)
    app = web.Application(middlewares=[_own_names] if loopback else [])
    served = app[SERVED] = Served(path, source, start)
    app.on_startup.append(_warm_up)
    app[VIEWERS] = set()
    taking_up = asyncio.Lock()

    async def player_json(_: Request) -> StreamResponse:
        async with taking_up:
            if served.replaced():
                before = served.frames
                try:
                    await asyncio.to_thread(served.take_up)
                except Nerv360Error as error:
                    raise web.HTTPServiceUnavailable(text=f"{error}\n") from None
                served.frames.warm_up()
                await _say_goodbye(app, "The video was replaced.")
                await asyncio.to_thread(before.close)
        return web.json_response(served.about)

    def check_unchanged() -> None:
        if served.replaced():
            raise web.HTTPConflict(text="another video is in its place\n")

    async def video(_: Request) -> StreamResponse:
        check_unchanged()
        if not served.whole:
            raise web.HTTPNotFound
        return web.FileResponse(path)

    async def network(request: Request) -> StreamResponse:
        check_unchanged()
        index = int(request.match_info["index"])
        if index >= len(served.networks or ()):
            raise web.HTTPNotFound
        try:
            graph = await served.frames.network(index)
        except Nerv360Error as error:
            raise web.HTTPUnprocessableEntity(text=f"{error}\n") from None
        return web.Response(body=graph, content_type="application/octet-stream")

    async def times(_: Request) -> StreamResponse:
        return web.json_response(served.times)

    app.router.add_get("/player.json", player_json)
    app.router.add_get(f"/{VIDEO}", video)
    app.router.add_get(r"/network-{index:\d{1,6}}.onnx", network)
    app.router.add_get(f"/{TIMES}", times)
    app.router.add_get("/frames", _viewer)
    files = page_files() | ({SOURCE: source} if source else {})
    for name, file in files.items():
        app.router.add_get("/" if name == "index.html" else f"/{name}", _file_handler(file))
    app.on_response_prepare.append(_add_headers)
    app.on_shutdown.append(_end)
    app.on_cleanup.append(_close)
    return app


def _stamp(path: Location) -> tuple[int, ...] | None:
    """What changes with a file on this machine; None where there is none."""
    with suppress(OSError):
        if isinstance(path, Path):
            status = path.stat()
            return status.st_ino, status.st_size, status.st_mtime_ns
    return None


def _times(container: Container, source: Path, start: int) -> list[float]:
    """The middle of every frame of the file, in seconds of its source, whose frame `start` is the first."""
    header = container.header
    clip = Clip.open(source, start=start, frames=header.frames, size=(header.width, header.height))
    rate = Fraction(header.rate_numerator, header.rate_denominator)
    if abs(clip.frame_rate / rate - 1) > RATES_DIFFER:
        raise ArgumentError(
            f"--source {source}: has {float(clip.frame_rate):g} frames/s, and {container.path} {float(rate):g}: "
            "give the video that was encoded"
        )
    return [round(seconds, 5) for seconds in clip.middles()]


def tls(certificate: Path, key: Path | None = None) -> ssl.SSLContext:
    """What `serve` needs for https: a certificate chain and its key, PEM, the key in the same file or in another.

    Raises ArgumentError where they cannot be read, do not fit, or the key has a password.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key, password="")  # without one, OpenSSL would ask at the terminal
    except FileNotFoundError:
        missing = next(file for file in (certificate, key) if file is not None and not file.exists())
        raise ArgumentError(f"{missing}: no such file") from None
    except OSError as error:  # ssl.SSLError is one
        what = f"--certificate {certificate}" + (f" --key {key}" if key else "")
        why = "a certificate and its key are needed, in PEM, the key without a password"
        raise ArgumentError(f"{what}: {why} ({error.strerror or error})") from None
    return context


async def serve(
    path: Location,
    host: str,
    port: int,
    started: Callable[[str], None],
    *,
    source: Path | None = None,
    start: int = 0,
    context: ssl.SSLContext | None = None,
) -> None:
    """Serve until Ctrl-C, by https: with a `context`. `started` is called with the page's address.

    Raises ArgumentError where the address cannot be had.
    """
    app = create_app(path, source=source, start=start, loopback=host in ("localhost", "127.0.0.1", "::1"))
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_S)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port, ssl_context=context).start()
        except OSError as error:
            raise ArgumentError(_why_not(host, port, error)) from None
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        everywhere = host in ("0.0.0.0", "::")  # browsers give threads to a page of localhost
        name = "localhost" if everywhere else f"[{host}]" if ":" in host else host
        started(f"{'https' if context else 'http'}://{name}:{runner.addresses[0][1]}/")
        await stop.wait()
    finally:
        await runner.cleanup()


def _why_not(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"--port {port}: taken by another program; give another, or 0 for any that is free"
    if error.errno == errno.EACCES:
        return f"--port {port}: not allowed for this user; give one above 1023"
    return f"--host {host}: cannot be listened on: {error.strerror or error}"


async def _viewer(request: Request) -> StreamResponse:
    """A viewer's WebSocket: requests in, pictures out."""
    app = request.app
    origin = request.headers.get("Origin")
    if origin is not None and origin.partition("://")[2] != request.host:
        raise web.HTTPForbidden(text="frames are for the page of this server only\n")
    socket = web.WebSocketResponse(heartbeat=HEARTBEAT_S, max_msg_size=MAX_MESSAGE, compress=False, timeout=SHUTDOWN_S)
    if len(app[VIEWERS]) >= MAX_VIEWERS:
        await socket.prepare(request)  # a browser does not pass on what a refusal says
        await socket.close(code=WSCloseCode.TRY_AGAIN_LATER, message=f"{MAX_VIEWERS} viewers are watching.".encode())
        return socket
    app[VIEWERS].add(socket)
    try:
        await socket.prepare(request)
        await _talk(socket, app[SERVED].frames)
    finally:
        app[VIEWERS].discard(socket)
    return socket


async def _talk(socket: web.WebSocketResponse, frames: Frames) -> None:
    waiting: FrameRequest | None = None
    pictures = Pictures()
    arrived = asyncio.Event()

    async def answer() -> None:
        nonlocal waiting
        while True:
            await arrived.wait()
            arrived.clear()
            newest, waiting = waiting, None
            if newest is None:
                continue
            telling = asyncio.create_task(_tell(socket, newest.id))
            try:
                await socket.send_bytes(await frames.answer(newest, pictures))
            except Nerv360Error as error:
                await _refuse(socket, str(error), newest.id, broken=isinstance(error, BitstreamError))
            except ConnectionError:
                raise
            except Exception:  # a fault of ours must not leave the viewer waiting
                logging.exception("frame %d could not be decoded", newest.frame)
                await _refuse(socket, "the server failed to decode this view", newest.id)
            finally:
                telling.cancel()

    answering = asyncio.create_task(answer())
    try:
        async for message in socket:
            if message.type != WSMsgType.TEXT:
                await _refuse(socket, "a request is a JSON object")
                continue
            try:
                waiting = msgspec.json.decode(message.data, type=FrameRequest)
            except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
                await _refuse(socket, f"not a request: {error}")
                continue
            arrived.set()
            if answering.done():
                break
    except ConnectionError:
        pass
    finally:
        answering.cancel()
        await asyncio.gather(answering, return_exceptions=True)


async def _tell(socket: web.WebSocketResponse, number: int) -> None:
    """Every few seconds, that a request is worked on: who hears nothing takes the server for gone."""
    with suppress(ConnectionError):
        while True:
            await asyncio.sleep(WORKING_S)
            await socket.send_str(json.dumps({"id": number, "working": True}))


async def _refuse(socket: web.WebSocketResponse, why: str, number: int | None = None, broken: bool = False) -> None:
    await socket.send_str(json.dumps({"id": number, "error": why, "broken": broken}))


@web.middleware
async def _own_names(request: Request, handler: Handler) -> StreamResponse:
    """Another site's name that points at this machine is not answered."""
    name, _, port = request.host.rpartition(":")
    if (name if port.isdigit() and name else request.host) not in LOOPBACK:
        raise web.HTTPForbidden(text="this server answers to localhost only\n")
    return await handler(request)


def _file_handler(file: Path) -> Handler:
    async def handler(_: Request) -> StreamResponse:
        return web.FileResponse(file)

    return handler


async def _add_headers(_: Request, response: StreamResponse) -> None:
    response.headers.update(HEADERS)


async def _say_goodbye(app: web.Application, why: str) -> None:
    leaving = (socket.close(code=WSCloseCode.GOING_AWAY, message=why.encode()) for socket in app[VIEWERS].copy())
    await asyncio.gather(*leaving)


async def _end(app: web.Application) -> None:
    await _say_goodbye(app, "The server has ended.")


async def _warm_up(app: web.Application) -> None:
    app[SERVED].frames.warm_up()


async def _close(app: web.Application) -> None:
    await asyncio.to_thread(app[SERVED].frames.close)
