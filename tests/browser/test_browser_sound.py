"""Sound in the player: in step with the picture, fetched as it is played, and controlled as players have it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from helpers.browser import Page, Server, serving_app, settled, static_app, wait_until
from helpers.films import panoramas, write_film

import nerv360
from nerv360.bitstream.container import Container
from nerv360.serving import server as serving
from nerv360.serving.site import export_site

pytestmark = pytest.mark.browser

IN_STEP = "player.soundTime !== null && Math.abs(player.soundTime - player.time) < 0.1"
ONSETS = """
  window.onsets = []; // of the beeps that are scheduled, in seconds of the video, as they will be heard
  const start = AudioBufferSourceNode.prototype.start;
  AudioBufferSourceNode.prototype.start = function (when, offset) {
    const { buffer, context, playbackRate } = this;
    const samples = buffer.getChannelData(0);
    const silent = (from, to) => samples.subarray(from, to).every((value) => Math.abs(value) < 0.1);
    const first = samples.findIndex((value, at) => at > 4800 && Math.abs(value) > 0.2 && silent(at - 4800, at - 1100));
    const until = when + context.outputLatency - context.currentTime;
    const begins = player.soundTime + until * playbackRate.value - offset;
    if (first > 0) onsets.push(begins + first / buffer.sampleRate);
    start.call(this, when, offset);
  };
"""


@pytest.fixture(scope="module", params=["aac", "libopus"])
def loud(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine seconds, of a frame each, with a beep at the beginning of every second."""
    film = tmp_path_factory.mktemp("loud") / "film.mp4"
    write_film(film, panoramas(9, 64, 32), sound=(request.param, "stereo"), ticks=range(0, 225, 25))
    nerv360.encode(film, film.with_suffix(".nerv360"), nerv360.preset("instant"))
    return film.with_suffix(".nerv360")


@pytest.fixture
def site(loud: Path, tmp_path: Path) -> Iterator[tuple[Server, list[tuple[str, str | None, int, int]]]]:
    export_site(loud, tmp_path / "site")
    requests: list[tuple[str, str | None, int, int]] = []
    with serving_app(lambda: static_app(tmp_path / "site", requests)) as server:
        yield server, requests


def opened(page: Page, address: str) -> Page:
    page.goto(address)
    settled(page)
    return page


def test_the_sound_is_in_step(site: tuple[Server, object], new_page: Callable[..., Page]) -> None:
    page = new_page()
    page.add_init_script(ONSETS)
    opened(page, site[0].address)
    assert page.evaluate("player.soundTime") is None
    page.get_by_role("button", name="Play").click()
    page.wait_for_function(IN_STEP)
    page.wait_for_function("onsets.length > 0")
    for act in ("player.seek(5.5)", "player.setSpeed(2)", "player.seek(0.3)", "player.setSpeed(1)"):
        page.evaluate(f"onsets.length = 0; {act}")
        page.wait_for_function(f"onsets.length > 0 && {IN_STEP}")
        away = page.evaluate("onsets.map((time) => Math.abs(time - Math.round(time)))")
        assert max(away) < 0.05, (act, away)  # 0.02 measured
    page.evaluate("player.seek(8.9)")
    page.wait_for_function(f"player.time < 2 && {IN_STEP}")
    page.get_by_role("button", name="Pause").click()
    assert page.evaluate("player.soundTime") is None
    page.get_by_role("button", name="Play").click()
    page.wait_for_function(IN_STEP)


