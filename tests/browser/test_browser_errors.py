"""What fails has a screen, and is tried again."""

import asyncio
import re
import shutil
from collections.abc import Callable
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
    quality_db,
    serving_app,
    settled,
    static_app,
    wait_until,
)

from nerv360.serving import server as serving
from nerv360.serving import viewers
from nerv360.serving.site import export_site

pytestmark = pytest.mark.browser


@pytest.mark.parametrize(
    ("file", "fail", "title"),
    [
        ("**/*.onnx", {}, WAITING),
        ("**/*.onnx", {"status": 404}, "This video cannot be shown"),
        pytest.param("**/*.wasm.gz", {}, WAITING, marks=pytest.mark.slow),
        pytest.param("**/*.wasm.gz", {"status": 404}, "This video cannot be shown", marks=pytest.mark.slow),
        ("**/*.wasm.gz", {"body": b"\x1f\x8b damaged"}, "This video cannot be shown"),
        pytest.param("**/ort.wasm.min.js", {}, WAITING, marks=pytest.mark.slow),
        pytest.param("**/ort-wasm-simd-threaded.js", {}, WAITING, marks=pytest.mark.slow),
        ("**/ort-wasm-simd-threaded.js", {"status": 404}, "This video cannot be shown"),
    ],
)
def test_a_network_that_does_not_come_has_a_screen_after_the_preview(
    play_server: Server, clip: Path, new_page: Callable[..., Page], file: str, fail: dict[str, Any], title: str
) -> None:
    page = new_page()
    failures = []

    def refuse(route: Any) -> None:
        failures.append(route.request.url)
        if fail:
            route.fulfill(**fail)
        else:
            route.abort()

    page.route(file, refuse)
    page.goto(f"{play_server.address}?backend=wasm")
    page.get_by_role("heading", name=title).wait_for()
    page.wait_for_function("player.state === 'error'")
    assert page.evaluate("performance.getEntriesByType('mark').map(({ name }) => name)") == ["first-picture"]
    page.evaluate("window.states = []; player.addEventListener('state', () => states.push(player.state))")
    before = len(failures)
    if title == WAITING:
        wait_until(page, lambda: len(failures) >= before + 2)  # it was tried again, in vain
    states = page.evaluate("states")  # what it tries again shows when it succeeds
    assert "ready" not in states
    if file == "**/*.onnx" or title != WAITING:  # else it takes another worker
        assert states == []
    page.unroute(file)
    if title != WAITING:  # from which it recovers by itself
        page.get_by_role("button", name="Try again").click()
    assert quality_db(page, clip) > LEAST_DB


def test_a_decoder_that_does_not_come_is_waited_for(
    play_server: Server, clip: Path, new_page: Callable[..., Page]
) -> None:
    page = new_page()
    page.route("**/worker.js", lambda route: route.abort())
    page.goto(f"{play_server.address}?backend=wasm")
    page.get_by_role("heading", name=WAITING).wait_for()
    page.unroute("**/worker.js")
    assert quality_db(page, clip) > LEAST_DB


def test_a_page_without_its_scripts_has_a_screen(play_server: Server, new_page: Callable[..., Page]) -> None:
    page = new_page()
    page.route("**/controls.js", lambda route: route.abort())
    page.goto(play_server.address)
    page.get_by_role("heading", name="The player cannot be loaded").wait_for()
    page.unroute("**/controls.js")
    page.get_by_role("button", name="Try again").click()
    settled(page)


def impatient(page: Page) -> None:
    """Let the page count a server as silent after one second rather than ten."""

    def shorten(route: Any) -> None:
        response = route.fetch()
        script, count = re.subn(r"SILENT_MS = 10_000", "SILENT_MS = 1000", response.text())
        assert count == 1
        route.fulfill(response=response, body=script)

    for name in ("not-loaded.js", "player/download.js"):
        page.route(f"**/{name}", shorten)


LATE = "A part of the player has not come for 1 seconds"
OF_NETWORKS = ["network-decoder.js", "ort.wasm.min.js", "ort-wasm-simd-threaded.js"]
MORE_SCRIPTS = ["geometry.js", "panorama-window.js", *OF_NETWORKS]


