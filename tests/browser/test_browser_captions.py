"""Captions over the picture."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from helpers.browser import INSIDE, Page, Server, serving_app, settled, static_app

from nerv360.serving import server as serving
from nerv360.serving.site import export_site

pytestmark = pytest.mark.browser

ENGLISH = "WEBVTT\n\n00:00.000 --> 00:00.050\nFirst <i>line</i>\n\n00:00.040 --> 00:00.100\nSecond\n"
GERMAN = "WEBVTT\n\n00:00.000 --> 10:00.000\nErste\n"


@pytest.fixture
def texts(tmp_path: Path) -> list[Path]:
    files = {"film.en.vtt": ENGLISH, "film.de.vtt": GERMAN, "lost.vtt": ENGLISH}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    return [tmp_path / name for name in files]


@pytest.fixture(params=["served", "site"])
def player_page(
    request: pytest.FixtureRequest, motion_clip: Path, texts: list[Path], tmp_path: Path
) -> Iterator[Server]:
    """A server of the page, one of whose captions are gone when they are asked for."""
    if request.param == "site":
        export_site(motion_clip, tmp_path / "site", captions=texts)
        (tmp_path / "site" / "captions-2.vtt").unlink()
    else:
        served = serving.create_app(motion_clip, captions=texts)
        texts[2].unlink()
    with serving_app(lambda: static_app(tmp_path / "site", []) if request.param == "site" else served) as server:
        yield server


def test_captions_are_chosen_and_follow_the_time(player_page: Server, new_page: Callable[..., Page]) -> None:
    page = new_page()
    page.goto(f"{player_page.address}?backend=wasm")
    settled(page)
    shown = page.locator("#captions p")
    assert shown.count() == 0
    page.keyboard.press("c")
    assert page.evaluate(f"{INSIDE}.getElementById('said').textContent") == "Captions: English"
    shown.first.wait_for()
    assert shown.all_inner_texts() == ["First line"]
    assert shown.locator("i").inner_text() == "line"
    page.evaluate("player.seek(0.045)")
    assert shown.all_inner_texts() == ["First line", "Second"]
    page.evaluate("player.seek(0.07)")
    assert shown.all_inner_texts() == ["Second"]
    page.evaluate("player.seek(0.15)")
    assert shown.count() == 0

    button = page.get_by_role("button", name="Captions")
    assert button.get_attribute("aria-pressed") == "true"
    button.click()
    shown.first.wait_for()
    assert shown.all_inner_texts() == ["Erste"]
    assert button.get_attribute("title") == "Captions: Deutsch (c)"
    button.click()  # those that do not come are left out
    page.wait_for_function(f"{INSIDE}.getElementById('choose-captions').getAttribute('aria-pressed') === 'false'")
    assert shown.count() == 0
    assert page.evaluate("document.getElementById('video').captions.tracks.length") == 2


def test_a_page_of_another_gives_its_own(host: Callable[..., Page]) -> None:
    track = "data:text/vtt," + GERMAN.replace("\n", "%0A")
    body = f"""<nerv360-player src="player.json" controls>
      <track src="{track}" srclang="de" label="Deutsch" default></nerv360-player>"""
    page = host('import "./player/element.js"', body)
    shown = page.locator("#captions p")
    shown.first.wait_for()
    assert shown.all_inner_texts() == ["Erste"]
    page.get_by_role("button", name="Captions").click()
    assert shown.count() == 0
    page.evaluate("document.querySelector('nerv360-player').remove()")  # and all is freed
