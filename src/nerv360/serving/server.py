"""A small HTTP server for one .nerv360 file: the page, the file, and its frames for any number of viewers."""

import asyncio
import errno
import logging
import signal
import ssl
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_request import Request
from aiohttp.web_response import StreamResponse

from nerv360.errors import ArgumentError, Nerv360Error
from nerv360.serving.served import SERVED, SOURCE, TIMES, Served
from nerv360.serving.site import VIDEO, page_files
from nerv360.serving.viewers import SHUTDOWN_S, VIEWERS, say_goodbye, serve_viewer
from nerv360.storage import Location, open_file, parse_location

__all__ = ["create_app", "serve", "tls"]

IDLE_S = 20.0  # that a connection may take for its next request, from when it begins to its last header
MAX_PART = 1 << 24  # bytes that are read at once of a file in parts
LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
RELOADING = web.AppKey("reloading", asyncio.Lock)
HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",  # these two let the page use threads
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cache-Control": "no-cache",
    "X-Content-Type-Options": "nosniff",
}

Handler = Callable[[Request], Awaitable[StreamResponse]]


def create_app(
    path: Location,
    *,
    source: Path | None = None,
    start: int = 0,
    loopback: bool = True,
    max_memory: int | None = None,  # bytes that decoding may take
    captions: Sequence[Path] = (),  # WebVTT
) -> web.Application:
    """The application that serves a file, and its source video, of which frame `start` is the file's first.

    With `loopback`, it answers only to names of this machine. Browsers decode by themselves where the file lies here,
    and not in parts. A file that replaces it is loaded when a page next asks for the manifest.

    Raises BitstreamError where the file cannot be read, ArgumentError or VideoError for a source of another video,
    ArgumentError for captions that are no WebVTT.
    """
    app = web.Application(middlewares=[_own_names] if loopback else [])
    app[SERVED] = Served(parse_location(path), source, start, max_memory, captions)
    app[VIEWERS] = set()
    app[RELOADING] = asyncio.Lock()
    app.router.add_get("/player.json", _player_json)
    app.router.add_get(f"/{VIDEO}", _video)
    app.router.add_get(r"/network-{index:\d{1,6}}.onnx", _network)
    app.router.add_get(f"/{TIMES}", _times)
    app.router.add_get("/frames", serve_viewer)
    files = page_files() | app[SERVED].captions | ({SOURCE: source} if source else {})
    for name, file in files.items():
        app.router.add_get("/" if name == "index.html" else f"/{name}", _file_handler(file))
    app.on_response_prepare.append(_add_headers)
    app.on_startup.append(_warm_up)
    app.on_shutdown.append(_end)
    app.on_cleanup.append(_close)
    return app


async def _player_json(request: Request) -> StreamResponse:
    """The manifest; a file that replaced the one before is loaded first."""
    served = request.app[SERVED]
    async with request.app[RELOADING]:
        if served.replaced():
            before = served.frames
            try:
                await asyncio.to_thread(served.reload)
            except Nerv360Error as error:
                raise web.HTTPServiceUnavailable(text=f"{error}\n") from None
            served.frames.warm_up()
            await say_goodbye(request.app, "The video was replaced.")
            await asyncio.to_thread(before.close)
    return web.json_response(served.about)


def _unchanged(request: Request) -> Served:
    """The served file, if it is the one of the manifest."""
    if request.app[SERVED].replaced():
        raise web.HTTPConflict(text="another video is in its place\n")
    return request.app[SERVED]


async def _video(request: Request) -> StreamResponse:
    served = _unchanged(request)
    if served.whole and isinstance(served.path, Path):
        return web.FileResponse(served.path)
    if not served.about["sound"]:
        raise web.HTTPNotFound
    return await _part(request, served)


async def _part(request: Request, served: Served) -> StreamResponse:
    """A range of a file that lies elsewhere, or in parts: pages take its sound from it."""
    try:
        span = request.http_range
    except ValueError:
        raise web.HTTPRequestRangeNotSatisfiable from None
    if span.start is None or span.stop is None or not 0 <= span.start < span.stop <= span.start + MAX_PART:
        raise web.HTTPRequestRangeNotSatisfiable
    try:
        data, size = await asyncio.to_thread(served.read, span.start, span.stop)
    except Nerv360Error as error:
        raise web.HTTPServiceUnavailable(text=f"{error}\n") from None
    if not data:
        raise web.HTTPRequestRangeNotSatisfiable
    about = {"Content-Range": f"bytes {span.start}-{span.start + len(data) - 1}/{size}"}
    return web.Response(status=206, body=data, headers=about, content_type="application/octet-stream")


async def _network(request: Request) -> StreamResponse:
    served = _unchanged(request)
    index = int(request.match_info["index"])
    if index >= len(served.networks) or not served.networks[index]:
        raise web.HTTPNotFound
    try:
        graph = await served.frames.network(index)
    except Nerv360Error as error:
        raise web.HTTPUnprocessableEntity(text=f"{error}\n") from None
    return web.Response(body=graph, content_type="application/octet-stream")


async def _times(request: Request) -> StreamResponse:
    return web.json_response(request.app[SERVED].times)


def tls(certificate: Path, key: Path | None = None) -> ssl.SSLContext:
    """What `serve` needs for https: a certificate chain and its key, PEM, the key in the same file or in another.

    Raises ArgumentError where they cannot be read, do not fit, or the key has a password.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        for each in filter(None, (certificate, key)):
            open_file(each).close()  # a pipe would be waited for
        context.load_cert_chain(certificate, key, password="")  # without one, OpenSSL would ask at the terminal
    except FileNotFoundError as error:
        raise ArgumentError(f"{error.filename}: no such file") from None
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
    max_memory: int | None = None,
    captions: Sequence[Path] = (),
) -> None:
    """Serve until Ctrl-C, by https: with a `context`. `started` is called with the page's address.

    Raises ArgumentError where the address cannot be had.
    """
    loopback = host in ("localhost", "127.0.0.1", "::1")
    app = create_app(path, source=source, start=start, loopback=loopback, max_memory=max_memory, captions=captions)
    logger = logging.getLogger(__name__)
    logger.addFilter(_is_ours)
    runner = web.AppRunner(app, access_log=None, logger=logger, keepalive_timeout=IDLE_S, shutdown_timeout=SHUTDOWN_S)
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


def _is_ours(record: logging.LogRecord) -> bool:
    """Whether a fault is the server's, and not that of a client whose request is none: it is answered with 400."""
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


def _why_not(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"--port {port}: taken by another program; give another, or 0 for any that is free"
    if error.errno == errno.EACCES:
        return f"--port {port}: not allowed for this user; give one above 1023"
    return f"--host {host}: cannot be listened on: {error.strerror or error}"


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


async def _end(app: web.Application) -> None:
    await say_goodbye(app, "The server has ended.")


async def _warm_up(app: web.Application) -> None:
    app[SERVED].frames.warm_up()


async def _close(app: web.Application) -> None:
    await asyncio.to_thread(app[SERVED].frames.close)
