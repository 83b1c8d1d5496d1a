"""Build the core from the C files here: `pip install ziglang==0.17.1 && python core/build.py [TARGET]`.

The target is src/nerv360/motion/core.wasm, by default.

The compiler is clang, as the `ziglang` package of PyPI brings it for every machine; the same version makes the same
bytes, which tests/test_core.py checks where the compiler is installed.
"""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
TARGET = HERE.parent / "src/nerv360/motion/core.wasm"
FEATURES = "generic+simd128+bulk_memory+sign_ext+nontrapping_fptoint"
FLAGS = [
    *("-target", "wasm32-freestanding", f"-mcpu={FEATURES}", "-nostdlib", "-Wl,--no-entry", "-s"),
    *("-O3", "-flto", "-Wall", "-Wextra", "-Werror"),
    *("-fwrapv", "-ffp-contract=off"),  # what is computed does not depend on the compiler's mood
]


def build(target: Path) -> None:
    """Compile all C files into a WebAssembly module."""
    sources = sorted(str(path.relative_to(HERE)) for path in HERE.glob("*.c"))
    command = [sys.executable, "-m", "ziglang", "cc", *FLAGS, "-o", str(target.resolve()), *sources]
    subprocess.run(command, cwd=HERE, check=True)
    target.chmod(0o644)


if __name__ == "__main__":
    build(Path(sys.argv[1]) if len(sys.argv) > 1 else TARGET)
