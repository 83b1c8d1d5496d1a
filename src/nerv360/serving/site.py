"""What the player is made of: the page, the file, its networks; as a folder that any web server can give out.

No PyTorch in here until networks are made or a poster is drawn.
"""

import json
import re
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from zlib import crc32

from nerv360.bitstream.container import Container
from nerv360.bitstream.header import pack
from nerv360.bitstream.timeline import Timeline
from nerv360.claims import claim
from nerv360.errors import ArgumentError, MissingExtra, OutputError
from nerv360.geometry.viewport import Viewport
from nerv360.models.spec import NetworkSpec
from nerv360.progress import OnProgress, ignore, tracked
from nerv360.serving.captions import caption_files, caption_tracks
from nerv360.storage import Location, atomic_write, name_of
from nerv360.types import Sound

__all__ = ["POSTER", "VIDEO", "browser_decoders", "export_site", "manifest", "network_names", "page_files"]

PACKAGE = Path(__file__).parents[1]
PAGE = PACKAGE / "web"
DECODERS = {  # of the page, with what each takes: keys; grids, drawn by shaders; any network, drawn by ONNX Runtime
    "motion": ("player/motion/",),
    "grid": ("player/network/", "player/grid/"),
    "onnx": ("player/network/", "player/onnx/", "player/onnxruntime/"),
}
OF_SERVERS = "player/server/"  # what talks to a server that decodes
OF_SOUND = "player/sound/"
CORE = {f"player/motion/{name}": PACKAGE / "motion" / name for name in ("core.wasm", "priors.bin")}
TYPES = {".html", ".css", ".js", ".glsl", ".gz", ".svg", ".txt"}  # .gz: WebAssembly; .txt: the licence of its runtime
VIDEO = "video.nerv360"
POSTER = "poster.jpg"  # the first view
POSTER_VIEW = Viewport(width=960, height=540)
JSDOC = re.compile(rb"^ */\*\*(?:(?!\*/).)*\*/\n", re.MULTILINE | re.DOTALL)
THREADS = "/*\n  Cross-Origin-Opener-Policy: same-origin\n  Cross-Origin-Embedder-Policy: require-corp\n"


def page_files() -> dict[str, Path]:
    """Name below the site's root -> file, for all that the page may ask for."""
    files = (path for path in PAGE.rglob("*") if path.is_file() and path.suffix in TYPES)
    return {path.relative_to(PAGE).as_posix(): path for path in files} | CORE


def browser_decoders(container: Container) -> list[str] | None:
    """Of each segment, what decodes it in a browser, as DECODERS names it; None where nothing does."""
    found = [segment.spec.browser_decoder for segment in container.segments]
    return [name for name in found if name is not None] if None not in found else None


def network_names(container: Container) -> list[str | None]:
    """Of each segment the name of its ONNX file, or None where it has no network."""
    specs = [segment.spec for segment in container.segments]
    return [f"network-{i}.onnx" if isinstance(spec, NetworkSpec) else None for i, spec in enumerate(specs)]


def manifest(
    container: Container,
    *,
    server: str | None,
    decoders: list[str] | None,
    networks: list[str | None],
    source: dict[str, Any] | None = None,
    poster: str | None = None,
    captions: list[dict[str, str]] | None = None,
) -> dict[str, Any]:
    """player.json: what the video is, and where the page finds it.

    `server` is the address of the WebSocket that gives decoded frames, or None; `decoders` are those of
    `browser_decoders`, `networks` those of `network_names` that there are. `source` names the original video and the
    times of its frames, `poster` a picture of the first view; `captions` are those of `caption_tracks`. The checksum is
    that of the file's header, which has those of all that follows: another file has another.
    """
    header, first = container.header, container.segments[0].header
    drawn = [segment for segment in container.segments if isinstance(segment.spec, NetworkSpec)]
    trained = drawn[0].header if drawn else first  # keys can be sampled in any size
    specs = [segment.spec for segment in container.segments]
    return {
        "title": Path(name_of(container.path)).stem,
        "checksum": crc32(pack(header)),
        "video": VIDEO,
        "bytes": container.size,
        "width": header.width,
        "height": header.height,
        "frames": header.frames,
        "eyes": header.eyes or 1,
        "frameRate": header.rate_numerator / header.rate_denominator,
        "frameStarts": _frame_starts(container.timeline, header.frames),
        "model": first.model,
        "trained": {"width": trained.view_width, "height": trained.view_height, "hfovDeg": list(trained.hfov_deg)},
        "scalable": all(isinstance(spec, NetworkSpec) and not spec.draws_panorama for spec in specs),
        "decoders": decoders,
        "networks": networks,
        "server": server,
        "source": source,
        "sound": _sound(header.sound) if header.sound else None,
        "poster": poster,
        "captions": captions or [],
    }


