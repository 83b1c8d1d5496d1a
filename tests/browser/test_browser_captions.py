"""Captions over the picture."""

from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from helpers.browser import INSIDE, Page, Server, serving_app, settled, static_app

from nerv360.serving import server as serving
from nerv360.serving.site import export_site

pytestmark = pytest.mark.browser

ENGLISH = "WEBVTT\n\n00:00.000 --> 00:00.050\nFirst <i>line</i>\n\n00:00.040 --> 00:00.100\nSecond\n"
PLACED = """WEBVTT

00:00.000 --> 00:01.000 line:0 position:10% size:40% align:start
<v Ann>Top</v>

00:00.000 --> 00:01.000 line:0 position:90% size:40% align:end
Beside

00:00.000 --> 00:01.000 line:50% align:center size:50%
Middle

00:00.000 --> 00:01.000
Bottom

00:00.000 --> 00:01.000 line:-1
Above
and more

00:00.000 --> 00:01.000 line:0 align:start size:40%
Moved
"""
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


def test_captions_are_where_they_ask_to_be(host: Callable[..., Page]) -> None:
    track = "data:text/vtt," + quote(PLACED)
    size = "<style>nerv360-player { width: 400px !important; height: 300px !important }</style>"
    body = f'{size}<nerv360-player src="player.json"><track src="{track}" default></nerv360-player>'
    page = host('import "./player/element.js"', body)
    page.locator("#captions p").first.wait_for()
    inside = page.locator("#captions").bounding_box()
    boxes = {box.inner_text().split()[0]: box.bounding_box() for box in page.locator("#captions p").all()}
    line = boxes["Top"]["height"]
    rows = inside["height"] / line
    places = {
        text: [
            (box["x"] - inside["x"]) / inside["width"],
            box["width"] / inside["width"],
            (box["y"] - inside["y"]) / line,
        ]
        for text, box in boxes.items()
    }
    assert places == {  # left and width as parts of the whole, and the line
        "Top": pytest.approx([0.1, 0.4, 0], abs=0.01),
        "Beside": pytest.approx([0.5, 0.4, 0], abs=0.01),
        "Middle": pytest.approx([0.25, 0.5, rows / 2], abs=0.01),
        "Bottom": pytest.approx([0, 1, rows - 1], abs=0.01),
        "Above": pytest.approx([0, 1, rows - 3], abs=0.01),  # two lines
        "Moved": pytest.approx([0, 0.4, 1], abs=0.01),
    }
    ends = page.get_by_text("Beside").bounding_box()
    assert ends["x"] + ends["width"] == pytest.approx(inside["x"] + 0.9 * inside["width"], abs=1)
    assert page.get_by_title("Ann").inner_text() == "Top"  # who speaks


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
