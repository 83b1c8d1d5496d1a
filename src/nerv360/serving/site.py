"""What the player's page is made of. No PyTorch in here."""

from pathlib import Path
from typing import Any

from nerv360.bitstream.container import Container

__all__ = ["VIDEO", "manifest", "page_files"]

PAGE = Path(__file__).parents[1] / "web"
VIDEO = "video.nerv360"
TYPES = {".html", ".css", ".js", ".mjs", ".wasm", ".svg", ".txt", ".json"}


def page_files() -> dict[str, Path]:
    """Name below the site's root -> file, for all that the page may ask for."""
    files = (path for path in PAGE.rglob("*") if path.is_file() and path.suffix in TYPES)
    return {path.relative_to(PAGE).as_posix(): path for path in files}


def manifest(container: Container, *, server: str | None, networks: list[str] | None) -> dict[str, Any]:
    """player.json: what the video is, and where the page finds it.

    `server` is the address of the WebSocket that gives decoded frames, `networks` are the ONNX files of the segments;
    each is None where there are none.
    """
    header, first = container.header, container.segments[0].header
    return {
        "title": container.path.stem,
        "video": VIDEO,
        "bytes": container.size,
        "width": header.width,
        "height": header.height,
        "frames": header.frames,
        "frameRate": header.rate_numerator / header.rate_denominator,
        "model": first.model,
        "trained": {"width": first.view_width, "height": first.view_height, "hfovDeg": list(first.hfov_deg)},
        "rollDeg": list(first.roll_deg),
        "networks": networks,
        "server": server,
    }
