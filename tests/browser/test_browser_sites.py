"""Static sites, from servers of every kind."""

import asyncio
import os
import re
import shutil
import socket
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from helpers.browser import (
    INSIDE,
    LEAST_DB,
    WAITING,
    Page,
    Server,
    canvas_db,
    quality_db,
    serving_app,
    settled,
    static_app,
    wait_until,
)
from helpers.processes import running, wait_for

import nerv360
from nerv360.codec.mux import mux
from nerv360.serving import server as serving
from nerv360.serving.site import PAGE, export_site

pytestmark = pytest.mark.browser


def test_a_static_site_plays_by_ranges(clip: Path, new_page: Callable[..., Page], tmp_path: Path) -> None:
    export_site(clip, tmp_path / "site")
    requests: list[tuple[str, str | None, int, int]] = []
    with serving_app(lambda: static_app(tmp_path / "site", requests)) as server:
        page = new_page()
        page.on("request", lambda request: outside.append(request.url) if server.address not in request.url else None)
        outside: list[str] = []
        page.goto(server.address)
        settled(page)
        assert page.evaluate("[player.backend, crossOriginIsolated]") == ["webgl", True]
        assert quality_db(page, clip) > LEAST_DB
        page.wait_for_load_state("networkidle")
        read = [(span, status, length) for path, span, status, length in requests if path == "/video.nerv360"]
        assert all(status in (206, 304) and span for span, status, _ in read), read
        assert sum(length for *_, length in read) < clip.stat().st_size  # not all of it yet
        page.wait_for_function("player.buffered.length === 1 && player.buffered[0].start === 0")
        assert 0 < page.evaluate("player.buffered[0].end / player.duration") < 0.9
        assert "gradient" in page.locator("#seek").evaluate("seek => seek.style.getPropertyValue('--buffered')")
        assert not [url for url in outside if not url.startswith(("blob:", "data:"))]

        server.stop()  # in mid-play
        page.evaluate("player.seek(1.3)")
        page.wait_for_selector("body.gone #screen", state="visible")
        assert page.get_by_role("heading", name=WAITING).is_visible()
        server.start()
        settled(page)
        page.wait_for_selector("#screen", state="hidden")
        assert quality_db(page, clip) > LEAST_DB
        page.wait_for_function("player.buffered.at(-1).end > 1.3")


def test_an_embedded_site_shows_its_poster_while_it_loads(
    motion_clip: Path, new_page: Callable[..., Page], tmp_path: Path
) -> None:
    export_site(motion_clip, tmp_path / "site")
    with serving_app(lambda: static_app(tmp_path / "site", [])) as server:
        page = new_page()
        held: list[Any] | None = []
        page.route("**/*.nerv360", lambda route: route.continue_() if held is None else held.append(route))
        page.goto(f"{server.address}?embed")
        page.wait_for_function(f"{INSIDE}.getElementById('poster').naturalWidth > 0")
        assert page.locator("#poster").is_visible()
        assert not page.locator("#screen").is_visible()
        waiting, held = held, None
        for route in waiting:
            route.continue_()
        settled(page)
        assert not page.locator("#poster").is_visible()


NGINX = """
daemon off;
master_process off;
pid {folder}/pid;
error_log stderr;
{user}
events {{}}
http {{
    include /etc/nginx/mime.types;
    default_type application/octet-stream;
    sendfile on;
    gzip on;
    access_log off;
    server {{
        listen 127.0.0.1:{port};
        root {folder}/root;
    }}
}}
"""  # but for places and the port, the configuration that Debian's package brings


def nginx(folder: Path, port: int) -> list[str]:
    program = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
    if program is None:
        pytest.skip("nginx is not installed: apt-get install nginx")
    user = "user root;" if os.geteuid() == 0 else ""  # else www-data, who may not read the folder
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=port, user=user))
    return [program, "-p", str(folder), "-c", str(folder / "nginx.conf")]


def http_server(folder: Path, port: int) -> list[str]:
    return [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "-d", str(folder / "root"), str(port)]


def answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize(("file", "backend"), [("clip", "webgl"), ("encoded", "wasm"), ("motion_clip", "wasm")])
@pytest.mark.parametrize("host", [nginx, pytest.param(http_server, marks=pytest.mark.slow)])
def test_a_static_site_plays_from_a_stock_server_below_its_root(
    file: str,
    backend: str,
    new_page: Callable[..., Page],
    tmp_path: Path,
    host: Callable[[Path, int], list[str]],
    request: pytest.FixtureRequest,
) -> None:
    clip: Path = request.getfixturevalue(file)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = host(tmp_path, port)
    (tmp_path / "root" / "videos").mkdir(parents=True)
    export_site(clip, tmp_path / "root" / "videos" / "clip")
    with running(command):
        wait_for(lambda: answers(port))
        page = new_page()
        page.goto(f"http://127.0.0.1:{port}/videos/clip/#yaw=170&pitch=-20&t=0.5")
        settled(page)
        assert page.evaluate("[player.backend, crossOriginIsolated]") == [backend, False]
        assert quality_db(page, clip) > LEAST_DB
        page.evaluate("player.seek(0.16)")
        assert quality_db(page, clip) > LEAST_DB


