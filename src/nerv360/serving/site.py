"""What the player is made of: the page, the file, its networks; as a folder that any web server can give out.

No PyTorch in here until networks are made.
"""

import json
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from zlib import crc32

from nerv360.bitstream.container import Container
from nerv360.bitstream.header import pack
from nerv360.errors import ArgumentError, MissingExtra, OutputError
from nerv360.progress import OnProgress, ignore, tracked
from nerv360.storage import Location, atomic_write, name_of

__all__ = ["VIDEO", "export_site", "manifest", "network_names", "page_files"]

PAGE = Path(__file__).parents[1] / "web"
TYPES = {".html", ".css", ".js", ".gz", ".svg", ".txt"}  # .gz: WebAssembly; .txt: the licence of its runtime
VIDEO = "video.nerv360"
THREADS = "/*\n  Cross-Origin-Opener-Policy: same-origin\n  Cross-Origin-Embedder-Policy: require-corp\n"


def page_files() -> dict[str, Path]:
    """Name below the site's root -> file, for all that the page may ask for."""
    files = (path for path in PAGE.rglob("*") if path.is_file() and path.suffix in TYPES)
    return {path.relative_to(PAGE).as_posix(): path for path in files}


def network_names(container: Container) -> list[str] | None:
    """The names of the segments' ONNX files, or None where browsers cannot decode the video."""
    if not all(segment.spec.in_browser for segment in container.segments):
        return None
    return [f"network-{index}.onnx" for index in range(len(container.segments))]


def manifest(
    container: Container, *, server: str | None, networks: list[str] | None, source: dict[str, Any] | None = None
) -> dict[str, Any]:
    """player.json: what the video is, and where the page finds it.

    `server` is the address of the WebSocket that gives decoded frames, `networks` are the ONNX files of the segments;
    each is None where there are none. `source` names the original video and the times of its frames. The checksum is
    that of the file's header, which has those of all that follows: another file has another.
    """
    header, first = container.header, container.segments[0].header
    return {
        "title": Path(name_of(container.path)).stem,
        "checksum": crc32(pack(header)),
        "video": VIDEO,
        "bytes": container.size,
        "width": header.width,
        "height": header.height,
        "frames": header.frames,
        "frameRate": header.rate_numerator / header.rate_denominator,
        "model": first.model,
        "trained": {"width": first.view_width, "height": first.view_height, "hfovDeg": list(first.hfov_deg)},
        "networks": networks,
        "server": server,
        "source": source,
    }


def export_site(path: Location, folder: Path, on_progress: OnProgress = ignore) -> int:
    """Write a static site that plays a file in the browser; returns its bytes. The folder must be new or empty.

    Raises BitstreamError, ArgumentError where browsers cannot decode the network, MissingExtra, OutputError.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: cannot be written: it is a file")
    with Container(path) as container:
        container.verify()
        networks = network_names(container)
        if networks is None:
            model = container.segments[0].header.model
            raise ArgumentError(f"{path}: browsers cannot decode {model}; use nerv360 play, which decodes for them")
        if find_spec("onnx") is None:
            raise MissingExtra("export needs onnx: pip install 'nerv360[play]'")
        from nerv360.serving.networks import browser_graph

        with atomic_write(folder) as unfinished:
            for name, file in page_files().items():
                (unfinished / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, unfinished / name)
            with open(unfinished / VIDEO, "wb") as video:
                container.copy(video)
            named = zip(networks, container.segments, strict=True)
            for name, segment in tracked(named, "writing networks", len(networks), on_progress):
                (unfinished / name).write_bytes(browser_graph(container, segment))
            about = manifest(container, server=None, networks=networks)
            (unfinished / "player.json").write_text(json.dumps(about, indent=2) + "\n")
            (unfinished / "_headers").write_text(THREADS)  # several hosts of static sites read this
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
