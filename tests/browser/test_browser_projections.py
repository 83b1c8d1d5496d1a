"""The little planet, and headsets, of which one is emulated."""

import base64
import io
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.browser import Page, Server, angles_of, quality_db, serving_app, settled, snapshot, static_app
from PIL import Image

import nerv360
from nerv360.extract import extract_viewport
from nerv360.geometry.rays import rotation
from nerv360.geometry.sampling import sample_sphere, to_picture
from nerv360.quality import psnr
from nerv360.serving import server as serving
from nerv360.serving.site import export_site
from nerv360.types import Picture

pytestmark = pytest.mark.browser

EMULATOR = Path(__file__).parents[1] / "web" / "node_modules" / "iwer" / "build" / "iwer.min.js"
HEADSET = """
  window.headset = new IWER.XRDevice(IWER.metaQuest3);
  headset.installRuntime({ forceInstall: true });
  headset.stereoEnabled = true;
  const { requestSession } = navigator.xr;
  navigator.xr.requestSession = async (mode) => (window.session = await requestSession.call(navigator.xr, mode));
"""
HOLD = """([yaw, pitch]) => {
  const [[c, s], [d, t]] = [-yaw, pitch].map((angle) => (angle * Math.PI) / 360).map((a) => [Math.cos(a), Math.sin(a)]);
  headset.quaternion.set(c * t, s * d, -s * t, c * d);
}"""  # in degrees, to the right and up
SEEN = """() => new Promise((resolve) => session.requestAnimationFrame(() => {
  const { canvas } = session.renderState.baseLayer.context; // which the player has drawn on before this
  resolve({ picture: canvas.toDataURL().split(",")[1], fovy: headset.fovy });
}))"""
SWITCHES = """async () => {
  for (const name of ["little-planet", "perspective", "little-planet"]) {
    player.setView({ yawDeg: player.view.yawDeg + 10 });
    for (let frame = 0; frame < 2; frame++) await new Promise(requestAnimationFrame); // a picture is asked for
    await player.setProjection(name);
  }
}"""
PLANET_DB = 37.0  # 41.1 measured


@pytest.fixture
def server(motion_clip: Path) -> Iterator[Server]:
    with serving_app(lambda: serving.create_app(motion_clip)) as server:
        yield server


def panorama(path: Path, frame: int, eye: str = "left") -> Picture:
    with nerv360.open(path) as decoder:
        return decoder.panorama(frame, eye=eye if eye in decoder.eyes else "left")


def eyes(page: Page, path: Path, yaw_deg: float, pitch_deg: float) -> list[tuple[Picture, Picture]]:
    """What is before each eye, and what is to be."""
    seen = page.evaluate(SEEN)
    picture = np.array(Image.open(io.BytesIO(base64.b64decode(seen["picture"]))).convert("RGB"))
    height, width = picture.shape[0], picture.shape[1] // 2
    vfov_deg = math.degrees(seen["fovy"])
    hfov_deg = math.degrees(2 * math.atan(math.tan(seen["fovy"] / 2) * width / height))
    view = nerv360.Viewport(yaw_deg, pitch_deg, 0, hfov_deg, vfov_deg, width, height)
    frame = page.evaluate("player.frame")
    expected = [extract_viewport(panorama(path, frame, eye), view) for eye in ("left", "right")]
    return list(zip((picture[:, :width], picture[:, width:]), expected, strict=True))


def test_both_eyes_see_where_the_head_looks(server: Server, motion_clip: Path, new_page: Callable[..., Page]) -> None:
    if not EMULATOR.exists():
        pytest.skip("the emulated headset is not installed: npm ci --prefix tests/web")
    page = new_page(640, 320)
    page.add_init_script(EMULATOR.read_text() + HEADSET)
    page.goto(f"{server.address}?backend=wasm&projection=little-planet#yaw=40&pitch=20")
    settled(page)
    page.evaluate(HOLD, [-90, 0])
    button = page.get_by_role("button", name="Headset")
    button.click()
    page.wait_for_function("player.immersive && player.projection === 'perspective'")
    page.wait_for_function("Math.abs(player.view.pitchDeg) < 0.1")
    assert page.evaluate("player.view.yawDeg") == pytest.approx(40)  # on from where the view was
    page.evaluate(HOLD, [-60, 10])
    page.wait_for_function("Math.abs(player.view.yawDeg - 70) < 0.1")
    settled(page)
    assert min(psnr(*eye) for eye in eyes(page, motion_clip, 70, 10)) > 40

    page.evaluate("Worker.prototype.postMessage = () => {}")  # no other picture comes
    page.evaluate(HOLD, [-55, 12])
    assert min(psnr(*eye) for eye in eyes(page, motion_clip, 75, 12)) > 40
    page.evaluate("session.dispatchEvent(new Event('select'))")  # the trigger
    assert page.evaluate("player.playing")
    page.evaluate("session.end()")
    page.wait_for_function("!player.immersive && player.view.rollDeg === 0")
    assert button.get_attribute("aria-pressed") == "false"