def test_only_the_seconds_that_are_played_are_fetched(
    loud: Path, site: tuple[Server, list[tuple[str, str | None, int, int]]], new_page: Callable[..., Page]
) -> None:
    server, requests = site
    with Container(loud) as container:
        sound = range(len(container.segments[0].header.chunks), len(container.segments[0].chunks))
        starts = [container.segments[0].chunk_range(index)[0] for index in sound]

    def fetched(second: int) -> bool:
        spans = [span.removeprefix("bytes=").split("-") for path, span, *_ in requests if span and "video" in path]
        return any(int(first) <= starts[second] <= int(last) for first, last in spans)

    page = opened(new_page(), f"{server.address}#t=5.2")
    page.get_by_role("button", name="Play").click()
    page.wait_for_function(IN_STEP)
    wait_until(page, lambda: fetched(6))
    assert [fetched(second) for second in (2, 3, 5)] == [False, False, True]


def test_mute_and_volume(site: tuple[Server, object], new_page: Callable[..., Page]) -> None:
    page = opened(new_page(800), site[0].address)
    page.keyboard.press(" ")
    page.wait_for_function(IN_STEP)
    page.keyboard.press("m")
    assert page.evaluate("[player.muted, player.playing, player.soundTime]") == [True, True, None]
    slider = page.get_by_role("slider", name="Volume")
    assert slider.input_value() == "0"
    page.get_by_role("button", name="Unmute").click()
    page.wait_for_function(IN_STEP)
    slider.fill("0.25")
    assert page.evaluate("[player.volume, player.muted]") == [0.25, False]
    page.get_by_role("button", name="Mute").click()
    page.reload()
    settled(page)
    assert page.evaluate("[player.volume, player.muted]") == [0.25, True]
    assert page.get_by_role("button", name="Unmute").is_visible()


def test_without_decoders_of_sound_the_picture_plays(loud: Path, new_page: Callable[..., Page]) -> None:
    page = new_page()
    page.add_init_script("delete window.AudioDecoder")
    with serving_app(lambda: serving.create_app(loud)) as server:
        opened(page, server.address)
        page.evaluate("player.play()")
        page.wait_for_function("player.time > 0.5 && player.soundDescription.includes('silent')")
        page.wait_for_function(
            "document.getElementById('fact-sound')?.textContent.endsWith('this browser decodes no sound')"
        )
        assert page.evaluate("[player.playing, player.soundTime]") == [True, None]


def test_a_file_without_sound_has_no_button(motion_clip: Path, new_page: Callable[..., Page]) -> None:
    with serving_app(lambda: serving.create_app(motion_clip)) as server:
        page = opened(new_page(800), server.address)
        assert page.locator("#play").is_visible()
        assert page.locator("#mute, #volume").locator("visible=true").count() == 0
        page.evaluate("player.play()")
        page.wait_for_function("player.frame > 2")
        assert page.evaluate("[player.soundTime, player.soundDescription]") == [None, ""]


HEARD = """async ([yaw, y, x]) => {
  const { Ambisonics } = await import("./player/sound/ambisonics.js");
  const context = new OfflineAudioContext({ numberOfChannels: 2, length: 1, sampleRate: 48000 });
  const ears = new Ambisonics(context, context.destination);
  ears.turn(yaw);
  const buffer = new AudioBuffer({ numberOfChannels: 4, length: 1, sampleRate: 48000 });
  [1, y, 0, x].forEach((value, channel) => buffer.getChannelData(channel).fill(value));
  const node = new AudioBufferSourceNode(context, { buffer });
  node.connect(ears.input);
  node.start();
  const heard = await context.startRendering();
  return [0, 1].map((channel) => heard.getChannelData(channel)[0]);
}"""


def test_ambisonics_turn_with_the_view(site: tuple[Server, object], new_page: Callable[..., Page]) -> None:
    page = new_page()
    page.goto(site[0].address)
    for yaw, (left, ahead), heard in (
        (0, (1, 0), [1, 0]),
        (0, (-1, 0), [0, 1]),
        (0, (0, 1), [0.5, 0.5]),
        (90, (0, 1), [1, 0]),
        (-90, (0, 1), [0, 1]),
        (90, (1, 0), [0.5, 0.5]),
    ):
        assert page.evaluate(HEARD, [yaw, left, ahead]) == pytest.approx(heard, abs=1e-6)
