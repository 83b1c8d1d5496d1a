"""Long videos by the default model: segments are what they would be alone, interrupted or not; what is told of them."""

from pathlib import Path

import pytest
from helpers.progress import Stopped
from rich.console import Console

import nerv360
from nerv360.bitstream.container import Container
from nerv360.cli.live_table import job_table
from nerv360.cluster.plan import EncodePlan, Request, plan
from nerv360.cluster.scheduler import encode_plans
from nerv360.cluster.worker import JobUpdate, run_in_process
from nerv360.codec.encoder import checkpoint_path

INSTANT = nerv360.preset("instant")
SECONDS = 0.1  # three frames


def planned(video: Path, output: Path, config: nerv360.EncodingConfig = INSTANT) -> EncodePlan:
    return plan(Request(video, output), config, SECONDS)


def test_every_segment_is_what_it_would_be_alone(video: Path, tmp_path: Path) -> None:
    film = planned(video, tmp_path / "film.json")
    (result,) = encode_plans([film], run_in_process)
    assert not result.reason
    assert len(film.jobs) == 2
    for job in film.jobs:
        nerv360.encode(job.clip, tmp_path / "alone.nerv360", INSTANT)
        assert isinstance(job.output, Path)
        assert (tmp_path / "alone.nerv360").read_bytes() == job.output.read_bytes()


def test_every_segment_keeps_the_bitrate(video: Path, tmp_path: Path) -> None:
    film = planned(video, tmp_path / "film.nerv360", INSTANT.replace(bitrate=300_000))
    updates: list[JobUpdate] = []
    encode_plans([film], run_in_process, updates.append)
    with Container(tmp_path / "film.nerv360") as container:
        rate = container.header.rate_numerator / container.header.rate_denominator
        assert all(8 * each.length * rate / each.frames <= 300_000 for each in container.segments)
    assert all("more than" not in update.summary for update in updates)
    tight = planned(video, tmp_path / "tight.nerv360", INSTANT.replace(bitrate=1000))
    encode_plans([tight], run_in_process, updates.append)
    assert "more than the limit of" in updates[-1].summary


def test_an_interrupted_segment_goes_on_and_the_others_stay(
    video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nerv360.codec.motion_journal.SECONDS", 0.0)
    monkeypatch.setattr("nerv360.cluster.worker.UPDATE_SECONDS", 0.0)
    film = planned(video, tmp_path / "film.nerv360")
    undisturbed = tmp_path / "undisturbed.nerv360"
    encode_plans([planned(video, undisturbed)], run_in_process)

    def stop(update: JobUpdate) -> None:
        if update == JobUpdate("encoding", 2, 3, 1, update.worker):
            raise Stopped

    with pytest.raises(Stopped):
        encode_plans([film], run_in_process, stop)
    first, second = film.jobs
    assert isinstance(first.output, Path)
    assert isinstance(second.output, Path)
    assert first.output.exists()
    assert not second.output.exists()
    assert Path(checkpoint_path(second.output)).exists()
    updates: list[JobUpdate] = []
    encode_plans([planned(video, tmp_path / "film.nerv360")], run_in_process, updates.append)
    assert [update.job for update in updates if update.stage == "done" and not update.summary] == [0]
    assert (tmp_path / "film.nerv360").read_bytes() == undisturbed.read_bytes()
    assert not (tmp_path / "film.nerv360.parts").exists()


def test_the_table_shows_what_there_is(video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(width=200, record=True, force_terminal=True)
    monkeypatch.setattr("nerv360.cli.live_table.remarks", console)

    def shown() -> str:
        console.print(table.render())
        return console.export_text()

    with job_table([planned(video, tmp_path / "film.nerv360")]) as on_progress:
        table = on_progress.__self__  # type: ignore[attr-defined]
        console.export_text()
        on_progress(JobUpdate("trying", 3, 3, 0, "a:1"))
        on_progress(JobUpdate("trying", 1, 3, 0, "a:1"))
        told = shown()
        assert "trying 1/3" in told
        assert "PSNR" not in told
        assert "0.0 %; segments: 0 of 2 done, 1 running, 0 failed; 0.00 worker-hours so far" in told
        on_progress(JobUpdate("fitting", 50, 100, 1, "a:2", fraction=0.5, psnr_db=30.0, seconds=3600))
        told = shown()
        assert "30.00 dB" in told
        assert "25.0 %; segments: 0 of 2 done, 2 running, 0 failed; 1.00 worker-hours so far, about 4.00 in all" in told
        on_progress(JobUpdate("done", 3, 3, 0, "a:1", fraction=1.0, summary="small"))
        assert "75.0 %; segments: 1 of 2 done, 1 running" in shown()


def test_where_nobody_watches_a_line_tells_of_each_segment(
    video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    console = Console(width=40, record=True, force_terminal=False)
    monkeypatch.setattr("nerv360.cli.live_table.remarks", console)
    with job_table([planned(video, tmp_path / "film.nerv360")]) as on_progress:
        on_progress(JobUpdate("encoding", 3, 3, 0, "a:1"))
        on_progress(JobUpdate("done", 3, 3, 0, "a:1", summary="views of 30 dB"))
        on_progress(JobUpdate("done", 3, 3, 1, "a:1"))
    first, second = console.export_text().splitlines()
    assert first.endswith("film.nerv360: segment 1 of 2 done: views of 30 dB, by a:1")
    assert second.endswith("film.nerv360: segment 2 of 2 done: by an earlier run")
