"""Write the npm package @nerv360/player: its modules, what they load, their types (make package).

python npm/build.py DIR; needs Node, and TypeScript: npm ci --prefix tests/web
"""

import shutil
import subprocess
import sys
from pathlib import Path

from nerv360.serving.site import PAGE, page_files

ROOT = Path(__file__).parents[1]
PLAYER = "player/"
COMPILER = ROOT / "tests" / "web" / "node_modules" / "typescript" / "bin" / "tsc"
TAG = """
declare global {
  interface HTMLElementTagNameMap {
    "nerv360-player": Nerv360PlayerElement;
  }
}
"""


def build(folder: Path) -> None:
    """Write the package into a new folder."""
    files = {name.removeprefix(PLAYER): file for name, file in page_files().items() if name.startswith(PLAYER)}
    files |= {"package.json": PAGE / PLAYER / "package.json", "LICENSE": ROOT / "LICENSE"}
    files |= {"README.md": Path(__file__).with_name("README.md")}
    for name, file in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, folder / name)
    project = Path(__file__).with_name("tsconfig.json")
    subprocess.run(["node", COMPILER, "--project", project, "--outDir", folder], check=True)
    with open(folder / "element.d.ts", "a") as types:  # what JavaScript cannot declare
        types.write(TAG)


if __name__ == "__main__":
    build(Path(sys.argv[1]))
