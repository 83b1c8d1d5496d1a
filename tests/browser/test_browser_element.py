"""`<nerv360-player>` in pages of others."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.browser import LEAST_DB, Page, canvas_db, settled, wait_until

pytestmark = pytest.mark.browser

ELEMENT = """
  import "./player/element.js";
  window.element = document.querySelector("nerv360-player");
  window.player = element.player;
"""
BODY = '<nerv360-player src="player.json" backend="server" {}></nerv360-player>'


def test_attributes_properties_and_events(host: Callable[..., Page], clip: Path) -> None:
    page = host(ELEMENT, BODY.format('yaw="30" pitch="5" fov="60" controls'))
    settled(page)
    assert page.evaluate("[element.yaw, element.pitch, element.fov]") == [30, 5, 60]
    assert page.evaluate("[element.controls, element.loop]") == [True, False]
    assert canvas_db(page, clip) > LEAST_DB
    page.evaluate("element.setAttribute('pitch', -10); element.yaw = 170; element.loop = true")
    assert page.evaluate("[player.view.yawDeg, player.view.pitchDeg, player.loop]") == [170, -10, True]
    assert page.evaluate("[element.getAttribute('yaw'), element.hasAttribute('loop')]") == ["170", True]

    page.evaluate(
        """() => {
          window.seen = new Set();
          for (const name of ["play", "pause", "timeupdate", "ended", "viewchange"])
            element.addEventListener(name, () => seen.add(name));
        }"""
    )
    page.evaluate(
        "element.loop = false; element.currentTime = element.duration - 0.2; element.play()"
    )  # to the end of it
    page.wait_for_function("seen.has('ended')")
    page.evaluate("element.yaw = 0")
    assert page.evaluate("[...seen].sort()") == ["ended", "pause", "play", "timeupdate", "viewchange"]
    assert page.evaluate("[element.paused, element.currentTime === element.duration]") == [True, True]


def test_properties_that_were_set_before_the_module_came_count(host: Callable[..., Page]) -> None:
    script = """
      window.element = document.querySelector("nerv360-player");
      Object.assign(element, { src: "player.json", controls: true, yaw: 30, volume: 0.5, currentTime: 0.4 });
      await import("./player/element.js");
      window.player = element.player;
    """
    page = host(script, '<nerv360-player backend="server"></nerv360-player>')
    settled(page)
    assert page.evaluate("[element.yaw, element.volume, element.currentTime]") == [30, 0.5, 0.4]
    assert page.get_by_role("button", name="Play").is_visible()
    assert page.evaluate("element.player === player && Object.keys(element)") == ["player", "gestures", "captions"]


def test_play_tells_when_it_plays_and_what_is_removed_is_freed(host: Callable[..., Page]) -> None:
    page = host()
    sockets: list[Any] = []
    page.on("websocket", lambda socket: sockets.append(socket))
    page.evaluate(
        """async () => {
          const { Nerv360PlayerElement } = await import("./player/element.js");
          window.element = document.body.appendChild(new Nerv360PlayerElement());
          window.rejected = [await element.play().catch(({ name }) => name)];
          Object.assign(element, { src: "player.json", loop: true });
        }"""
    )
    assert page.evaluate("element.play().then(() => [element.player.state, element.player.waiting])") == [
        "ready",
        False,
    ]
    page.evaluate("element.addEventListener('error', () => (window.told = element.error.message))")
    page.evaluate("element.setAttribute('src', 'missing.json')")
    page.evaluate("element.play().catch(({ message }) => rejected.push(message))")
    page.get_by_text("missing.json cannot be read: the server answers 404.").wait_for()
    assert page.evaluate("told") == "missing.json cannot be read: the server answers 404."

    page.evaluate(
        "element.src = 'player.json'; element.play().catch(({ name }) => rejected.push(name)); element.remove()"
    )
    page.wait_for_function("rejected.length === 3")
    rejected = ["InvalidStateError", "missing.json cannot be read: the server answers 404.", "AbortError"]
    assert page.evaluate("[rejected, element.player]") == [rejected, None]
    wait_until(page, lambda: all(socket.is_closed() for socket in sockets))
    assert sockets
    page.evaluate("document.body.append(element); window.player = element.player")
    settled(page)


def test_the_page_keeps_its_keys_wheel_and_swipes_until_the_player_is_used(host: Callable[..., Page]) -> None:
    page = host(ELEMENT, BODY.format("controls"), width=390, height=700, has_touch=True, is_mobile=True)
    settled(page)
    box = page.locator("nerv360-player").bounding_box()
    session = page.context.new_cdp_session(page)

    def swipe(dx: int, dy: int) -> None:
        for step in range(9):
            points = [{"x": box["x"] + 150 + step * dx, "y": box["y"] + 110 + step * dy}] if step < 8 else []
            kind = ("touchStart", *["touchMove"] * 7, "touchEnd")[step]
            session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    known = "new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)))"  # by the compositor
    page.keyboard.press("ArrowRight")
    assert page.evaluate("player.view.yawDeg") == 0
    swipe(-15, 0)
    page.wait_for_function("player.view.yawDeg > 5")
    for _ in range(8):  # on a busy machine, a tap may take so long that it is none
        page.locator("nerv360-player").tap()
        page.wait_for_timeout(1000)
        if page.evaluate("document.activeElement === element"):
            break
    assert page.evaluate("document.activeElement === element")
    page.evaluate(known)
    assert not page.evaluate("player.playing")
    swipe(0, -15)
    page.wait_for_function("player.view.pitchDeg < -5")
    assert page.evaluate("scrollY") == 0
    page.keyboard.press(" ")
    assert page.evaluate("player.playing")
    page.evaluate(f"player.pause(); document.activeElement.blur(); element.pitch = 0; {known}")
    swipe(0, -15)
    page.wait_for_function("scrollY > 50")
    assert page.evaluate("player.view.pitchDeg") == 0


def test_markers_stay_where_they_are_in_the_video(host: Callable[..., Page]) -> None:
    body = BODY.replace("></", "><b slot=marker data-yaw=20 data-pitch=-5>here</b></").format('autorotate="30"')
    page = host(ELEMENT, body)
    settled_at = page.locator("b")
    page.wait_for_function("player.manifest && player.view.yawDeg > 1")  # it turns by itself
    page.mouse.click(400, 100)
    page.evaluate("element.yaw = 20")  # no longer
    page.wait_for_function("player.view.yawDeg === 20 && player.settled")
    box = settled_at.bounding_box()
    picture = page.locator("canvas").bounding_box()
    assert box["x"] + box["width"] / 2 == pytest.approx(picture["x"] + 160, abs=1)
    below = 160 / math.tan(math.radians(page.evaluate("element.fov / 2"))) * math.tan(math.radians(5))
    assert box["y"] + box["height"] / 2 == pytest.approx(picture["y"] + 100 + below, abs=1)
    page.evaluate("element.yaw = -160")
    assert not settled_at.is_visible()
    assert page.evaluate("player.project(20, -5)") is None
