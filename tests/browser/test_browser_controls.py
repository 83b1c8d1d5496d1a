"""Mouse, touch, keys, the device, and the address."""

from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.browser import INSIDE, LEAST_DB, Page, Server, drag, quality_db, settled
from PIL import Image

pytestmark = pytest.mark.browser


def test_a_drag_that_is_let_go_swings_on_and_the_address_follows(
    play_server: Server, new_page: Callable[..., Page]
) -> None:
    page = new_page()
    page.goto(play_server.address)
    settled(page)
    page.evaluate("document.addEventListener('pointerup', () => (window.held = player.view.yawDeg), true)")
    drag(page, 240, 150, steps=3, hold=False)
    assert page.evaluate("player.view.yawDeg - held") > 1
    page.wait_for_function("location.hash.includes(`yaw=${player.view.yawDeg.toFixed(1)}&`)")
    address, yaw = page.url, page.evaluate("player.view.yawDeg")
    other = new_page()
    other.goto(address)
    settled(other)
    assert other.evaluate("player.view.yawDeg") == pytest.approx(yaw, abs=0.06)


def test_keys(play_server: Server, clip: Path, new_page: Callable[..., Page]) -> None:
    page = new_page()
    page.goto(f"{play_server.address}?backend=wasm")
    settled(page)
    start = page.evaluate("player.view")
    press = page.keyboard.press
    for key, name, sign in (("ArrowRight", "yawDeg", 1), ("ArrowUp", "pitchDeg", 1), ("+", "fovDeg", -1)):
        press(key)
        assert sign * (page.evaluate(f"player.view.{name}") - start[name]) > 1
    for key, name in (("-", "fovDeg"), ("ArrowLeft", "yawDeg"), ("ArrowDown", "pitchDeg")):
        press(key)
        assert page.evaluate(f"player.view.{name}") == pytest.approx(start[name])
    press("ArrowLeft")
    press("Home")
    assert page.evaluate("player.view") == start
    press(".")
    press(".")
    press(",")
    assert page.evaluate("player.frame") == 1
    assert quality_db(page, clip) > LEAST_DB
    press(" ")
    page.wait_for_function("player.playing && player.frame > 3")
    press(" ")
    assert not page.evaluate("player.playing")
    slider = page.get_by_role("slider", name="Time")
    slider.focus()
    slider.press("End")
    assert page.evaluate("player.frame") == 39
    assert quality_db(page, clip) > LEAST_DB


def test_keys_turn_the_view_after_a_click_on_a_button(play_server: Server, new_page: Callable[..., Page]) -> None:
    page = new_page()
    page.goto(play_server.address)
    settled(page)
    page.click("#play")
    page.click("#play")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("player.view.yawDeg") > 0
    assert page.evaluate("document.activeElement.shadowRoot.activeElement.id") == "play"


def test_every_control_has_a_name_and_is_reached_by_tab(play_server: Server, new_page: Callable[..., Page]) -> None:
    page = new_page(900, 600)
    page.goto(play_server.address)
    settled(page)
    names = ["Look ahead again", "Play", "Time", "Zoom out", "Zoom in", "Save the picture", "Settings", "Full screen"]
    reached = []
    for _ in range(len(names) + 1):
        page.keyboard.press("Tab")
        reached.append(page.evaluate(f"({INSIDE}.activeElement ?? document.activeElement).ariaLabel"))
    assert reached[0].startswith("360-degree video")
    assert reached[1:] == names
    page.get_by_role("button", name="Settings").click()
    for label in ("Speed", "Decoding", "Loop"):
        assert page.get_by_label(label).is_visible()
    page.keyboard.press("Escape")
    assert not page.get_by_label("Speed").is_visible()
    page.get_by_role("button", name="Play", exact=True).click()
    assert page.get_by_role("button", name="Pause").is_visible()
    page.wait_for_function(f"{INSIDE}.getElementById('said').textContent === 'Playing'")


def test_touch_pinches_and_drags(play_server: Server, new_page: Callable[..., Page]) -> None:
    page = new_page(390, 700, has_touch=True, is_mobile=True)
    page.goto(play_server.address)
    settled(page)
    session = page.context.new_cdp_session(page)

    def touch(kind: str, *points: tuple[int, int]) -> None:
        named = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(points)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": named})

    touch("touchStart", (150, 300), (250, 300))
    for spread in (20, 40, 60):
        touch("touchMove", (150 - spread, 300), (250 + spread, 300))
    touch("touchEnd")
    page.wait_for_function("player.view.fovDeg < 0.6 * 78.1")
    touch("touchStart", (200, 300))
    touch("touchMove", (150, 300))
    touch("touchMove", (100, 300))
    page.wait_for_function("player.view.yawDeg > 5")
    touch("touchEnd")