def _frame_starts(timeline: Timeline, frames: int) -> list[float] | None:
    """The beginning of every frame, and the end of the last, in seconds, where the rate is variable."""
    if not timeline.variable:
        return None
    return [round(float(timeline.start_s(frame)), 6) for frame in range(frames + 1)]


def _sound(sound: Sound) -> dict[str, Any]:
    return {"codec": sound.codec, "sampleRate": sound.sample_rate, "channels": sound.channels}


def export_site(
    path: Location, folder: Path, on_progress: OnProgress = ignore, *, captions: Sequence[Path] = ()
) -> int:
    """Write a static site that plays a file in the browser; returns its bytes. The folder must be new or empty.

    `captions` are WebVTT files.

    Raises BitstreamError, ArgumentError where browsers cannot decode the model, MissingExtra, OutputError.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: cannot be written: it is a file")
    texts = caption_files(captions)
    with Container(path) as container:
        container.verify()
        decoders = browser_decoders(container)
        if decoders is None:
            model = container.segments[0].header.model
            raise ArgumentError(f"{path}: browsers cannot decode {model}; use nerv360 play, which decodes for them")
        networks = network_names(container) if "onnx" in decoders else []
        if any(networks) and find_spec("onnx") is None:
            raise MissingExtra("export needs onnx: pip install 'nerv360[play]'")
        with claim(folder, *container.files()), atomic_write(folder) as unfinished:
            needed = _needed_files(decoders, sound=container.header.sound is not None)
            for name, file in (needed | texts).items():
                (unfinished / name).parent.mkdir(parents=True, exist_ok=True)
                (unfinished / name).write_bytes(_without_comments(name, file.read_bytes()))
            with open(unfinished / VIDEO, "wb") as video:
                container.copy(video)
            if any(networks):
                _write_networks(container, networks, unfinished, on_progress)
            _write_poster(path, unfinished / POSTER)
            tracks = caption_tracks(texts)
            about = manifest(
                container, server=None, decoders=decoders, networks=networks, poster=POSTER, captions=tracks
            )
            (unfinished / "player.json").write_text(json.dumps(about, indent=2) + "\n")
            (unfinished / "_headers").write_text(THREADS)  # several hosts of static sites read this
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _needed_files(decoders: list[str], *, sound: bool) -> dict[str, Path]:
    """Those of `page_files` without what the video or a static site does not need."""
    needed = tuple(folder for name in decoders for folder in DECODERS[name])
    others = (OF_SERVERS, *(folder for folders in DECODERS.values() for folder in folders if folder not in needed))
    others += () if sound else (OF_SOUND,)
    return {name: file for name, file in page_files().items() if not name.startswith(others)}


def _write_poster(path: Location, output: Path) -> None:
    from PIL import Image

    from nerv360.codec.decoder import open_file

    with open_file(path) as decoder:
        Image.fromarray(decoder.viewport(0, POSTER_VIEW)).save(output, quality=85)


def _without_comments(name: str, data: bytes) -> bytes:
    """A file of the page without what documents our own JavaScript: up to a fifth of what a visitor loads."""
    return data if not name.endswith(".js") or "onnxruntime" in name else JSDOC.sub(b"", data)


def _write_networks(container: Container, networks: list[str | None], folder: Path, on_progress: OnProgress) -> None:
    named = [pair for pair in zip(networks, container.segments, strict=True) if pair[0]]
    for name, segment in tracked(named, "writing networks", len(named), on_progress):
        from nerv360.serving.networks import browser_graph

        (folder / str(name)).write_bytes(browser_graph(container, segment))