@pytest.mark.parametrize("declared", [False, True])
def test_a_ring_shows_how_much_of_the_decoder_has_come(
    clip: Path, new_page: Callable[..., Page], declared: bool
) -> None:
    """And runs round where that is unknown: a server that declares the compression tells the compressed length."""
    goes_on = threading.Event()

    async def half(request: web.Request) -> web.StreamResponse:
        data = (PAGE / request.path[1:]).read_bytes()
        response = web.StreamResponse(headers={"Content-Encoding": "gzip"} if declared else {})
        response.content_length = len(data)
        await response.prepare(request)
        await response.write(data[: len(data) // 2])
        while not goes_on.is_set():
            await asyncio.sleep(0.02)
        await response.write(data[len(data) // 2 :])
        return response

    def application() -> web.Application:
        @web.middleware
        async def slow(
            request: web.Request, handler: Callable[..., Awaitable[web.StreamResponse]]
        ) -> web.StreamResponse:
            return await (half if request.path.endswith(".wasm.gz") else handler)(request)

        app = serving.create_app(clip)
        app.middlewares.append(slow)
        return app

    with serving_app(application) as server:
        page = new_page()
        page.goto(f"{server.address}?backend=wasm")
        ring = page.get_by_role("progressbar", name="Loading the decoder")
        ring.wait_for()
        assert page.evaluate("player.rough")
        if declared:
            page.wait_for_function("player.progress.received > 1e6")
            assert ring.get_attribute("aria-valuenow") is None
        else:
            page.wait_for_function("document.getElementById('progress').ariaValueNow === '50'")
        goes_on.set()
        assert quality_db(page, clip) > LEAST_DB
        assert not ring.is_visible()


def test_two_segments_are_one_video(clip: Path, two_segments: Path, new_page: Callable[..., Page]) -> None:
    with serving_app(lambda: serving.create_app(two_segments)) as server:
        page = new_page()
        requests: list[str] = []
        page.context.on("request", lambda request: requests.append(request.url.rpartition("/")[2]))
        page.goto(server.address + "?backend=wasm")
        assert quality_db(page, two_segments) > LEAST_DB
        with nerv360.open(clip) as decoder:
            first, rate = decoder.frames, float(decoder.frame_rate)
        assert "network-1.onnx" not in requests
        page.evaluate(f"player.seek({(first - 1) / rate})")  # the last frame of the first segment
        settled(page)
        wait_until(page, lambda: "network-1.onnx" in requests)  # made ready ahead
        for frame in (first, 2 * first - 1, first - 1):
            page.evaluate(f"player.seek({frame / rate})")
            settled(page)
            assert page.evaluate("player.frame") == frame
            assert quality_db(page, two_segments) > LEAST_DB


def test_a_loop_over_many_segments_fetches_their_graphs_once(
    clip: Path, two_segments: Path, new_page: Callable[..., Page], tmp_path: Path
) -> None:
    path = tmp_path / "three.nerv360"
    mux([clip, two_segments.with_name("other.nerv360"), clip], path)
    with serving_app(lambda: serving.create_app(path)) as server:
        page = new_page()
        fetched: list[str] = []
        page.context.on("request", lambda request: fetched.append(request.url.rpartition("/")[2]))
        page.goto(server.address + "?backend=wasm")
        settled(page)
        for frame in (50, 90, 10):
            page.evaluate(f"player.seek({frame} / player.manifest.frameRate)")
            assert quality_db(page, path) > LEAST_DB
        assert [fetched.count(f"network-{index}.onnx") for index in range(3)] == [1, 1, 1]


def test_the_page_asks_for_nothing_that_is_not_there(play_server: Server, new_page: Callable[..., Page]) -> None:
    page = new_page()
    missing: list[str] = []
    page.on("response", lambda response: missing.append(response.url) if response.status >= 400 else None)
    page.goto(f"{play_server.address}?backend=wasm")
    settled(page)
    assert not missing
    assert re.fullmatch(r".* · nerv360", page.title())


@pytest.mark.parametrize(
    ("backend", "policy"),
    [
        ("server", "default-src 'self'"),
        ("wasm", "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'"),
        ("webgl", "default-src 'self'"),
    ],
)
def test_a_content_security_policy_is_kept(
    clip: Path, new_page: Callable[..., Page], backend: str, policy: str
) -> None:
    async def restrict(_: web.Request, response: web.StreamResponse) -> None:
        response.headers["Content-Security-Policy"] = policy

    def application() -> web.Application:
        app = serving.create_app(clip)
        app.on_response_prepare.append(restrict)
        return app

    with serving_app(application) as server:
        page = new_page()
        refused: list[str] = []
        page.on("console", lambda message: refused.append(message.text) if "Security" in message.text else None)
        page.goto(f"{server.address}?backend={backend}")
        wait_until(
            page, lambda: page.evaluate("Boolean(window.player?.settled)")
        )  # the policy forbids wait_for_function
        assert page.evaluate("player.backend") == backend
        assert canvas_db(page, clip) > LEAST_DB
        assert not refused


def test_a_site_that_is_opened_as_a_file_says_that_it_needs_a_server(
    clip: Path, new_page: Callable[..., Page], tmp_path: Path
) -> None:
    export_site(clip, tmp_path / "site")
    page = new_page()
    page.goto((tmp_path / "site" / "index.html").as_uri())
    page.get_by_role("heading", name="This page needs a web server").wait_for()
    assert "python -m http.server" in page.locator("#screen-text").inner_text()