def test_the_view_follows_the_device(play_server: Server, new_page: Callable[..., Page]) -> None:
    page = new_page(390, 700, has_touch=True, is_mobile=True, permissions=["accelerometer", "gyroscope"])
    page.goto(play_server.address + "#yaw=20")
    settled(page)
    session = page.context.new_cdp_session(page)

    def turn(alpha: float, beta: float, gamma: float) -> None:
        session.send("DeviceOrientation.setDeviceOrientationOverride", {"alpha": alpha, "beta": beta, "gamma": gamma})

    def looks(yaw: float, pitch: float, roll: float) -> None:
        near = "Math.abs(player.view.{} - {}) < 0.2"
        angles = {"yawDeg": yaw, "pitchDeg": pitch, "rollDeg": roll}
        page.wait_for_function(" && ".join(near.format(name, angle) for name, angle in angles.items()))

    page.get_by_role("button", name="Settings").click()
    page.get_by_label("Follow the device").check()
    turn(50, 100, 0)  # held up like a window
    looks(20, 10, 0)  # on from where the view was
    turn(20, 90, 0)
    looks(50, 0, 0)
    turn(20, 120, 0)
    looks(50, 30, 0)
    page.locator("#picture").focus()
    page.keyboard.press("ArrowRight")  # turns on, and stays there
    turned = page.evaluate("player.view.yawDeg")
    assert turned > 51
    turn(20, 110, 0)
    looks(turned, 20, 0)
    page.keyboard.press("Escape")
    for kind, x in (("touchStart", 200), ("touchMove", 150), ("touchMove", 100), ("touchEnd", None)):
        points = [] if x is None else [{"x": x, "y": 300}]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    page.wait_for_function(f"player.view.yawDeg > {turned} + 5 && player.settled")
    dragged = page.evaluate("player.view.yawDeg")
    turn(20, 120, 0)
    looks(dragged, 30, 0)
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("Follow the device").uncheck()
    page.evaluate("window.told = []; addEventListener('deviceorientation', ({ alpha }) => told.push(alpha))")
    turn(90, 90, 0)
    page.wait_for_function("told.includes(90)")
    looks(dragged, 30, 0)


def test_what_is_pressed_ends_the_swing(play_server: Server, new_page: Callable[..., Page]) -> None:
    page = new_page()
    page.goto(play_server.address)
    settled(page)
    swing = """() => {
      const canvas = document.getElementById("video").shadowRoot.getElementById("picture");
      const event = (name, x, at) => {
        const made = new PointerEvent(name, { pointerId: 1, clientX: x, clientY: 150, button: 0, bubbles: true });
        Object.defineProperty(made, "timeStamp", { value: at });
        canvas.dispatchEvent(made);
      };
      canvas.setPointerCapture = () => {};
      event("pointerdown", 300, 0);
      for (let step = 1; step < 6; step++) event("pointermove", 300 - 20 * step, 16 * step);
      event("pointerup", 200, 81);
      window.letGo = player.view.yawDeg;
    }"""
    for end in (lambda: page.keyboard.press("Home"), lambda: page.click("#compass")):
        page.evaluate(swing)
        page.wait_for_function("player.view.yawDeg !== letGo")
        end()
        settled(page)
        assert page.evaluate("player.view.yawDeg") == 0


def test_keys_in_capitals_and_after_full_screen(play_server: Server, new_page: Callable[..., Page]) -> None:
    page = new_page()
    page.goto(play_server.address)
    settled(page)
    page.keyboard.press("F")
    page.wait_for_function("document.fullscreenElement !== null")
    page.keyboard.press("F")
    page.wait_for_function("document.fullscreenElement === null")
    page.click("#fullscreen")
    page.wait_for_function("document.fullscreenElement !== null")
    page.keyboard.press(" ")
    assert page.evaluate("[player.playing, document.fullscreenElement !== null]") == [True, True]


def test_keys_after_the_timeline_was_used(play_server: Server, new_page: Callable[..., Page]) -> None:
    page = new_page()
    page.goto(play_server.address)
    settled(page)
    slider = page.get_by_role("slider", name="Time")
    slider.click()
    time = page.evaluate("player.time")
    assert time > 0
    page.keyboard.press("ArrowRight")
    assert page.evaluate("[player.view.yawDeg > 0, player.time]") == [True, time]
    slider.focus()  # by the keyboard: it has its own use for the arrow keys, and no other
    yaw = page.evaluate("player.view.yawDeg")
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("player.view.yawDeg") == yaw
    assert page.evaluate("player.time") < time
    page.keyboard.press(" ")
    assert page.evaluate("player.playing")


