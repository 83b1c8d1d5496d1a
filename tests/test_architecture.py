"""The import direction of docs/architecture.md, and what must not need PyTorch."""

import ast
import subprocess
import sys
from collections.abc import Iterable
from graphlib import TopologicalSorter
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src" / "nerv360"
LEVELS = [
    {"errors", "types", "progress", "threads", "transfer"},
    {"storage"},
    {"claims"},
    {"geometry", "entropy"},
    {"latents"},
    {"video", "layers", "extract", "quality"},
    {"motion"},
    {"models"},
    {"bitstream", "config"},
    {"training"},
    {"export"},
    {"backends"},
    {"codec"},
    {"evaluation", "cluster"},
    {"experiments"},
    {"api"},
    {"serving"},
    {"cli"},
    {"demo"},
]
LEVEL = {name: level for level, names in enumerate(LEVELS) for name in names}


def imports(path: Path) -> set[str]:
    """The packages of nerv360 that a file imports."""
    tree = ast.walk(ast.parse(path.read_text()))
    names = [node.module for node in tree if isinstance(node, ast.ImportFrom) and node.module]
    return {name.split(".")[1] for name in names if name.startswith("nerv360.")}


def test_imports_point_one_way() -> None:
    for path in SOURCE.rglob("*.py"):
        place = path.relative_to(SOURCE).parts[0].removesuffix(".py")
        if place in ("__init__", "__main__"):
            continue
        for name in imports(path) - {place}:
            assert LEVEL[name] < LEVEL[place], (path, name)


def test_no_module_imports_itself_by_way_of_others() -> None:
    files = {module_of(path): path for path in SOURCE.rglob("*.py")}
    graph = {name: imported_modules(path, files) - {"nerv360"} for name, path in files.items()}
    TopologicalSorter(graph).prepare()  # a CycleError names the modules of a circle


def module_of(path: Path) -> str:
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_modules(path: Path, modules: Iterable[str]) -> set[str]:
    """Imports within functions, and those for type checking alone, count too."""
    known = set(modules)
    found = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
    pairs = [(str(node.module), f"{node.module}.{name.name}") for node in found for name in node.names]
    return {inner if inner in known else outer for outer, inner in pairs} & known


def test_models_read_no_codec_and_no_training() -> None:
    for folder in ("models", "layers"):
        for path in (SOURCE / folder).glob("*.py"):
            assert imports(path) <= {"geometry", "layers", "models", "errors", "latents", "transfer"}, path


def test_checking_input_needs_no_torch() -> None:
    code = (
        "import sys, nerv360.cli, nerv360.video.clip, nerv360.video.writer, nerv360.video.synthetic;"
        "import nerv360.cluster.plan, nerv360.cluster.address;"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