@pytest.mark.parametrize("comes", ["late", "after another try"])
@pytest.mark.parametrize("file", ["worker.js", *(pytest.param(each, marks=pytest.mark.slow) for each in MORE_SCRIPTS)])
def test_a_script_that_hangs_is_told_and_waited_for(
    motion_clip: Path, clip: Path, new_page: Callable[..., Page], file: str, comes: str
) -> None:
    path = clip if file in OF_NETWORKS else motion_clip
    with serving_app(lambda: serving.create_app(path)) as server:
        page = new_page()
        impatient(page)
        held: list[Any] = []
        page.route(f"**/{file}", lambda route: held.append(route))
        page.goto(f"{server.address}?backend=wasm", wait_until="commit")
        page.get_by_role("heading", name=WAITING).wait_for()
        page.locator("#screen-text", has_text=LATE).wait_for()  # on a busy machine, a server may be late before
        again = page.get_by_role("button", name="Try again")
        assert again.is_visible()
        page.unroute(f"**/{file}")
        if comes == "late":
            for route in held:
                route.continue_()
        else:
            again.click()
        page.wait_for_selector("#screen", state="hidden")
        settled(page)
        assert page.evaluate("[player.state, player.rough]") == ["ready", False]
        assert not again.is_visible()
        if path == motion_clip:
            assert len(page.workers) == 1  # one that waits in vain is ended


@pytest.mark.parametrize("file", ["core.wasm", pytest.param("video.nerv360", marks=pytest.mark.slow)])
def test_a_file_that_hangs_is_asked_for_again(motion_clip: Path, new_page: Callable[..., Page], file: str) -> None:
    with serving_app(lambda: serving.create_app(motion_clip)) as server:
        page = new_page()
        impatient(page)
        held: list[Any] = []
        page.route(f"**/{file}", lambda route: held.append(route))
        page.goto(f"{server.address}?backend=wasm")
        page.get_by_role("heading", name=WAITING).wait_for()
        asked = len(held)
        wait_until(page, lambda: len(held) > asked)
        page.unroute(f"**/{file}")
        settled(page)


def dripping(site: Path, below: str, parts: int) -> web.Application:
    """A server whose files below a folder take longer than a server may be silent, and none of whose parts does."""

    async def drip(request: web.Request) -> web.StreamResponse:
        data = (site / request.path[1:]).read_bytes()
        response = web.StreamResponse()
        response.content_type = "text/javascript" if request.path.endswith(".js") else "application/octet-stream"
        await response.prepare(request)
        part = len(data) // parts + 1
        for start in range(0, len(data), part):
            await response.write(data[start : start + part])
            await asyncio.sleep(0.2)
        return response

    app = web.Application()
    app.router.add_get(f"/{below}/{{name:.*}}", drip)
    app.router.add_static("/", site)
    return app


