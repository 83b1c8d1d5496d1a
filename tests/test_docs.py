"""Every command and snippet of the README runs, in its order, in one folder; what documents link to and name exists."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from helpers.commands import Commands
from nbclient import NotebookClient
from test_architecture import LEVELS

import nerv360

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "nerv360"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/**/*.md")])
ROOTS = (ROOT, SOURCE, SOURCE / "web", SOURCE / "web" / "player")  # where paths begin, beside the document's own folder
MADE = ("demo/", "film.nerv360.parts/")  # by make, and while a long video is encoded


def test_readme_runs(commands_with_torch: Commands, tmp_path: Path) -> None:
    blocks = re.findall(r"^```(sh|python)\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert {kind for kind, _ in blocks} == {"sh", "python"}
    for kind, text in blocks:
        if kind == "python":
            subprocess.run([sys.executable, "-c", text], cwd=tmp_path, check=True)
            continue
        for line in text.replace("\\\n", "").splitlines():
            program, *arguments = shlex.split(line)
            assert program == "nerv360"
            result = commands_with_torch(*arguments, cwd=tmp_path)
            assert result.returncode == 0, f"{line}\n{result.stderr}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    for link, heading in re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", document.read_text()):
        target = document.parent / link if link else document
        assert target.exists(), link
        if heading:
            assert heading in anchors(target), f"{link}#{heading}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_named_paths_exist(document: Path) -> None:
    roots = (document.parent, *ROOTS)
    for path, name in named_paths(document.read_text()):
        found = next((root / path for root in roots if (root / path).exists()), None)
        assert found, path
        files = found.glob("*.py") if found.is_dir() else [found]
        assert not name or any(re.search(rf"\b{name}\b", file.read_text()) for file in files), f"{path}: {name}"


@pytest.mark.slow
def test_the_api_reference_tells_of_all_names(tmp_path: Path) -> None:
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path], cwd=ROOT, check=False
    )
    assert built.returncode == 0
    told = re.findall(r'<h2 id="nerv360\.(\w+)"', (tmp_path / "index.html").read_text())
    assert sorted(told) == sorted(nerv360.__all__)


@pytest.mark.slow
def test_the_notebook_runs() -> None:
    notebook = nbformat.read(ROOT / "examples" / "nerv360.ipynb", as_version=4)
    assert all(not cell.outputs for cell in notebook.cells if cell.cell_type == "code")  # they are not kept
    NotebookClient(notebook, timeout=600).execute()
    measured = re.search(r"([\d.]+) dB", notebook.cells[-1].outputs[0].text)
    assert measured
    assert float(measured[1]) > 30


def test_import_order_is_the_one_that_is_checked() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    block = re.search(r"\n## Imports\n.*?\n\n((?:    [^\n]*\n)+)", text, re.DOTALL)
    assert block
    assert [set(line.strip().split(", ")) for line in block[1].splitlines()] == LEVELS


def test_paths_are_found_in_documents() -> None:
    text = (
        "`codec/decoder.py`: `Decoder`, `a.py` (`b`), `layers/` and `film.mp4` of\n    clock.js, canvas.js   drawing\n"
    )
    files = [("codec/decoder.py", "Decoder"), ("a.py", "b"), ("layers/", ""), ("clock.js", ""), ("canvas.js", "")]
    assert named_paths(text) == files


def named_paths(text: str) -> list[tuple[str, str]]:
    """Source files and folders that a document names, in backquotes or at the beginning of an indented line.

    With each, what the document says is defined in it: `file`: `name` or `file` (`name`).
    """
    quoted = re.findall(r"`((?:[\w.-]+/)*[\w-]+\.(?:py|js)|(?:[\w.-]+/)+)`(?:(?::| \() ?`(\w+)`)?", text)
    listed = [name for line in re.findall(r"^    ((?:[\w-]+\.js,? +)+)", text, re.MULTILINE) for name in line.split()]
    return [(path, name) for path, name in [*quoted, *((file.strip(","), "") for file in listed)] if path not in MADE]


def anchors(document: Path) -> set[str]:
    """The headings of a document, as links name them."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
