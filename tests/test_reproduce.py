"""`nerv360 reproduce`: what is run, what is kept, what is not run again, and what the tables say."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from helpers.commands import Commands
from helpers.processes import alive, has_loaded, running, wait_for
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from nerv360.cli.reproduce_runs import carry_out, setting_name
from nerv360.config import SCALES, EncodingConfig, preset_for
from nerv360.errors import OutOfMemory, OutputError
from nerv360.evaluation.results_store import Row, append_row, device_name, read_rows
from nerv360.evaluation.tables import markdown
from nerv360.experiments import benchmark, reproduce, tables
from nerv360.experiments.reproduce import Run, table1_runs, table2_runs
from nerv360.models.build import build, decoder_size
from nerv360.models.registry import MODELS
from nerv360.models.spec import MemoryUse
from nerv360.training.configure import configure
from nerv360.video.clip import Clip

NAME = "table1-film-0-2-192x96-140000-1-seed-0-*"  # and a digest of the film
SMALL = ["--frames", "2", "--size", "192x96", "--epochs", "1"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, make_video: Callable[..., Path]) -> Path:
    """Where the small film lies, and what is made of it."""
    folder = tmp_path_factory.mktemp("reproduce")
    make_video(192, 96, 2).rename(folder / "film.mp4")
    return folder


def only_file(folder: Path, pattern: str) -> Path:
    (path,) = folder.glob(pattern)
    return path


@pytest.mark.slow
def test_table_1_is_made_once(commands_with_torch: Commands, folder: Path) -> None:
    run = partial(commands_with_torch, "reproduce", cwd=folder)
    first = run("table1", "film.mp4", *SMALL, "--repeats", "1")
    assert first.returncode == 0, first.stderr
    out = folder / "reproduction"
    rows, costs = read_rows(out / "runs.tsv"), read_rows(out / "costs.tsv")
    assert [row["variant"] for row in rows] == [
        "HNeRV",
        "HNeRV-Boost",
        "NeRV360",
        "NeRV360, 8 views per step",
        "HNeRV, its own recipe",
    ]
    assert [cost["phase"] for cost in costs].count("decoding") == 3  # several views are a matter of training
    assert [cost["phase"] for cost in costs].count("training") == 4  # one for both losses of HNeRV
    for row in rows:
        file = out / f"{row['run']}.nerv360"
        assert file.stat().st_size == int(row["bytes"])
        assert row["command"] == "nerv360 reproduce table1 film.mp4 " + " ".join([*SMALL, "--repeats", "1"])
        assert (row["panorama"], row["frames"], row["seed"], row["steps"]) == ("192x96", "2", "0", "2")
    assert all(float(cost["frames_per_s"]) > 0 and float(cost["peak_mib"]) > 0 for cost in costs)
    lines = only_file(out, f"{NAME}.md").read_text().splitlines()
    assert len(lines) == 2 + 2 + len(rows) + 3  # title, head, ours, published
    assert f"{float(rows[2]['mean_psnr_db']):.2f}" in lines[6]
    assert "38.4" in lines[-1]
    page = only_file(out, f"{NAME}.html").read_text()
    assert "<h2>Table I: film.mp4; 2 frames at 192x96" in page
    assert page.count("<tr>") == 1 + 5 + 3

    times = {file: file.stat().st_mtime_ns for file in out.glob("*.nerv360")}
    before = (out / "runs.tsv").read_bytes()
    again = run("table1", "film.mp4", *SMALL, "--repeats", "1")
    assert again.returncode == 0, again.stderr
    assert (out / "runs.tsv").read_bytes() == before
    assert {file: file.stat().st_mtime_ns for file in out.glob("*.nerv360")} == times

    part = run("figure4", "film.mp4", *SMALL, "--only", "HNeRV")
    assert part.returncode == 0, part.stderr
    assert not list(out.glob("figure4*"))  # of a part, which would take the place of the whole
    picture = run("figure4", "film.mp4", *SMALL)
    assert picture.returncode == 0, picture.stderr
    assert (out / "runs.tsv").read_bytes() == before
    shown = np.array(Image.open(only_file(out, f"{NAME.replace('table1', 'figure4')}.png")))
    assert shown.std() > 20
    assert shown.shape[1] > 5 * 300


def test_a_run_is_known_by_its_clip_and_settings(video: Path) -> None:
    clip = Clip.open(video)
    settings = preset_for("nerv360", "tiny")
    runs = [*table1_runs(settings, [clip], [0, 1]), *table2_runs(settings, [clip], [0])]
    names = {run.name for run in runs}
    assert len(names) == 2 * 5 + 7 - 1  # the first row of Table II is the third of Table I
    assert runs[2].name == runs[10].name
    assert Run("x", settings, replace(clip, start=1)).name not in names
    assert Run("x", settings.replace(epochs=7), clip).name not in names


def test_table_2_has_the_papers_seven_rows(video: Path) -> None:
    runs = table2_runs(SCALES["paper-17.6m"].settings, [Clip.open(video)], [0])
    assert [run.variant for run in runs] == list(tables.PUBLISHED_2)
    for run in runs:
        shape = configure(run.config, 6144, 3072)
        with torch.device("meta"):
            assert decoder_size(build(shape)) == pytest.approx(17_600_000, rel=0.02)
        embedding = f"{shape.embedding_channels}x{shape.grid_height}x{shape.grid_width}"
        assert embedding == tables.PUBLISHED_2[run.variant][0]
    assert [run.config.architecture.expand_first for run in runs].count(False) == 1
    assert [run.config.architecture.conditions for run in runs].count(()) == 1


def test_table_2_and_free_view_run(commands_with_torch: Commands, folder: Path) -> None:
    run = partial(commands_with_torch, "reproduce", cwd=folder)
    arguments = ["film.mp4", *SMALL, "-o", "other"]
    result = run("table2", *arguments, "--only", "w/o STAT inputs (yaw, pitch)")
    assert result.returncode == 0, result.stderr
    assert "| 26.51" in result.stdout
    assert "nan" not in result.stdout
    assert not list((folder / "other").glob("*.md"))  # a part of a table is shown, and does not replace the whole
    result = run("freeview", *arguments)
    assert result.returncode == 0, result.stderr
    rows = read_rows(folder / "other" / "freeview.tsv")
    assert len(rows) == 2 * len(reproduce.FREE_VIEWS)
    name = NAME.replace("table1", "freeview")
    assert len(only_file(folder / "other", f"{name}.md").read_text().splitlines()) == 2 + 2 + 2 * 4
    assert Image.open(only_file(folder / "other", f"{name}.png")).width > 900
    for table, columns in reproduce.COLUMNS.items():
        for kept in (folder / out / table for out in ("other", "reproduction") if (folder / out / table).exists()):
            assert kept.read_text().partition("\n")[0].split("\t") == list(columns)


def run_row(variant: str, psnr_db: float, seed: int = 0) -> dict[str, str]:
    return {
        **dict.fromkeys(("video", "frames", "steps", "device"), "x"),
        "panorama": "192x96",
        "viewport": "72x48 @ 78.1 deg",
        "variant": variant,
        "model": "nerv360",
        "views": "1",
        "decoder_size": "1000",
        "embedding": "1x4x8",
        "bytes": "5000",
        "minutes": "1.5",
        "seed": str(seed),
        **dict.fromkeys(("vp0_psnr_db", "vp1_psnr_db", "mean_psnr_db"), str(psnr_db)),
        "mean_ms_ssim": "0.5",
    }


def cost_row(size: str, seconds: float | None) -> dict[str, str]:
    known = {"model": "nerv360", "views": "1", "decoder_size": "1000", "viewport": "72x48", "panorama": size}
    figures = (
        {"frames_per_s": str(1 / seconds), "peak_mib": "1024"} if seconds else {"frames_per_s": "", "peak_mib": ""}
    )
    return known | figures | {"phase": "decoding", "device": "x"}


def cells(markdown: str, first: str) -> list[str]:
    line = next(line for line in markdown.splitlines() if line.startswith(f"| {first}"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_tables_say_what_was_measured() -> None:
    rows = [run_row("NeRV360", 20.0), run_row("NeRV360", 21.0, seed=1)]
    text = markdown(tables.table1(rows, [cost_row("192x96", 0.25)]))
    ours = cells(text, "NeRV360 ")
    assert ours[3] == "20.50 ± 0.71"
    assert ours[5:11] == ["-", "4", "-", "-", "1", "-"]
    text = markdown(tables.table1(rows, [], ["HNeRV"]))
    assert cells(text, "HNeRV ")[1] == "left out: does not fit the memory"
    rows = [run_row("NeRV360", 20.0), run_row("w/o STAT inputs (yaw, pitch)", 19.0)]
    text = markdown(tables.table2(rows))
    assert cells(text, "w/o STAT")[4:] == ["-1.00", "1x128x256", "26.51", "26.85", "-0.16"]


def test_what_does_not_fit_is_extrapolated_and_marked() -> None:
    costs = [cost_row("100x50", 1.0), cost_row("200x100", 4.0), cost_row("400x200", None)]
    text = markdown(tables.costs_table(costs))
    assert cells(text, "200x100")[5] == "0.25"
    assert cells(text, "400x200")[5] == "~0.0625"
    text = markdown(tables.costs_table(costs[1:]))
    assert cells(text, "400x200")[5] == "-"


def test_equal_time_takes_epochs_by_speed(video: Path) -> None:
    runs = table1_runs(preset_for("nerv360", "tiny").replace(epochs=12), [Clip.open(video)], [0])
    speeds = {"hnerv": 1.0, "hnerv-boost": 0.01, "nerv360": 2.0}
    costs = [
        {
            "model": run.config.architecture.model,
            "views": str(run.config.view_sampling.views),
            "phase": "training",
            "frames_per_s": str(speed),
        }
        for run in runs
        for speed in [speeds[run.config.architecture.model] / run.config.view_sampling.views]
    ]
    assert [run.config.optimisation.epochs for run in reproduce.equal_time(runs, costs)] == [6, 1, 12, 2, 6]
    costs[1]["frames_per_s"] = ""  # too large for the memory
    assert [reproduce.trainable(run, costs) for run in runs] == [True, False, True, True, True]
    assert [run.config.optimisation.epochs for run in reproduce.equal_time(runs, costs)] == [6, 12, 2, 6]
    costs[2]["frames_per_s"] = ""
    with pytest.raises(OutOfMemory, match="no time to compare"):
        reproduce.equal_time(runs, costs)


def test_costs_of_another_processor_or_pytorch_do_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = []

    def measure(*arguments: object) -> benchmark.Cost:
        measured.append(arguments)
        return benchmark.Cost(2.0, 2.0, 2.0, 1, 2**20)

    def cost() -> Row:
        config = preset_for("nerv360", "tiny")
        return reproduce.cost_of(config, (192, 96), "decoding", tmp_path, torch.device("cpu"), repeats=1)

    monkeypatch.setattr(reproduce, "measure_apart", measure)
    assert cost()["frames_per_s"] == cost()["frames_per_s"] == "0.5"
    assert len(measured) == 1
    table = tmp_path / "costs.tsv"
    kept = table.read_text()
    for of_this_machine in (device_name(torch.device("cpu")), f"\t{torch.__version__}\t"):
        assert of_this_machine in kept
        table.write_text(kept.replace(of_this_machine, "\tother\t" if "\t" in of_this_machine else "other"))
        cost()
    assert len(measured) == 3


def test_training_is_measured_on_views_of_its_mean_cost() -> None:
    costs = [1, 1, 1, 1, 1, 1, 1, 9]  # as near a pole
    assert benchmark._typical(costs, 8) == 0
    assert benchmark._typical(costs, 4) in (4, 5, 6, 7, 0)  # 3 with it, 1 without: the mean is 2
    assert benchmark._typical([1, 2, 3, 8, 1], 1) == 2
    assert benchmark._typical([5, 1, 1, 5], 2) in (0, 2)


@pytest.mark.skipif(not Path("/proc").exists(), reason="asks Linux for its processes")
@pytest.mark.slow
def test_a_measurement_ends_with_the_command_that_asked(folder: Path) -> None:
    command = [sys.executable, "-m", "nerv360", "reproduce", "speed", "768x384", "--decoder-size", "140000"]
    arguments = ["--repeats", "1000", "--phases", "training", "-o", "killed"]
    with running([*command, *arguments], cwd=folder, stderr=subprocess.DEVNULL) as asking:
        parent = psutil.Process(asking.pid)
        measuring = wait_for(lambda: [child for child in parent.children() if has_loaded(child, "libtorch_cpu")])
    wait_for(lambda: not any(map(alive, measuring)))


@pytest.mark.slow
def test_memory_is_that_of_the_phase() -> None:
    small = EncodingConfig.of(model="hnerv-boost", decoder_size=140_000, encoder_channels=8)
    sizes = [(384, 192), (1152, 576)]
    costs = [benchmark.measure_apart(small, *size, "decoding", "cpu", 1, 2) for size in sizes]
    assert all(0 < cost.median_s <= cost.p95_s for cost in costs)
    assert costs[1].peak_bytes > 3 * costs[0].peak_bytes
    ours = benchmark.measure_apart(small.replace(model="nerv360"), *sizes[1], "decoding", "cpu", 1, 2)
    assert ours.peak_bytes < costs[1].peak_bytes / 2


def test_a_view_takes_less_work_than_a_panorama() -> None:
    def decoding_flops(model: str) -> int:
        config = EncodingConfig.of(model=model, decoder_size=140_000, encoder_channels=8)
        network, cpu = build(configure(config, 1152, 576), benchmark.FRAMES), torch.device("cpu")
        decode = benchmark._decoding(network, config, cpu, 1)
        with FlopCounterMode(display=False) as counter:
            decode(0)
        return counter.get_total_flops()

    assert decoding_flops("nerv360") < decoding_flops("hnerv-boost") / 10  # 13.5 times


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("table1 none.mp4", "none.mp4: no such file"),
        ("table1 film.mp4 --scale huge", "--scale huge: must be one of small"),
        ("table1 film.mp4 --seeds 1,x", "--seeds 1,x"),
        ("table1 film.mp4 --only HNerv", "--only HNerv: must be one of HNeRV"),
        ("table1 film.mp4 --budget money", "--budget money"),
        (
            "table1 film.mp4 --decoder-size 1000",
            "NeRV360: decoder_size=1000: no decoder of this size; the nearest has 104",
        ),
        ("table1 film.mp4 --size 192x100", "--size 192x100: a panorama must be 2:1, as 200x100"),
        ("table1 film.mp4 --size 20x10", "film.mp4: 20x10: the panorama must be"),
        ("table1 film.mp4 -o foreign", "foreign/fits.tsv: has other columns, of another version; take another folder"),
        ("speed -o foreign", "foreign/fits.tsv: has other columns"),
        ("table1 film.mp4 -o film.mp4/folder", "film.mp4/folder: the folder cannot be made"),
        ("speed 0x0", "0x0: a panorama must be"),
        ("speed 100", "panorama 100: must be WIDTHxHEIGHT"),
        ("speed 200x300", "200x300: a panorama must be 2:1"),
        ("speed 192x96 --viewport wide", "--viewport wide: must be WIDTHxHEIGHT"),
        ("speed --phases cooking", "--phases cooking"),
    ],
)
def test_bad_input_is_one_line(commands_with_torch: Commands, folder: Path, arguments: str, message: str) -> None:
    (folder / "foreign").mkdir(exist_ok=True)
    (folder / "foreign" / "fits.tsv").write_bytes(b"run\tseconds\xff\n")
    result = commands_with_torch("reproduce", *arguments.split(), cwd=folder)
    assert result.returncode == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_video_of_another_shape_is_not_stretched_unasked(
    commands: Commands, folder: Path, make_video: Callable[..., Path]
) -> None:
    flat = make_video(width=160, height=90)
    result = commands("reproduce", "table1", flat, cwd=folder)
    assert result.returncode == 2
    assert "160x90 is not 2:1" in result.stderr
    assert "--size 160x80" in result.stderr


def test_a_table_of_other_columns_is_left_alone(tmp_path: Path) -> None:
    append_row(tmp_path / "t.tsv", {"a": "1", "b": "x\ty"})
    append_row(tmp_path / "t.tsv", {"a": "2", "b": ""})
    assert read_rows(tmp_path / "t.tsv") == [{"a": "1", "b": "x\ty"}, {"a": "2", "b": ""}]
    with open(tmp_path / "t.tsv", "a") as file:
        file.write("3")  # and then a kill
    append_row(tmp_path / "t.tsv", {"a": "4", "b": "4"})
    assert [row["a"] for row in read_rows(tmp_path / "t.tsv")] == ["1", "2", "4"]
    with pytest.raises(OutputError, match="other columns"):
        append_row(tmp_path / "t.tsv", {"b": "1", "c": "2"})
    with open(tmp_path / "t.tsv", "ab") as file:
        file.write(b"\xff\t5\n")
    assert [row["b"] for row in read_rows(tmp_path / "t.tsv")] == ["x\ty", "", "4", "5"]


def test_tables_of_other_films_or_seeds_have_other_names(video: Path, make_video: Callable[..., Path]) -> None:
    clips = [Clip.open(video), Clip.open(make_video(192, 96, 3))]
    names = {
        setting_name(SCALES["small"], films, seeds)
        for films in (clips[:1], clips[1:], clips)
        for seeds in ([0], [1], [0, 1])
    }
    assert len(names) == 9
    assert len(setting_name(SCALES["small"], 99 * clips, list(range(99)))) < 230


def test_what_does_not_fit_leaves_the_finished_rows(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = replace(Clip.open(folder / "film.mp4"), frames=2)
    runs = table1_runs(preset_for("nerv360", "tiny").replace(epochs=1), [clip], [0])
    cpu = torch.device("cpu")
    reproduce.fit_run(runs[2], tmp_path, cpu)
    reproduce.measure_run(runs[2], tmp_path, cpu)
    hungry = replace(MODELS["hnerv"], memory={"training": MemoryUse(10**12)})
    monkeypatch.setitem(MODELS, "hnerv", hungry)
    with pytest.raises(OutOfMemory):
        reproduce.fit_run(runs[0], tmp_path, cpu)
    assert [row["variant"] for row in read_rows(tmp_path / "runs.tsv")] == ["NeRV360"]
    rows = carry_out([runs[0], runs[2]], tmp_path, "cpu")
    assert [row["variant"] for row in rows] == ["NeRV360"]
    with pytest.raises(OutOfMemory, match="no network of these fits"):
        carry_out(runs[:1], tmp_path, "cpu")
    assert reproduce.finished(runs[0], tmp_path) is None
    renamed = reproduce.finished(replace(runs[2], variant="fixed view"), tmp_path)
    assert renamed is not None
    assert renamed["variant"] == "fixed view"
    reproduce.file_of(runs[2], tmp_path).unlink()
    assert reproduce.finished(runs[2], tmp_path) is None
