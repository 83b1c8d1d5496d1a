"""The WebSockets of viewers: requests in, pictures out.

A viewer has at most one view waiting: a newer one takes its place. So one who asks faster than views can be decoded, or
reads slower, holds one request, one answer and one encoder in memory, and no more.
"""

import asyncio
import json
import logging
from contextlib import suppress

import msgspec
from aiohttp import WSCloseCode, WSMsgType, web
from aiohttp.web_request import Request
from aiohttp.web_response import StreamResponse

from nerv360.errors import BitstreamError, Nerv360Error
from nerv360.serving.frames import FrameRequest, Frames
from nerv360.serving.lanes import Viewer
from nerv360.serving.served import SERVED

__all__ = ["MAX_VIEWERS", "SHUTDOWN_S", "VIEWERS", "say_goodbye", "serve_viewer"]

MAX_VIEWERS = 64
MAX_MESSAGE = 1024  # bytes
HEARTBEAT_S = 15.0
SHUTDOWN_S = 1.0
WORKING_S = 3.0  # after which a viewer who waits is told that the server works on it
VIEWERS = web.AppKey("viewers", set[web.WebSocketResponse])


async def serve_viewer(request: Request) -> StreamResponse:
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
    """Take requests until the viewer leaves; only the newest is waiting."""
    waiting: asyncio.Queue[FrameRequest] = asyncio.Queue()
    answering = asyncio.create_task(_answer(socket, frames, waiting))
    try:
        async for message in socket:
            if message.type != WSMsgType.TEXT:
                await _refuse(socket, "a request is a JSON object")
                continue
            try:
                request = msgspec.json.decode(message.data, type=FrameRequest)
            except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
                await _refuse(socket, f"not a request: {error}")
                continue
            if not waiting.empty():
                waiting.get_nowait()
            waiting.put_nowait(request)
            if answering.done():
                break
    except ConnectionError:
        pass
    finally:
        answering.cancel()
        await asyncio.gather(answering, return_exceptions=True)


async def _answer(socket: web.WebSocketResponse, frames: Frames, waiting: asyncio.Queue[FrameRequest]) -> None:
    """Answer requests, one after the other."""
    viewer = Viewer()
    while True:
        request = await waiting.get()
        telling = asyncio.create_task(_tell(socket, request.id))
        try:
            await socket.send_bytes(await frames.answer(request, viewer))
        except Nerv360Error as error:
            await _refuse(socket, str(error), request.id, broken=isinstance(error, BitstreamError))
        except ConnectionError:
            raise
        except Exception:  # a fault of ours must not leave the viewer waiting
            logging.exception("frame %d could not be decoded", request.frame)
            await _refuse(socket, "the server failed to decode this view", request.id)
        finally:
            telling.cancel()


async def _tell(socket: web.WebSocketResponse, number: int) -> None:
    """Every few seconds, that a request is worked on: who hears nothing takes the server for gone."""
    with suppress(ConnectionError):
        while True:
            await asyncio.sleep(WORKING_S)
            await socket.send_str(json.dumps({"id": number, "working": True}))


async def _refuse(socket: web.WebSocketResponse, why: str, number: int | None = None, broken: bool = False) -> None:
    await socket.send_str(json.dumps({"id": number, "error": why, "broken": broken}))


async def say_goodbye(app: web.Application, why: str) -> None:
    """Close the sockets of all viewers."""
    leaving = (socket.close(code=WSCloseCode.GOING_AWAY, message=why.encode()) for socket in app[VIEWERS].copy())
    await asyncio.gather(*leaving)