@pytest.mark.parametrize(
    ("file", "below", "parts"),
    [
        ("motion_clip", "player/motion", 8),
        pytest.param("encoded", "player/onnxruntime", 6, marks=pytest.mark.slow),
    ],
)
def test_a_slow_line_is_borne(
    file: str, below: str, parts: int, new_page: Callable[..., Page], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    site = tmp_path / "site"
    export_site(request.getfixturevalue(file), site)
    with serving_app(lambda: dripping(site, below, parts)) as server:
        page = new_page()
        impatient(page)
        page.goto(f"{server.address}index.html?backend=wasm", wait_until="commit")
        page.wait_for_function("window.player")
        page.evaluate(
            "window.told = []; player.addEventListener('state', () => told.push(player.error?.message ?? ''))"
        )
        settled(page)
        told = " ".join(page.evaluate("told"))
        assert "The server does not answer." not in told  # nothing was broken off
        page.wait_for_selector("#screen", state="hidden")


def test_a_server_that_is_gone_and_comes_back(clip: Path, new_page: Callable[..., Page]) -> None:
    with serving_app(lambda: serving.create_app(clip)) as server:
        page = new_page()
        page.goto(f"{server.address}?backend=server")
        settled(page)
        page.evaluate("player.play()")
        page.wait_for_function("player.frame > 2")
        server.stop()
        page.wait_for_selector("body.gone #screen", state="visible")
        assert page.get_by_role("heading", name=WAITING).is_visible()
        server.start()
        page.wait_for_function("player.state === 'ready'")
        page.wait_for_selector("#screen", state="hidden")
        page.evaluate("player.pause()")
        assert quality_db(page, clip) > LEAST_DB


def test_a_server_that_hangs_is_waited_for(
    play_server: Server, clip: Path, new_page: Callable[..., Page], monkeypatch: pytest.MonkeyPatch
) -> None:
    page = new_page()
    hanging = False

    def talk(socket: Any) -> None:
        server = socket.connect_to_server()
        socket.on_message(lambda message: None if hanging else server.send(message))

    page.route_web_socket("**/frames", talk)
    page.goto(f"{play_server.address}?backend=server")
    settled(page)
    page.evaluate("player.play()")
    page.wait_for_function("player.frame > 2")
    page.evaluate("window.events = []")
    page.evaluate("for (const name of ['waiting', 'playing']) player.addEventListener(name, () => events.push(name))")
    page.evaluate("player.addEventListener('waiting', () => window.stopped = player.time)")
    hanging = True
    page.wait_for_function("player.waiting")
    page.wait_for_function(f"getComputedStyle({INSIDE}.getElementById('buffering')).visibility === 'visible'")
    page.get_by_role("heading", name=WAITING).wait_for()
    assert page.evaluate("player.time === stopped")  # no picture, no time
    hanging = False
    page.wait_for_function("player.state === 'ready' && !player.waiting")
    assert page.evaluate("events").count("playing") >= 1
    assert page.evaluate("events[0]") == "waiting"
    page.evaluate("player.pause()")
    assert quality_db(page, clip) > LEAST_DB

    silent = page.evaluate("import('./player/download.js').then(({ SILENT_MS }) => SILENT_MS)")
    assert silent > 2000 * viewers.WORKING_S  # it hears of a server that works before it is given up
    monkeypatch.setattr(viewers, "MAX_VIEWERS", 0)
    page.reload()
    page.get_by_text("0 viewers are watching. Playing goes on").wait_for()
    monkeypatch.undo()
    assert quality_db(page, clip) > LEAST_DB


@pytest.mark.parametrize("backend", ["wasm", "server"])
def test_another_file_in_its_place_is_taken_up(
    clip: Path, encoded: Path, new_page: Callable[..., Page], tmp_path: Path, backend: str
) -> None:
    path = tmp_path / "film.nerv360"
    shutil.copyfile(clip, path)
    with serving_app(lambda: serving.create_app(path)) as server:
        page = new_page()
        page.goto(f"{server.address}?backend={backend}#yaw=50&t=1")
        settled(page)
        shutil.copyfile(encoded, tmp_path / "new")
        (tmp_path / "new").replace(path)
        if backend == "server":  # which has the old one open
            server.stop()
            server.start()
            page.evaluate("player.seek(0.2)")
        else:  # which has all of it: another decoder has not
            page.evaluate("player.setBackend('webgpu')")
        page.wait_for_function("player.manifest.frames === 6")
        assert quality_db(page, path) > LEAST_DB
        assert page.evaluate("[player.view.yawDeg, player.frame]") == [50, 5]  # the last that there is
        assert page.evaluate(f"Number({INSIDE}.getElementById('seek').max) === player.duration")


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda data: data[:200], "damaged"),
        (lambda data: b"\x89PNG" + data[4:], "not a .nerv360 file"),
        (lambda data: data[:3000] + bytes(40) + data[3040:], "damaged"),
        (lambda data: data[:8] + b"\x01" + data[9:], "older"),
        (lambda data: data[:8] + b"\xff" + data[9:], "newer"),
    ],
)
def test_a_broken_file_has_a_screen(
    clip: Path, new_page: Callable[..., Page], tmp_path: Path, damage: Callable[[bytes], bytes], told: str
) -> None:
    export_site(clip, tmp_path / "site")
    (tmp_path / "site" / "video.nerv360").write_bytes(damage(clip.read_bytes()))
    with serving_app(lambda: static_app(tmp_path / "site", [])) as server:
        page = new_page()
        page.goto(server.address)
        page.get_by_role("heading", name="This video cannot be shown").wait_for()
        assert told in page.locator("#screen-text").inner_text()
        assert page.get_by_role("button", name="Try again").is_visible()


def test_a_browser_without_webgl_has_a_screen(play_server: Server, chromium: Any) -> None:
    context = chromium.new_context()
    context.add_init_script("HTMLCanvasElement.prototype.getContext = () => null")
    page = context.new_page()
    page.goto(play_server.address)
    page.get_by_role("heading", name="This browser cannot play it").wait_for()
    assert "WebGL" in page.locator("#screen-text").inner_text()
    context.close()
