"""The command line, as a user meets it: each command in a process of its own."""

import io
import json
import re
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from helpers.commands import Commands
from helpers.films import panoramas, stereo_box, write_film
from helpers.processes import running, wait_for
from PIL import Image
from rich.console import Console

import nerv360
from nerv360.bitstream.container import VERSION, Container
from nerv360.cli.console import progress_bar
from nerv360.cli.options import parse_frames
from nerv360.errors import ArgumentError
from nerv360.progress import Update
from nerv360.quality import psnr

QUICK = ["--model", "nerv360-grid", "--epochs", "1"]
SLOW_TO_IMPORT = {"torch", "openvino", "onnxruntime", "onnx", "ray", "cv2"}


def test_the_whole_path(commands_with_torch: Commands, tmp_path: Path) -> None:
    def run(*arguments: object) -> str:
        result = commands_with_torch(*arguments, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        return result.stdout

    run("sample", "clip.mp4", "--size", "128x64", "--frames", 3, "--fps", "30000/1001")
    assert "bytes for 2 frames" in run("encode", "clip.mp4", "-o", "a.nerv360", "--start", 1, "--frames", 2, *QUICK)
    facts = json.loads(run("info", "a.nerv360", "--json"))
    assert sum(facts["budget"].values()) == facts["size"] == (tmp_path / "a.nerv360").stat().st_size
    assert facts["frame_rate"] == "30000/1001"
    assert "1/8 of the panorama, 4 channels" in run("info", "a.nerv360")
    run("encode", "clip.mp4", "-o", "b.nerv360", "--preset", "tiny", "--decoder-size", 106000, "--epochs", 1)
    assert "groups of 8" in run("info", "b.nerv360")
    run("decode", "a.nerv360", "-o", "v.mp4", "--yaw", -170, "--to", "170,30", "--size", "65x33")
    run("decode", "a.nerv360", "-o", "p.png", "--panorama", "--frames", "1:2")
    assert np.array(Image.open(tmp_path / "p.png")).shape == (64, 128, 3)
    (tmp_path / "path.csv").write_text("yaw_deg,pitch_deg\n1,2\n3,4\n")
    run("decode", "a.nerv360", "-o", "r.rgb", "--trajectory", "path.csv", "--size", "10x6", "--hfov", 100, "--roll", 9)
    assert (tmp_path / "r.rgb").stat().st_size == 2 * 10 * 6 * 3
    assert "onnxruntime" in run("info", "a.nerv360", "--runtime")
    result = json.loads(run("eval", "a.nerv360", "--source", "clip.mp4", "--start", 1, "--json", "--picture", "e.png"))
    assert set(result["trajectories"]) == {"VP0", "VP1"}
    assert (tmp_path / "e.png").exists()


@pytest.mark.slow
def test_every_backend_of_a_network_is_measured(
    commands_with_torch: Commands, encoded: Path, video: Path, tmp_path: Path
) -> None:
    bench = ("bench", encoded, "--repeats", 2, "--source", video, "--size", "70x40", "-o", tmp_path / "bench.json")
    result = commands_with_torch(*bench)
    assert result.returncode == 0, result.stderr
    rows = json.loads((tmp_path / "bench.json").read_text())["rows"]
    assert [row["backend"] for row in rows] == ["openvino", "onnxruntime", "torch", "plain", "libx265"]
    assert all(0 < row["playing_pan"]["median_ms"] <= row["playing_pan"]["p95_ms"] for row in rows)
    assert all(name in result.stdout for name in ("openvino 20", "torch 2", "plain", "libx265"))


def test_a_file_that_is_no_network_is_measured(
    commands_with_torch: Commands, keys: Path, video: Path, tmp_path: Path
) -> None:
    bench = ("bench", keys, "--repeats", 2, "--source", video, "--size", "70x40", "-o", tmp_path / "bench.json")
    result = commands_with_torch(*bench)
    assert result.returncode == 0, result.stderr
    facts = json.loads((tmp_path / "bench.json").read_text())
    assert [row["backend"] for row in facts["rows"]] == ["core", "libx265"]
    for kind in ("paused_pan", "playing", "playing_pan", "seeking"):
        assert all(0 < row[kind]["median_ms"] <= row[kind]["p95_ms"] for row in facts["rows"])
    assert "GMAC" not in result.stdout
    assert "Of the peak" not in result.stdout
    assert json.loads(commands_with_torch("info", keys, "--runtime", "--json").stdout)["runtime"]["taken"] == "core"


@pytest.mark.parametrize(
    "command",
    [(), ("sample",), ("encode",), ("decode",), ("info",), ("eval",), ("bench",), ("compare",), ("play",), ("export",)],
)
def test_help(commands: Commands, command: tuple[str, ...]) -> None:
    result = commands(*command, "--help")
    assert result.returncode == 0
    assert len(result.stdout) > 300


def test_help_says_which_models_an_option_is_for(commands: Commands) -> None:
    text = " ".join(commands("encode", "--help").stdout.replace("│", " ").split())
    assert "Times that every frame is visited. For networks." in text
    assert "Most bytes of the file: 2MB. For nerv360-motion, nerv360-grid." in text
    assert "Scale the panorama first." in text


VERSIONS = (("old", 1), ("new", VERSION + 1))


@pytest.fixture(scope="module")
def folder(
    tmp_path_factory: pytest.TempPathFactory, video: Path, encoded: Path, keys: Path, make_video: Callable[..., Path]
) -> Path:
    folder = tmp_path_factory.mktemp("bad")
    shutil.copy(keys, folder / "keys.nerv360")
    data = encoded.read_bytes()
    contents = {"ok.mp4": video.read_bytes(), "ok.nerv360": data, "square.mp4": make_video(width=80).read_bytes()}
    contents |= {"empty.mp4": b"", "text.mp4": b"text" * 99, "empty.nerv360": b"", "foreign.nerv360": b"\x89PNG" * 9}
    contents |= {"cut.nerv360": data[:-100], "flipped.nerv360": data[:-50] + bytes([data[-50] ^ 1]) + data[-49:]}
    contents |= {f"{name}.nerv360": data[:8] + bytes([version, 0]) + data[10:] for name, version in VERSIONS}
    contents |= {
        "nan.csv": b"yaw_deg,pitch_deg\n" + b"0,0\n" * 5 + b"nan,0\n",
        "short.csv": b"yaw_deg,pitch_deg\n1,2\n",
        "nan.json": b'{"head": NaN}',
    }
    first = b"video,output,start\n"
    contents |= {
        "list.csv": first + b"ok.mp4,a.nerv360,0\n",
        "broken.csv": first + b"ok.mp4,a.nerv360,0\nok.mp4\n",
        "number.csv": first + b"ok.mp4,a.nerv360,x\n",
        "twice.csv": first + b"ok.mp4,a.nerv360,0\nok.mp4,a.nerv360,3\n",
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return folder


BAD = [
    ("encode missing.mp4 -o a.nerv360", "no such file"),
    ("encode . -o a.nerv360", "not a file"),
    ("encode empty.mp4 -o a.nerv360", "empty"),
    ("encode text.mp4 -o a.nerv360", "not a video"),
    ("encode square.mp4 -o a.nerv360", "not 2:1"),
    ("encode ok.mp4 -o nowhere/a.nerv360", "no folder nowhere"),
    ("encode ok.mp4 -o a.nerv360 --start 6", "has 6 frames"),
    ("encode ok.mp4 -o a.nerv360 --size 100", "--size 100"),
    ("encode ok.mp4 -o a.nerv360 --preset huge", "must be one of"),
    ("encode ok.mp4 -o a.nerv360 --model x", "--model x: must be one of nerv360-motion, nerv360-grid, nerv360"),
    ("encode ok.mp4 -o a.nerv360 --model nerv360 --preset fast", "must be one of tiny"),
    ("encode ok.mp4 -o a.nerv360 --decoder-size 9999", "has no meaning for nerv360-motion"),
    ("encode ok.mp4 -o a.nerv360 --device cuda", "--device cuda: has no meaning for nerv360-motion"),
    ("encode ok.mp4 -o a.nerv360 --precision half", "--precision half: must be float or bfloat16"),
    ("encode ok.mp4 -o a.nerv360 --precision float", "--precision float: has no meaning for nerv360-motion"),
    ("encode ok.mp4 -o a.nerv360 --model hnerv --views 2", "--views 2: has no meaning for hnerv"),
    ("encode ok.mp4 -o a.nerv360 --model hnerv-boost --roll 0:9", "--roll 0:9: has no meaning for hnerv-boost"),
    ("encode ok.mp4 -o a.nerv360 --model nerv360 --preset hnerv-published", "must be one of tiny"),
    ("encode ok.mp4 -o a.nerv360 --model nerv360-grid --embedding-bits 4", "has no meaning for nerv360-grid"),
    ("encode ok.mp4 -o a.nerv360 --preset tiny --rate-weight 4", "has no meaning for nerv360;"),
    ("encode ok.mp4 -o a.nerv360 --model nerv360-grid --epochs 0", "epochs=0"),
    ("encode ok.mp4 -o a.nerv360 --hfov 200:300", "hfov_deg=200"),
    ("encode ok.mp4", "give a VIDEO and --output FILE, or --manifest CSV"),
    ("encode ok.mp4 -o a.nerv360 --manifest list.csv", "and not both"),
    ("encode --manifest missing.csv", "missing.csv: cannot be read"),
    ("encode --manifest nan.csv", "its first line must name columns: video,output"),
    ("encode --manifest broken.csv", "broken.csv, line 3: must have a video, an output"),
    ("encode --manifest number.csv", "number.csv, line 2: start x: must be a number of frames"),
    ("encode --manifest twice.csv", "twice.csv, line 3: a.nerv360: is the output of another line"),
    ("encode --manifest list.csv --frames 2", "are columns of the --manifest"),
    ("encode --manifest list.csv --size-limit 2MB", "--size-limit 2MB: is for one file"),
    ("encode clip.mp4 -o a.nerv360 --size-limit many", "--size-limit many: must be a number, as 500k or 2M"),
    (
        "encode clip.mp4 -o a.nerv360 --bitrate 1M --quality 30",
        "--bitrate and --quality: each of them decides the rate",
    ),
    ("encode clip.mp4 -o a.nerv360 --model nerv360 --quality 30", "--quality 30.0: has no meaning for nerv360"),
    ("encode ok.mp4 -o a.nerv360 --workers 2 --ray a:1", "give one of them"),
    ("encode ok.mp4 -o a.nerv360 --ray 127.0.0.1:9", "--ray 127.0.0.1:9: no cluster answers there"),
    ("encode ok.mp4 -o a.nerv360 --ray ray://x", "must be HOST:PORT"),
    ("encode ok.mp4 -o ./ok.mp4 --segment 1", "ok.mp4: is the same file as the input ok.mp4; name another output"),
    ("encode ok.mp4 -o ok.mp4", "ok.mp4: is the same file as the input ok.mp4"),
    ("decode ok.nerv360 -o /dev/stdout", "/dev/stdout: cannot be written: it is a stream; name a file"),
    ("encode text.mp4 -o a.nerv360 --segment 1", "not a video"),
    ("encode nothing://a/b.mp4 -o a.nerv360", "nothing://a/b.mp4: cannot be read"),
    ("info memory://a.nerv360", "memory://a.nerv360: cannot be opened"),
    ("info nan.json", "nan.json: not a manifest of nerv360"),
    ("info missing.nerv360", "No such file"),
    ("info empty.nerv360", "empty file"),
    ("info foreign.nerv360", "not a .nerv360 file"),
    ("info cut.nerv360", "truncated"),
    ("info flipped.nerv360", "checksum"),
    ("info new.nerv360", "newer"),
    ("info old.nerv360", "encode again"),
    ("decode flipped.nerv360 -o a.mp4", "checksum"),
    ("decode ok.nerv360 -o a.gif", "must end in"),
    ("decode ok.nerv360 -o a.mp4 --frames 2:9", "frames 0:6"),
    ("decode ok.nerv360 -o a.mp4 --pitch 91", "pitch_deg=91"),
    ("decode ok.nerv360 -o a.mp4 --hfov 180", "hfov_deg=180"),
    ("decode ok.nerv360 -o a.mp4 --size 99999x9", "width=99999"),
    ("decode ok.nerv360 -o a.mp4 --yaw nan", "yaw_deg=nan"),
    ("decode ok.nerv360 -o a.mp4 --trajectory nan.csv", "line 7"),
    ("decode ok.nerv360 -o a.mp4 --trajectory short.csv", "1 views for 6 frames"),
    ("decode ok.nerv360 -o a.mp4 --to 5", "--to 5"),
    ("decode ok.nerv360 -o a.mp4 --backend tensorrt", "must be one of openvino, onnxruntime, torch"),
    ("bench cut.nerv360", "truncated"),
    ("bench ok.nerv360 --size 5", "--size 5"),
    ("bench ok.nerv360 --backends torch,cudnn", "backend=cudnn"),
    ("bench ok.nerv360 --backends core", "backend=core: must be one of openvino"),
    ("bench keys.nerv360 --backends openvino", "backend=openvino: draws networks, nerv360-motion is none; take core"),
    ("bench keys.nerv360 --backends core,int8", "backend=int8: draws networks, nerv360-motion is none; take core"),
    ("bench ok.nerv360 --source text.mp4", "not a video"),
    ("bench ok.nerv360 -o nowhere/a.json", "no folder nowhere"),
    ("eval ok.nerv360 --source empty.mp4", "empty"),
    ("eval ok.nerv360 --source ok.mp4 --start 3", "has 6 frames"),
    ("play missing.nerv360 --no-browser", "No such file"),
    ("play flipped.nerv360 --no-browser", "checksum"),
    ("play ok.nerv360 --no-browser --source empty.mp4", "empty"),
    ("play ok.nerv360 --no-browser --source ok.mp4 --start 3", "has 3 frames from --start 3 on, fewer"),
    ("export ok.nerv360", "--web DIR or --onnx"),
    ("export ok.nerv360 --onnx a.txt", "must end in .onnx"),
    ("export ok.nerv360 --web nowhere/site", "no folder nowhere"),
    ("export flipped.nerv360 --web site", "checksum"),
    ("export keys.nerv360 --web site --captions missing.vtt", "--captions missing.vtt: no such file"),
    ("export keys.nerv360 --web site --captions text.mp4", "--captions text.mp4: is no WebVTT; as: ffmpeg -i"),
    ("export keys.nerv360 --onnx a.onnx --captions text.mp4", "--captions goes with --web"),
    ("play keys.nerv360 --no-browser --captions nan.csv", "--captions nan.csv: is no WebVTT"),
    ("sample a.mp4 --size 100x100", "must be 2:1"),
    ("sample a.mp4 --fps 0", "--fps 0"),
]


@pytest.mark.parametrize(("command", "message"), BAD)
def test_bad_input_is_one_line_at_once(commands: Commands, folder: Path, command: str, message: str) -> None:
    before = sorted(folder.iterdir())
    result = commands(*command.split(), cwd=folder, max_bytes=200 << 20)  # 38 MB measured
    assert not SLOW_TO_IMPORT & result.imported
    assert result.returncode == 2
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert message in result.stderr
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize(
    "name", ["a[/b]", "x[red]y", "a:bomb:b", "[link=c]d", b"a\xffb".decode(errors="surrogateescape")]
)
def test_names_are_told_as_they_are(commands: Commands, keys: Path, name: str, tmp_path: Path) -> None:
    """Also those that look like what a terminal is told by."""
    (tmp_path / name).parent.mkdir(exist_ok=True)
    shutil.copy(keys, tmp_path / f"{name}.nerv360")
    shown = name.encode(errors="backslashreplace").decode()
    told = commands("info", f"{name}.nerv360", cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    assert f"{shown}.nerv360" in told.stdout
    told = commands("sample", f"{name}.rgb", "--size", "64x32", "--frames", 1, cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    assert f"{shown}.rgb: 64x32, 1 frames" in told.stdout.replace("\n", "")
    told = commands("info", f"{name}.none", cwd=tmp_path)
    assert f"{shown}.none: cannot be opened" in told.stderr
    assert told.returncode == 2


@pytest.mark.parametrize("arguments", [("info", "{}"), ("info", "{}", "--json"), ("--version",), ("--help",)])
def test_what_cannot_be_told_is_one_line(keys: Path, arguments: tuple[str, ...]) -> None:
    command = [sys.executable, "-m", "nerv360", *(each.format(keys) for each in arguments)]
    with open("/dev/full", "w") as full:
        result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert result.returncode == 2
    assert result.stderr == "error: standard output: cannot be written: No space left on device\n"


@pytest.mark.parametrize(("closed", "name", "status"), [(">&-", "", 0), ("2>&-", ".none", 2), ("<&- >&- 2>&-", "", 0)])
def test_a_shell_may_close_standard_streams(keys: Path, closed: str, name: str, status: int) -> None:
    command = f'exec "{sys.executable}" -m nerv360 info "{keys}{name}" {closed}'
    result = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (status, "", "")


@pytest.mark.parametrize(("scheme", "extra"), [("s3", "s3"), ("gs", "gs")])
def test_a_store_whose_package_is_missing_names_the_extra(scheme: str, extra: str, tmp_path: Path) -> None:
    hidden = "import sys; sys.modules |= {'s3fs': None, 'gcsfs': None}; from nerv360 import cli; cli.main()"
    for arguments in (["info", f"{scheme}://a/b.nerv360"], ["encode", f"{scheme}://a/b.mp4", "-o", "a.nerv360"]):
        command = [sys.executable, "-c", hidden, *arguments]
        result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
        assert result.returncode == 2
        assert result.stderr == f"error: {arguments[1]}: needs its package: pip install 'nerv360[{extra}]'\n"


def test_a_full_disk_leaves_nothing(folder: Path, video: Path) -> None:
    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))

    command = [sys.executable, "-m", "nerv360", "sample", "big.rgb", "--size", "128x64", "--frames", "3"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False, preexec_fn=small_files)
    assert result.returncode == 2
    assert "big.rgb: cannot be written" in result.stderr
    assert not [path for path in folder.iterdir() if "big" in path.name]


def test_an_interruption_says_that_it_can_go_on(folder: Path, video: Path) -> None:
    command = [sys.executable, "-m", "nerv360", "encode", str(video), "-o", "stopped.nerv360"]
    command += ["--model", "nerv360-grid", "--epochs", "99999"]
    heeding = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a shell's background jobs, and theirs, do not
    with running(command, cwd=folder, stderr=subprocess.PIPE, preexec_fn=heeding) as encoding:
        wait_for(lambda: list(folder.glob("*stopped*checkpoint*")))
        encoding.send_signal(signal.SIGINT)
        _, told = encoding.communicate()
    assert encoding.returncode == 130
    assert told.rstrip().endswith("interrupted: an encoding goes on where it was when called again")
    assert "Traceback" not in told


def test_one_eye_is_encoded_and_measured(commands_with_torch: Commands, tmp_path: Path) -> None:
    """What was done to the video is said; a list of videos takes the same options, and eval measures the same eye."""
    left, right = panoramas(2)
    write_film(tmp_path / "film.mp4", [np.concatenate((left, right))] * 2, sample_entry=stereo_box(1))
    (tmp_path / "films.csv").write_text("video,output\nfilm.mp4,b.nerv360\n")
    for what in (("film.mp4", "-o", "a.nerv360"), ("--manifest", "films.csv")):
        told = commands_with_torch("encode", *what, "--eye", "right", "--preset", "instant", cwd=tmp_path)
        assert told.returncode == 0, told.stderr
        assert "film.mp4: stereo (top-bottom): the right eye alone is encoded" in told.stdout
    with nerv360.open(tmp_path / "b.nerv360") as decoder:
        assert psnr(decoder.panorama(0), right) > psnr(decoder.panorama(0), left) + 3
    for eye, least, most in (("right", 25, 60), ("left", 5, 24)):
        command = ("eval", "a.nerv360", "--source", "film.mp4", "--eye", eye, "--json", "--size", "96x96")
        measured = commands_with_torch(*command, cwd=tmp_path)
        assert measured.returncode == 0, measured.stderr
        assert least < json.loads(measured.stdout)["ws_psnr_db"] < most


def test_an_error_leaves_no_bar_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.StringIO()
    monkeypatch.setattr("nerv360.cli.console.remarks", Console(file=shown, force_terminal=True))
    with progress_bar() as on_progress:
        on_progress(Update("cutting", 1, 2))
    assert "cutting" in shown.getvalue().rpartition("\x1b[2K")[2]
    with pytest.raises(ArgumentError), progress_bar() as on_progress:
        on_progress(Update("cutting", 1, 2))
        raise ArgumentError("size=0: must be positive")
    assert "cutting" not in shown.getvalue().rpartition("\x1b[2K")[2]


def test_lines_tell_of_the_progress_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with progress_bar() as on_progress:
        on_progress(Update("cutting", 1, 4))
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("nerv360.cli.console.LINE_SECONDS", 0.0)
    with progress_bar() as on_progress:
        on_progress(Update("cutting", 1, 4))
        on_progress(Update("cutting", 3, 4))
    first, second = capsys.readouterr().err.splitlines()
    assert first == "cutting: 1 of 4 (25%)"
    assert re.fullmatch(r"cutting: 3 of 4 \(75%\), \d+ s left of it", second)


def test_a_quiet_encoding_prints_nothing_and_logs_lines_of_json(
    commands_with_torch: Commands, video: Path, tmp_path: Path
) -> None:
    encode = ("encode", video, "-o", "a.nerv360", "--preset", "instant", "--frames", 2, "--quiet", "--log", "log")
    result = commands_with_torch(*encode, cwd=tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    events = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert {"looking through", "encoding"} <= {event.get("stage") for event in events}
    assert events[-1]["event"] == "encoded"
    assert events[-1]["bytes"] == (tmp_path / "a.nerv360").stat().st_size
    result = commands_with_torch("encode", "none.mp4", "-o", "b.nerv360", "--quiet", "--log", "log", cwd=tmp_path)
    assert result.returncode == 2
    assert "none.mp4: no such file" in result.stderr
    assert json.loads((tmp_path / "log").read_text().splitlines()[-1])["event"] == "error"


def test_frames_of_the_file_are_a_range() -> None:
    assert parse_frames(None, 5) == range(5)
    assert parse_frames("1:", 5) == range(1, 5)
    for text in ("3:2", "0:6", "x", "2"):
        with pytest.raises(ArgumentError):
            parse_frames(text, 5)


def test_info_reads_what_the_container_says(encoded: Path) -> None:
    with Container(encoded) as container:
        assert sum(container.budget().values()) == encoded.stat().st_size
