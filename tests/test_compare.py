"""`nerv360 compare`: what classical codecs write, what is measured of it, what is kept, and what the curves say."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from nerv360.api import eval_file
from nerv360.cli import compare as cli_compare
from nerv360.cli.compare import compare
from nerv360.errors import ArgumentError, BitstreamError, MissingExtra, Nerv360Error, OutputError
from nerv360.evaluation import compare as comparing
from nerv360.evaluation.anchors import ANCHORS, AnchorDecoder, count_key_frames, encode_anchor
from nerv360.evaluation.compare import COLUMNS, Comparison, regular_key_frames, shared_key_frames
from nerv360.evaluation.rd_curves import LOOKS, bd_rate
from nerv360.evaluation.results_store import read_rows
from nerv360.extract import extract_viewport
from nerv360.geometry.viewport import Viewport, dynamic_viewports
from nerv360.types import BT709
from nerv360.video.clip import EXACT, Clip
from nerv360.video.writer import write_frames

LOOK = Viewport(width=72, height=48)


@pytest.fixture
def clip(video: Path) -> Clip:
    return Clip.open(video)


@pytest.fixture
def few_rates(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, anchor in ANCHORS.items():
        monkeypatch.setitem(ANCHORS, name, replace(anchor, crfs=anchor.crfs[::5]))


def key_frames_of(path: Path) -> list[int]:
    """In the order of showing."""
    with av.open(path) as container:
        shown = sorted((packet.pts, packet.is_keyframe) for packet in container.demux(video=0) if packet.size)
    return [index for index, (_, key) in enumerate(shown) if key]


@pytest.fixture(scope="module")
def two_scenes(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """Seven frames of noise, then seven of another."""
    path = tmp_path_factory.mktemp("scenes") / "two.mp4"
    noise = np.random.default_rng(0).integers(0, 256, (2, 10, 20, 3), np.uint8).repeat(8, 1).repeat(8, 2)
    write_frames(path, noise.repeat(7, axis=0), Fraction(2), BT709)
    return Clip.open(path)


@pytest.mark.parametrize("name", ANCHORS)
@pytest.mark.parametrize("key_frames", [[0], [0, 4, 9], range(0, 14, 4)], ids=str)
def test_key_frames_are_where_they_are_asked_for(
    name: str, key_frames: Sequence[int], two_scenes: Clip, tmp_path: Path
) -> None:
    path = tmp_path / f"coded{ANCHORS[name].ending}"
    assert encode_anchor(ANCHORS[name], 40, two_scenes, key_frames, path) > 0
    assert key_frames_of(path) == list(key_frames)
    assert count_key_frames(path) == len(key_frames)


def test_every_anchor_has_five_rates_and_says_its_settings() -> None:
    for anchor in ANCHORS.values():
        assert len(anchor.crfs) >= 5
        assert sorted(anchor.crfs) == list(anchor.crfs)
        assert {"crf=30", "g=64", "threads=1", "keys=0,16"} <= set(anchor.settings(30, 64, [0, 16]).split())
    assert ANCHORS["x264"].settings(30, 64, [0]).endswith(" keys=0:64:64")
    assert ANCHORS["x264"].settings(30, 64, range(0, 64, 25)).endswith(" keys=0:64:25")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("x264", {"preset": "medium", "tune": "psnr", "sc_threshold": "0", "forced-idr": "1"}),
        ("x265", {"preset": "medium", "tune": "psnr", "forced-idr": "1", "x265-params": "scenecut=0:open-gop=0"}),
        ("svt-av1", {"preset": "6", "svtav1-params": "tune=1:scd=0:irefresh-type=2"}),
        ("vp9", {"deadline": "good", "cpu-used": "1", "keyint_min": "64"}),
        ("x264-veryslow", {"preset": "veryslow", "tune": "psnr", "sc_threshold": "0", "forced-idr": "1"}),
        ("x265-veryslow", {"preset": "veryslow", "tune": "psnr", "x265-params": "scenecut=0:open-gop=0"}),
        ("svt-av1-preset2", {"preset": "2", "svtav1-params": "tune=1:scd=0:irefresh-type=2"}),
        ("vp9-cpu0", {"deadline": "good", "cpu-used": "0", "keyint_min": "64"}),
    ],
)
def test_options_of_each_anchor(name: str, options: dict[str, str]) -> None:
    told = ANCHORS[name].options(30, 64)
    assert (told["crf"], told["g"], told["threads"]) == ("30", "64", "1")
    for option, value in options.items():
        assert set(value.split(":")) <= set(told[option].split(":")), option


def test_every_anchor_has_a_look() -> None:
    assert list(LOOKS) == list(ANCHORS)
    assert len(set(LOOKS.values())) == len(LOOKS)


def test_an_anchor_is_measured_from_its_file(clip: Clip, tmp_path: Path) -> None:
    rows = [Comparison(clip, LOOK, [0], tmp_path).anchor_row(ANCHORS["x264"], crf) for crf in (20, 32, 44)]
    assert [float(row["mean_psnr_db"]) for row in rows] == sorted(
        (float(r["mean_psnr_db"]) for r in rows), reverse=True
    )
    for row in rows:
        assert independent_psnr_db(tmp_path / row["file"], clip) == pytest.approx(float(row["mean_psnr_db"]), abs=1e-3)
        assert int(row["bytes"]) == (tmp_path / row["file"]).stat().st_size
        seconds = clip.frames * 1001 / 30000
        assert float(row["kbit_s"]) == pytest.approx(8 * int(row["bytes"]) / seconds / 1000, rel=1e-4)
        assert float(row["encode_s"]) >= 0
        assert float(row["decode_fps"]) >= 0


def independent_psnr_db(path: Path, clip: Clip) -> float:
    """Over both trajectories, with PyAV and NumPy alone."""
    with av.open(path) as container:
        decoded = [
            frame.reformat(format="rgb24", interpolation=EXACT).to_ndarray() for frame in container.decode(video=0)
        ]
    figures = []
    for views in dynamic_viewports(LOOK, clip.frames).values():
        for ours, source, view in zip(decoded, clip, views, strict=True):
            error = extract_viewport(ours, view).astype(float) - extract_viewport(source, view)
            figures.append(10 * np.log10(255**2 / np.mean(error**2)))
    return float(np.mean(figures))


def test_the_decoder_goes_back(clip: Clip, tmp_path: Path) -> None:
    path = tmp_path / "coded.mkv"
    encode_anchor(ANCHORS["x264"], 30, clip, [0], path)
    decoder, frames = AnchorDecoder(path), list(Clip.open(path))
    for index in (3, 5, 5, 0, 2):
        assert np.array_equal(decoder.panorama(index), frames[index])


def test_a_finished_run_is_not_run_again(
    video: Path, tmp_path: Path, few_rates: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[int] = []

    def interrupted(anchor: object, crf: int, *arguments: object) -> float:
        if len(encoded) == 2:
            raise KeyboardInterrupt
        encoded.append(crf)
        return encode_anchor(anchor, crf, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(comparing, "encode_anchor", interrupted)
    with pytest.raises(KeyboardInterrupt):
        compare(video, anchors="x264,vp9", output=tmp_path)
    assert len(read_rows(tmp_path / "runs.tsv")) == 2
    encoded.clear()
    compare(video, anchors="x264,vp9", output=tmp_path)
    assert encoded == list(ANCHORS["vp9"].crfs)
    before = (tmp_path / "runs.tsv").read_bytes()
    compare(video, anchors="x264,vp9", output=tmp_path)
    assert (tmp_path / "runs.tsv").read_bytes() == before
    assert len(encoded) == 2


def test_our_files_are_measured_as_eval_does(
    video: Path, fitted_grids: Path, tmp_path: Path, few_rates: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    compare(video, [fitted_grids], "8", "instant", "x264", output=tmp_path)
    rows = read_rows(tmp_path / "runs.tsv")
    assert [row["codec"] for row in rows] == ["x264", "x264", "nerv360-grid", "nerv360-motion"]
    assert {row["key_frames"] for row in rows} == {"1"}
    by_name = {row["settings"]: row for row in rows}
    expected = eval_file(fitted_grids, video)
    assert by_name[fitted_grids.name]["mean_psnr_db"] == f"{expected.mean.psnr_db:.3f}"
    assert by_name[fitted_grids.name]["ws_psnr_db"] == f"{expected.ws_psnr_db:.3f}"
    assert int(by_name[fitted_grids.name]["bytes"]) == fitted_grids.stat().st_size
    assert by_name[fitted_grids.name]["encode_s"] == ""
    assert float(by_name["instant, rate weight 8"]["encode_s"]) > 0
    text = (tmp_path / "table.md").read_text()
    assert text.count("| nerv360-") == 2
    assert "| nerv360-grid   | x264" in (tmp_path / "bd-rate.md").read_text()
    assert Image.open(tmp_path / "curves.png").width > 1500
    page = (tmp_path / "curves.html").read_text()
    assert "<svg" in page
    assert "instant, rate weight 8" in page
    assert not any(word in page for word in ("<script", "<link", "<img", 'href="http'))


def test_one_frame(make_video: Callable[..., Path], tmp_path: Path, few_rates: None) -> None:
    compare(make_video(frames=1), output=tmp_path)
    assert {row["codec"] for row in read_rows(tmp_path / "runs.tsv")} == set(ANCHORS)


def test_a_key_interval_in_seconds(video: Path, tmp_path: Path, few_rates: None) -> None:
    compare(video, anchors="x264", key_interval=0.1, output=tmp_path)
    for row in read_rows(tmp_path / "runs.tsv"):
        assert row["key_frames"] == "2"
        assert row["settings"].endswith(" keys=0:6:3")
        assert key_frames_of(tmp_path / row["file"]) == [0, 3]


def test_a_codec_that_pyav_lacks(
    video: Path, tmp_path: Path, few_rates: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in set(ANCHORS) - {"x264"}:
        monkeypatch.setitem(ANCHORS, name, replace(ANCHORS[name], encoder="libnothing"))
    with pytest.raises(ArgumentError, match=r"^--anchors vp9: PyAV has no libnothing here; leave it out"):
        compare(video, anchors="x264,vp9", output=tmp_path)
    compare(video, output=tmp_path)
    assert "left out: vp9: PyAV has no libnothing here\n" in capsys.readouterr().out
    assert "left out: PyAV has no libnothing here" in (tmp_path / "table.md").read_text()
    assert {row["codec"] for row in read_rows(tmp_path / "runs.tsv")} == {"x264"}
    monkeypatch.setitem(ANCHORS, "x264", ANCHORS["vp9"])
    with pytest.raises(ArgumentError, match="nothing to compare"):
        compare(video, output=tmp_path)


def test_a_missing_package_is_named(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli_compare, "find_spec", lambda name: None if name == "matplotlib" else object())
    with pytest.raises(MissingExtra, match=r"needs matplotlib: pip install 'nerv360\[compare\]'"):
        compare(video)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"anchors": "h261"}, "--anchors h261: must be among x264, x264-veryslow, x265, x265-veryslow, svt-av1, "),
        ({"rate_weights": "1,x"}, "--rate-weights 1,x: must be numbers"),
        ({"preset": "tiny"}, "--preset tiny: must be one of instant"),
        ({"viewport": "32x20"}, "--viewport 32x20: MS-SSIM needs sides of at least 33"),
        ({"start": 6}, "--start 6 is beyond the last"),
        ({"size": "150x75", "anchors": "x264"}, "150x75: classical codecs need even sides"),
    ],
)
def test_bad_input(video: Path, tmp_path: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(Nerv360Error, match=message):
        compare(video, output=tmp_path, **options)  # type: ignore[arg-type]


def test_a_file_of_another_clip(video: Path, encoded: Path, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"is 160x80, 6 frames, the clip 160x80, 5; give --size 160x80 --frames 6"):
        compare(video, [encoded], frames=5, output=tmp_path)
    with pytest.raises(BitstreamError):
        compare(video, [video], output=tmp_path)


CURVE = [(1000.0, 30.0), (2000.0, 33.0), (4000.0, 35.5), (8000.0, 37.0)]


def test_bd_rate() -> None:
    assert bd_rate(CURVE, CURVE) == "+0.0 % (30.00 to 37.00)"
    assert bd_rate(CURVE, [(size / 2, quality) for size, quality in CURVE[::-1]]) == "-50.0 % (30.00 to 37.00)"
    assert bd_rate(CURVE, [(size, quality) for size, quality in CURVE[1:]]).endswith("% (33.00 to 37.00)")
    higher = [(size, quality + 10) for size, quality in CURVE]
    assert bd_rate(CURVE, higher) == "no overlap: 30.00 to 37.00 and 40.00 to 47.00"
    assert bd_rate(CURVE, CURVE[:1]) == "one rate, no curve"
    assert bd_rate(CURVE, [*CURVE, (9000.0, 36.0)]) == "quality does not rise with the rate"


def test_rows_are_text(clip: Clip, tmp_path: Path) -> None:
    comparison = Comparison(clip, LOOK, [0], tmp_path)
    row = comparison.anchor_row(ANCHORS["vp9"], 63)
    assert read_rows(tmp_path / "runs.tsv") == [dict(row)]
    assert tuple(row) == COLUMNS
    assert row["key_frames"] == "1"
    wider = replace(comparison, look=replace(LOOK, width=96)).anchor_row(ANCHORS["vp9"], 63)
    more_keys = replace(comparison, key_frames=[0, 3]).anchor_row(ANCHORS["vp9"], 63)
    assert len({row["run"], wider["run"], more_keys["run"]}) == 3
    assert more_keys["key_frames"] == "2"


def test_a_table_of_other_columns_is_refused_at_once(video: Path, tmp_path: Path) -> None:
    (tmp_path / "runs.tsv").write_text("run\tcodec\n")
    with pytest.raises(OutputError, match="has other columns, of another version; take another folder"):
        compare(video, anchors="x264", output=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["runs.tsv"]


def test_key_frames_begin_the_segments_of_our_files(clip: Clip) -> None:
    assert shared_key_frames([]) == (0,)
    assert shared_key_frames([[0, 3], [0, 3]]) == [0, 3]
    with pytest.raises(ArgumentError, match=r"compare them one by one, or give .* --key-interval SECONDS"):
        shared_key_frames([[0, 3], [0]])
    assert list(regular_key_frames(replace(clip, frames=100), 1.5)) == [0, 45, 90]
    assert list(regular_key_frames(clip, 0.001)) == [0, 1, 2, 3, 4, 5]