@pytest.mark.parametrize("kind", ["site", "server"])
def test_each_eye_sees_a_picture_of_its_own(
    stereo_clip: Path, new_page: Callable[..., Page], tmp_path: Path, kind: str
) -> None:
    """Of the same frame, wherever the head looks, while it plays too; on the desk it is the left one's."""
    if not EMULATOR.exists():
        pytest.skip("the emulated headset is not installed: npm ci --prefix tests/web")
    least_db = 40 if kind == "site" else 33  # the server sends JPEG
    if kind == "site":
        export_site(stereo_clip, tmp_path / "site")
    requests: list[tuple[str, str | None, int, int]] = []
    site = lambda: static_app(tmp_path / "site", requests)  # noqa: E731
    with serving_app(site if kind == "site" else lambda: serving.create_app(stereo_clip)) as server:
        page = new_page(640, 320)
        page.add_init_script(EMULATOR.read_text() + HEADSET)
        page.goto(f"{server.address}#yaw=40")
        settled(page)
        assert page.evaluate("[player.backend, player.manifest.eyes]") == ["wasm" if kind == "site" else "server", 2]
        view = nerv360.Viewport(*angles_of(page), width=640, height=320)
        assert psnr(snapshot(page), extract_viewport(panorama(stereo_clip, 0), view)) > least_db
        page.get_by_role("button", name="Headset").click()
        page.wait_for_function("player.immersive")
        for frame, yaw_deg, pitch_deg in ((0, 0, 0), (21, -60, 10), (8, 100, -20)):
            page.evaluate("(frame) => player.seek(frame / player.manifest.frameRate)", frame)
            page.evaluate(HOLD, [yaw_deg, pitch_deg])
            page.wait_for_function(f"Math.abs(player.view.pitchDeg - {pitch_deg}) < 0.1")
            settled(page)
            seen = eyes(page, stereo_clip, 40 + yaw_deg, pitch_deg)
            assert page.evaluate("player.frame") == frame
            assert min(psnr(*eye) for eye in seen) > least_db
            (left, _), (_, right) = seen
            assert psnr(left, right) < 30  # they do differ
        page.evaluate("player.play()")
        page.wait_for_function("player.frame > 12")
        page.evaluate("player.pause()")
        settled(page)
        assert min(psnr(*eye) for eye in eyes(page, stereo_clip, 140, -20)) > least_db
        page.evaluate("session.end()")
        page.wait_for_function("!player.immersive")
        settled(page)
        assert page.evaluate("player.error") is None


def test_a_headset_that_is_refused_is_told(server: Server, new_page: Callable[..., Page]) -> None:
    page = new_page()
    page.goto(server.address)
    settled(page)
    assert not page.get_by_role("button", name="Headset").is_visible()
    page.evaluate(
        """() => {
          const requestSession = () => Promise.reject(new DOMException("it is off", "InvalidStateError"));
          const xr = Object.assign(new EventTarget(), { isSessionSupported: async () => true, requestSession });
          Object.defineProperty(navigator, "xr", { value: xr });
          document.getElementById("video").src = "./player.json";
        }"""
    )
    page.get_by_role("button", name="Headset").click()
    page.get_by_text("The headset cannot be used: it is off").wait_for()


def expected_planet(page: Page, path: Path) -> Picture:
    """Stereographic, around what is below the view; ahead is up."""
    view = page.evaluate("player.viewport")
    across, up = (4 * math.tan(math.radians(view[name]) / 2) for name in ("hfovDeg", "vfovDeg"))
    x = torch.linspace(-across, across, 2 * view["width"] + 1)[1::2].expand(view["height"], -1)
    y = torch.linspace(up, -up, 2 * view["height"] + 1)[1::2][:, None].expand_as(x)
    rays = torch.stack([2 * x, 2 * y, 1 - x**2 - y**2], dim=-1)
    angles = (torch.tensor(float(view[name])) for name in ("yawDeg", "pitchDeg", "rollDeg"))
    yaw, pitch, roll = angles
    turned = torch.nn.functional.normalize(rays, dim=-1) @ rotation(yaw, pitch - 90, roll).T
    pixels = torch.from_numpy(panorama(path, page.evaluate("player.frame"))).permute(2, 0, 1)[None]
    return to_picture(sample_sphere(pixels, turned[None])[0])


def test_a_little_planet(server: Server, motion_clip: Path, new_page: Callable[..., Page]) -> None:
    page = new_page()
    page.goto(f"{server.address}?backend=wasm&projection=little-planet#yaw=30&pitch=10&t=0.2")
    settled(page)
    assert planet_db(page, motion_clip) > PLANET_DB
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("Decoding").select_option("server")
    page.wait_for_function("player.backend === 'server'")
    page.evaluate(
        "window.frames = []; player.addEventListener('picture', () => frames.push(player.frame)); player.play()"
    )
    page.wait_for_function("new Set(frames).size > 2")
    page.evaluate("player.pause()")
    assert planet_db(page, motion_clip) > PLANET_DB

    page.evaluate("player.setView({ yawDeg: 30, pitchDeg: 0, fovDeg: 90 })")
    assert page.evaluate("Object.values(player.project(0, -90))") == pytest.approx([240, 160])
    assert page.evaluate("Object.values(player.project(30, 0))") == pytest.approx([240, 160 - 240 / 4])
    assert page.evaluate("Object.values(player.project(120, 0))") == pytest.approx([240 + 240 / 4, 160])
    page.get_by_label("Projection").select_option("perspective")
    settled(page)
    page.evaluate("player.setProjection('little-planet').then(() => player.setProjection('perspective'))")
    assert quality_db(page, motion_clip) > 38.0
    page.evaluate(SWITCHES)
    assert planet_db(page, motion_clip) > PLANET_DB


def planet_db(page: Page, path: Path) -> float:
    settled(page)
    return psnr(snapshot(page), expected_planet(page, path))