def test_a_list_of_shortcuts(play_server: Server, new_page: Callable[..., Page]) -> None:
    page = new_page()
    page.goto(play_server.address)
    settled(page)
    dialog = page.get_by_role("dialog", name="Shortcuts")
    page.keyboard.press("?")
    assert dialog.is_visible()
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    page.keyboard.press("?")
    page.get_by_role("button", name="Close").click()
    assert not dialog.is_visible()


def test_the_ring_of_the_focus_is_seen_and_goes(play_server: Server, new_page: Callable[..., Page]) -> None:
    page = new_page()
    page.goto(play_server.address)
    settled(page)
    picture = page.locator("#picture")
    opaque = f"getComputedStyle({INSIDE}.getElementById('picture')).outlineColor.startsWith('rgb(')"
    page.keyboard.press("Tab")
    page.wait_for_function(opaque)
    assert picture.evaluate("canvas => canvas === canvas.getRootNode().activeElement")
    page.wait_for_function(f"!{opaque}")


def test_bars_hide_on_a_phone_while_it_plays(play_server: Server, new_page: Callable[..., Page]) -> None:
    page = new_page(390, 700, has_touch=True, is_mobile=True)
    page.goto(play_server.address)
    settled(page)
    page.get_by_role("button", name="Play", exact=True).tap()
    visibility = f"getComputedStyle({INSIDE}.querySelector('footer')).visibility"
    page.wait_for_function(f"player.playing && {visibility} === 'hidden'")
    page.locator("#picture").tap()
    page.wait_for_function(f"{visibility} === 'visible'")


def test_the_address_follows_while_it_plays(play_server: Server, new_page: Callable[..., Page]) -> None:
    page = new_page()
    page.goto(f"{play_server.address}#yaw=30&t=0")
    settled(page)
    page.evaluate("player.play()")
    page.wait_for_function("player.playing && Number(new URLSearchParams(location.hash.slice(1)).get('t')) > 0.1")
    assert "yaw=30.0" in page.url


def test_an_address_says_where_and_when(play_server: Server, new_page: Callable[..., Page]) -> None:
    page = new_page()
    page.goto(play_server.address + "#t=0.5")
    settled(page)
    page.evaluate("location.hash = '#yaw=30'")
    page.wait_for_function("player.view.yawDeg === 30")
    assert page.evaluate("player.time") == 0.5
    for frame in (1, 2, 3, 7, 13, 23, 29, 39):  # at 30000/1001 frames a second
        page.evaluate(f"player.seek({frame} / player.manifest.frameRate)")
        told = "Number(new URLSearchParams(location.hash.slice(1)).get('t'))"
        page.wait_for_function(f"Math.floor({told} * 30000 / 1001 + 1e-6) === {frame}")


def test_a_click_plays_and_the_timeline_and_the_picture_are_at_hand(
    play_server: Server, new_page: Callable[..., Page]
) -> None:
    page = new_page()
    page.goto(play_server.address)
    settled(page)
    picture = page.locator("#picture")
    for playing in (True, False):
        picture.click(position={"x": 300, "y": 100})
        assert page.evaluate("player.playing") is playing
    drag(page, 240, 150, steps=3)
    assert not page.evaluate("player.playing")
    picture.dblclick(position={"x": 300, "y": 100})
    page.wait_for_function("document.fullscreenElement !== null")
    assert not page.evaluate("player.playing")
    slider = page.get_by_role("slider", name="Time").bounding_box()
    page.mouse.move(slider["x"] + slider["width"] / 2, slider["y"] + 20)
    assert page.locator("#pointed").inner_text() == "0:00.7"  # of 1.3 seconds
    page.mouse.move(10, 10)
    assert not page.locator("#pointed").is_visible()
    with page.expect_download() as download:
        page.evaluate(f"player.seek(0); {INSIDE}.getElementById('save').click()")
    assert download.value.suggested_filename == "clip-0.png"
    with Image.open(download.value.path()) as saved:
        assert list(saved.size) == page.evaluate("[player.viewport.width, player.viewport.height]")


def test_settings_are_remembered(play_server: Server, new_page: Callable[..., Page]) -> None:
    page = new_page()
    page.goto(play_server.address)
    settled(page)
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("Speed").select_option("2")
    page.get_by_label("Loop").uncheck()
    page.evaluate("player.setResolution(240)")
    page.reload()
    settled(page)
    assert page.evaluate("[player.speed, player.loop, player.resolution]") == [2, False, 240]
    assert page.get_by_label("Speed").input_value() == "2"
