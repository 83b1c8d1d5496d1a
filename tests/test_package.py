"""The wheel built from the tree installs and runs away from it."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import nerv360

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


SCRIPT = """
import nerv360, pathlib
assert pathlib.Path(nerv360.__file__).is_relative_to({place!r}), nerv360.__file__
config = nerv360.preset("tiny", model="nerv360").replace(decoder_size=106_000, epochs=1)
nerv360.encode({video!r}, "a.nerv360", config)
with nerv360.open("a.nerv360") as decoder:
    assert decoder.viewport(0, nerv360.Viewport(width=64, height=48)).shape == (48, 64, 3)
"""


def test_wheel_runs(wheel: Path, video: Path, tmp_path: Path) -> None:
    place = tmp_path / "site"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(place), str(wheel)]
    subprocess.run(command, check=True, capture_output=True)
    script = SCRIPT.format(place=str(place), video=str(video))
    environment = os.environ | {"PYTHONPATH": str(place)}
    subprocess.run([sys.executable, "-c", script], check=True, cwd=tmp_path, env=environment)


@pytest.mark.slow
def test_wheel_runs_in_a_clean_environment(wheel: Path, video: Path, tmp_path: Path) -> None:
    place = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
    python = place / "bin" / "python"
    constraints = ROOT / "constraints.txt"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "-c", str(constraints), str(wheel)], check=True)
    subprocess.run([python, "-I", "-c", SCRIPT.format(place=str(place), video=str(video))], check=True, cwd=tmp_path)
    subprocess.run([place / "bin" / "nerv360", "info", "a.nerv360"], check=True, cwd=tmp_path)


CONSUMER = """
import { Player, type Manifest } from "@nerv360/player";
import "@nerv360/player/element.js";

const element = document.createElement("nerv360-player");
const playing: Promise<void> = element.play();
const player: Player | null = element.player;
const manifest: Manifest | null | undefined = player?.manifest;
// @ts-expect-error
element.yaw = "left";
"""


def test_the_npm_package_has_what_it_loads_and_types_that_others_can_use(tmp_path: Path) -> None:
    compiler = ROOT / "tests" / "web" / "node_modules" / "typescript" / "bin" / "tsc"
    if shutil.which("npm") is None or not compiler.exists():
        pytest.skip("npm or TypeScript is not installed: npm ci --prefix tests/web")
    folder = tmp_path / "node_modules" / "@nerv360" / "player"
    subprocess.run([sys.executable, ROOT / "npm" / "build.py", folder], check=True)
    command = ["npm", "pack", "--dry-run", "--json", "--offline"]
    packed = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    (package,) = json.loads(packed.stdout)
    assert (package["name"], package["version"]) == ("@nerv360/player", nerv360.__version__)
    names = {file["path"] for file in package["files"]}
    assert {"element.js", "element.d.ts", "player.d.ts", "README.md", "LICENSE"} < names
    assert {"worker.js", "grid/grid.glsl", "motion/core.wasm", "motion/priors.bin"} < names

    (tmp_path / "consumer.ts").write_text(CONSUMER)
    flags = ["--strict", "--noEmit", "--target", "es2023", "--module", "nodenext"]
    checked = subprocess.run(["node", compiler, *flags, "consumer.ts"], cwd=tmp_path, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


def test_the_citation_is_of_this_version() -> None:
    assert f"\nversion: {nerv360.__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_the_image_installs_what_there_is() -> None:
    """The extras and the files that the Dockerfile names, which .dockerignore lets through."""
    text = (ROOT / "Dockerfile").read_text()
    extras = re.search(r"'/source\[(.*)\]'", text)
    assert extras
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(extras[1].split(",")) <= set(known)
    copied = [name for line in re.findall(r"^COPY (.*) \S+$", text, re.MULTILINE) for name in line.split()]
    allowed = [line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines()]
    assert all((ROOT / name).exists() and name in allowed for name in copied)
