"""Long videos: frames sought, damage, shots, segments joined and decoded as one video, places behind URLs."""

import shutil
from dataclasses import replace
from pathlib import Path

import av
import fsspec
import numpy as np
import pytest
from helpers.progress import Stopped, on_steps, stop_at

import nerv360
from nerv360.bitstream.container import Container
from nerv360.cluster import worker
from nerv360.cluster.plan import EncodePlan, Request, plan
from nerv360.cluster.scheduler import encode_plans
from nerv360.cluster.worker import JobUpdate, run_in_process
from nerv360.codec.mux import mux
from nerv360.config import EncodingConfig, preset_for
from nerv360.errors import BitstreamError, OutputError, TrainingError, VideoError
from nerv360.geometry.viewport import Viewport
from nerv360.video.clip import Clip
from nerv360.video.shots import Survey, segments_of, survey
from nerv360.video.synthetic import render_frame

SHORT: EncodingConfig = preset_for("nerv360", "tiny").replace(decoder_size=106_000, encoder_channels=8, epochs=1)
VIEW = Viewport(yaw_deg=20, width=48, height=48)


@pytest.fixture(scope="module")
def two_shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 frames at 10 a second, another shot from frame 10 on; a key frame every 6, with frames that refer ahead."""
    path = tmp_path_factory.mktemp("shots") / "film.mp4"
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=10, options={"g": "6", "bf": "2", "crf": "20"})
        stream.width, stream.height, stream.pix_fmt = 160, 80, "yuv420p"
        for index in range(24):
            picture = render_frame(index, width=160, height=80, frames=64)
            picture = picture if index < 10 else 255 - np.roll(picture, 50, axis=1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def film(two_shots: Path, tmp_path_factory: pytest.TempPathFactory) -> EncodePlan:
    """Planned, and encoded in parts under a manifest, which stay."""
    planned = plan(Request(two_shots, tmp_path_factory.mktemp("film") / "film.json"), SHORT, 1.0)
    (result,) = encode_plans([planned], run_in_process)
    assert not result.reason
    return planned


@pytest.fixture(scope="module")
def joined(film: EncodePlan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("joined") / "film.nerv360"
    mux([job.output for job in film.jobs], output)
    return output


def damaged(path: Path, to: Path, frame: int) -> Path:
    """A copy whose packet of that frame is noise."""
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        packet = sorted(packets, key=lambda each: each.pts)[frame]
        data = bytearray(path.read_bytes())
        data[packet.pos + 5 : packet.pos + packet.size] = bytes(packet.size - 5)
    to.write_bytes(data)
    return to


def test_a_sought_frame_is_the_one_that_reading_comes_to(two_shots: Path) -> None:
    clip = Clip.open(two_shots)
    frames = list(clip)
    assert len(frames) == 24
    for index in (0, 5, 6, 7, 15, 23):
        assert np.array_equal(next(clip.read(index, index + 1)), frames[index])
    part = clip.cut(7, 12).cut(2, 9)
    assert (part.start, part.frames) == (9, 9)
    assert all(np.array_equal(a, b) for a, b in zip(part, frames[9:18], strict=True))
    without = replace(part, timing=replace(part.timing, times=()))  # as of files that do not say when a frame is shown
    assert all(np.array_equal(a, b) for a, b in zip(part, without, strict=True))


def test_a_damaged_middle_is_named_and_bridged(two_shots: Path, tmp_path: Path) -> None:
    clip = Clip.open(damaged(two_shots, tmp_path / "film.mp4", 14))
    found = survey(clip)
    assert 14 in found.missing
    assert len(found.missing) < 6  # up to the next key frame at most
    mended = list(clip)
    assert len(mended) == 24
    last = max(frame for frame in range(14) if frame not in found.missing)
    assert np.array_equal(mended[14], mended[last])
    whole = list(Clip.open(two_shots))
    assert all(np.array_equal(mended[frame], whole[frame]) for frame in (*range(10), *range(18, 24)))


def test_a_clip_that_begins_with_missing_frames(two_shots: Path, tmp_path: Path) -> None:
    """They repeat the one before, wherever reading begins; where there is none, the next; or reading fails."""
    clip = Clip.open(damaged(two_shots, tmp_path / "film.mp4", 14))
    missing = sorted(survey(clip).missing)
    frames = list(clip)
    for index in missing:
        assert np.array_equal(next(clip.read(index, index + 1)), frames[missing[0] - 1])
        assert np.array_equal(next(iter(clip.cut(index, 1))), frames[missing[0] - 1])
    clip = Clip.open(damaged(two_shots, tmp_path / "film.mkv", 0))
    missing = sorted(survey(clip).missing)
    assert missing[0] == 0
    assert np.array_equal(next(iter(clip)), next(iter(clip.cut(len(missing), 1))))
    with pytest.raises(VideoError, match="none of the frames 0-0 can be decoded"):
        list(clip.cut(0, 1))


def test_a_video_that_ends_early_says_how_much_is_lost(two_shots: Path, tmp_path: Path) -> None:
    data = two_shots.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) * 2 // 3])
    clip = Clip.open(tmp_path / "cut.mp4")
    assert clip.frames + clip.lost == 24
    assert 5 < clip.frames < 24
    assert not clip.cut(0, 5).lost


def test_shots_are_found_and_cut_into_even_segments(two_shots: Path) -> None:
    found = survey(Clip.open(two_shots))
    assert found == Survey((10,), frozenset())
    assert segments_of(24, found, 10) == [range(10), range(10, 17), range(17, 24)]
    assert segments_of(24, found, 100) == [range(10), range(10, 24)]
    assert segments_of(1, Survey((), frozenset()), 1) == [range(1)]
    lost = Survey((14,), frozenset(range(3, 30)))
    assert segments_of(40, lost, 5) == [range(4), range(4, 31), range(31, 35), range(35, 40)]
    assert segments_of(9, Survey((), frozenset(range(4, 9))), 3) == [range(3), range(3, 9)]


def test_joining_copies_every_byte_of_the_segments(film: EncodePlan, joined: Path) -> None:
    with Container(joined) as container:
        assert [segment.frames for segment in container.segments] == [10, 7, 7]
        assert sum(container.budget().values()) == joined.stat().st_size
    rest = joined.read_bytes()
    for job in reversed(film.jobs):
        assert isinstance(job.output, Path)
        with Container(job.output) as part:
            body = job.output.read_bytes()[-part.header.segments[0].length :]
        assert rest.endswith(body)
        rest = rest[: -len(body)]


def test_many_segments_are_one_video(film: EncodePlan, joined: Path) -> None:
    expected = []
    for job in film.jobs:
        with nerv360.open(job.output) as decoder:
            expected += [decoder.viewport(frame, VIEW) for frame in range(decoder.frames)]
    for path in (joined, film.output):
        with nerv360.open(path) as decoder:
            played = list(decoder.play((frame, VIEW) for frame in range(24)))
            sought = [decoder.viewport(frame, VIEW) for frame in (23, 0, 10, 9, 16, 17)]
        assert all(np.array_equal(a, b) for a, b in zip(played, expected, strict=True))
        for picture, frame in zip(sought, (23, 0, 10, 9, 16, 17), strict=True):  # of some, PyTorch draws the first
            assert np.abs(picture.astype(int) - expected[frame]).max() <= 1


def test_the_next_segment_is_opened_ahead(joined: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nerv360.codec.decoder.OPEN_AHEAD_SECONDS", 0.5)
    with nerv360.open(joined) as decoder:
        decoder.viewport(3, VIEW)
        assert set(decoder._decoders._values) == {0}
        decoder.viewport(6, VIEW)
        assert set(decoder._decoders._values) == {0, 10}
        for frame in range(24):
            decoder.viewport(frame, VIEW)
        assert len(decoder._decoders._values) <= 3


def test_quality_of_every_segment(two_shots: Path, joined: Path) -> None:
    result = nerv360.eval_file(joined, two_shots)
    assert [(each.first_frame, each.frames) for each in result.segments] == [(0, 10), (10, 7), (17, 7)]
    mean = sum(each.quality.psnr_db * each.frames for each in result.segments) / 24
    assert result.mean.psnr_db == pytest.approx(mean)


def test_damage_to_one_segment_is_found_when_it_is_opened(joined: Path, tmp_path: Path) -> None:
    data = bytearray(joined.read_bytes())
    with Container(joined) as container:
        data[container.segments[2].offset - 1] ^= 1
    (tmp_path / "a.nerv360").write_bytes(data)
    with nerv360.open(tmp_path / "a.nerv360") as decoder:
        decoder.viewport(0, VIEW)
        with pytest.raises(BitstreamError, match=r"a.nerv360: damaged.*segment header"):
            decoder.viewport(23, VIEW)
    with pytest.raises(BitstreamError, match="segment header"), Container(tmp_path / "a.nerv360") as container:
        container.verify()


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('"file": "', '"file": "../', "not a manifest"),
        ('"file": "', '"file": "/', "not a manifest"),
        ('"file": "', '"file": "s3://a/', "not a manifest"),
        ('"bytes": ', '"bytes": -', "not a manifest"),
        ('"bytes": ', '"bytes": 1', "bytes, but the header speaks of"),
        ('"file": "', '"file": "gone-', "no such file|No such file"),
        ('"offset": ', '"offset": 9', "damaged|truncated"),
        ('"head": "', '"head": "AAAA', "not a .nerv360 file"),
    ],
)
def test_forged_manifests(film: EncodePlan, tmp_path: Path, old: str, new: str, why: str) -> None:
    assert isinstance(film.output, Path)
    shutil.copytree(film.output.parent, tmp_path, dirs_exist_ok=True)
    manifest = tmp_path / film.output.name
    manifest.write_text(manifest.read_text().replace(old, new))
    with pytest.raises(BitstreamError, match=why), Container(manifest) as container:
        container.verify()


def test_parts_of_different_videos_are_not_joined(film: EncodePlan, encoded: Path, tmp_path: Path) -> None:
    with pytest.raises(BitstreamError, match="another video"):
        mux([film.jobs[0].output, encoded], tmp_path / "a.nerv360")
    assert not list(tmp_path.iterdir())


def test_a_segment_that_fails_keeps_the_others(
    two_shots: Path, film: EncodePlan, joined: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = plan(Request(two_shots, tmp_path / "film.nerv360"), SHORT, 1.0)
    other = plan(Request(two_shots, tmp_path / "other.nerv360", frames=5), SHORT, 1.0)
    encode_clip = worker.encode_clip

    def fails(clip: Clip, *rest: object) -> object:
        if clip.start == 10:
            raise TrainingError("the loss collapsed")
        return encode_clip(clip, *rest)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(worker, "encode_clip", fails)
        results = encode_plans([planned, other], run_in_process)
    assert [result.reason for result in results] == ["1 of 3 segments failed; the first: the loss collapsed", ""]
    assert not (tmp_path / "film.nerv360").exists()
    assert (tmp_path / "other.nerv360").exists()
    updates: list[JobUpdate] = []
    again = plan(Request(two_shots, tmp_path / "film.nerv360"), SHORT, 1.0)
    damaged_part = planned.jobs[0].output
    assert isinstance(damaged_part, Path)
    damaged_part.write_bytes(damaged_part.read_bytes()[:-1])
    (result,) = encode_plans([again], run_in_process, updates.append)
    assert sum(update.stage == "done" and not update.seconds for update in updates) == 1  # it was there
    assert (tmp_path / "film.nerv360").read_bytes() == joined.read_bytes()
    assert not (tmp_path / "film.nerv360.parts").exists()
    assert result.size == joined.stat().st_size


def test_places_behind_urls(two_shots: Path, joined: Path) -> None:
    store = fsspec.filesystem("memory")
    store.pipe("/in/film.mp4", two_shots.read_bytes())
    request = Request("memory://in/film.mp4", "memory://out/film.nerv360")
    (result,) = encode_plans([plan(request, SHORT, 1.0)], run_in_process)
    assert not result.reason
    assert store.cat("/out/film.nerv360") == joined.read_bytes()
    assert store.find("/out") == ["/out/film.nerv360"]
    with nerv360.open("memory://out/film.nerv360") as decoder:
        assert decoder.viewport(20, VIEW).shape == (48, 48, 3)
    for missing in ("memory://out/none.nerv360", "nonsense://a/b.nerv360"):
        with pytest.raises(BitstreamError, match="cannot be opened"):
            nerv360.open(missing)
    with pytest.raises(VideoError, match="cannot be read"):
        Clip.open("memory://in/none.mp4")


def test_an_interrupted_fit_goes_on_from_a_remote_checkpoint(
    video: Path, quick: EncodingConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nerv360.training.fit.SAVE_SECONDS", 0.0)
    monkeypatch.setattr("nerv360.training.fit.MOST_SECONDS", 0.0)
    store = fsspec.filesystem("memory")
    with pytest.raises(Stopped):
        nerv360.encode(video, "memory://kept/a.nerv360", quick, on_progress=stop_at(20))
    assert store.find("/kept") == ["/kept/a.nerv360.checkpoint"]
    steps: list[int] = []
    nerv360.encode(video, "memory://kept/a.nerv360", quick, on_progress=on_steps(lambda step: steps.append(step.done)))
    assert steps[0] > 15
    nerv360.encode(video, tmp_path / "b.nerv360", quick)
    assert store.cat("/kept/a.nerv360") == (tmp_path / "b.nerv360").read_bytes()
    assert store.find("/kept") == ["/kept/a.nerv360"]


def test_a_store_that_refuses_is_told_before_any_work(two_shots: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("Access Denied")

    monkeypatch.setattr(fsspec.filesystem("memory").__class__, "put_file", refuse)
    with pytest.raises(OutputError, match=r"memory://full/.*no permission \(Access Denied\)"):
        plan(Request(two_shots, "memory://full/film.nerv360"), SHORT, 1.0)
