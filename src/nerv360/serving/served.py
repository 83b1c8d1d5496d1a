"""What a server serves: a .nerv360 file, its decoded frames, and the video that it was made from."""

from collections.abc import Sequence
from contextlib import suppress
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path

from aiohttp import web

from nerv360.bitstream.container import Container
from nerv360.bitstream.manifest import MANIFEST_ENDING
from nerv360.errors import ArgumentError
from nerv360.serving.captions import caption_files, caption_tracks
from nerv360.serving.frames import Frames
from nerv360.serving.site import browser_decoders, manifest, network_names
from nerv360.storage import Location
from nerv360.video.clip import Clip

__all__ = ["SERVED", "SOURCE", "TIMES", "Served"]

SOURCE, TIMES = "source", "source.json"
SHAPES_DIFFER = 0.01  # of the file and its source, in width by height: sides are whole numbers
RATES_DIFFER = 0.03  # of the file and its source, in frames per second: where times are uneven, an average


class Served:
    """A file, its decoded frames, and the manifest of it that pages get, as of the last `reload`."""

    def __init__(
        self,
        path: Location,
        source: Path | None,
        start: int,
        max_memory: int | None = None,
        captions: Sequence[Path] = (),
    ) -> None:
        self.path, self._source, self._start, self._max_memory = path, source, start, max_memory
        self.captions = caption_files(captions)
        self.whole = isinstance(path, Path) and not path.name.endswith(MANIFEST_ENDING)
        self.reload()

    def reload(self) -> None:
        """Raises BitstreamError where the file cannot be read, ArgumentError or VideoError for another's source."""
        stamp = _stamp(self.path)
        with Container(self.path) as container:
            container.verify()
            decoders = browser_decoders(container) if self.whole else None
            networks: list[str | None] = network_names(container) if decoders and find_spec("onnx") else []
            times = _times(container, self._source, self._start) if self._source else []
            original = {"video": SOURCE, "times": TIMES} if self._source else None
            about = manifest(
                container,
                server="frames",
                decoders=decoders,
                networks=networks,
                source=original,
                captions=caption_tracks(self.captions),
            )
        self._stamp, self.networks, self.times, self.about = stamp, networks, times, about
        self.frames = Frames(self.path, self._max_memory)

    def read(self, start: int, end: int) -> tuple[bytes, int]:
        """A stretch of the file, and the bytes of all of it. Raises BitstreamError."""
        with Container(self.path) as container:
            return container.stretch(start, end - start), container.size

    def replaced(self) -> bool:
        """Whether the file has been replaced since the last `reload`."""
        return _stamp(self.path) != self._stamp


SERVED = web.AppKey("served", Served)


def _stamp(path: Location) -> tuple[int, ...] | None:
    """What changes with a file on this machine; None where there is none."""
    with suppress(OSError):
        if isinstance(path, Path):
            status = path.stat()
            return status.st_ino, status.st_size, status.st_mtime_ns
    return None


def _times(container: Container, source: Path, start: int) -> list[float]:
    """The middle of every frame of the file, in seconds of its source, whose frame `start` is the first."""
    clip = Clip.open(source, start=start, force=True)
    difference = _difference(clip, container)
    if difference:
        raise ArgumentError(f"--source {source}: {difference}")
    return [round(seconds, 5) for seconds in clip.cut(0, container.header.frames).middles()]


def _difference(clip: Clip, container: Container) -> str | None:
    """Why the file cannot have been made from these frames, and what to do. Frames behind its last do not matter."""
    header, path = container.header, container.path
    rate = Fraction(header.rate_numerator, header.rate_denominator)
    size = f"{header.width}x{header.height}"
    if clip.reading.reprojects or clip.tags.stereo not in (None, "mono"):
        return "its pictures are no plain panoramas, which the player needs: give an equirectangular copy of one eye"
    if abs(clip.width * header.height / (clip.height * header.width) - 1) > SHAPES_DIFFER:
        return (
            f"is {clip.width}x{clip.height}, another shape than {path}, {size}: "
            f"give the video that was encoded, or a copy that is scaled to {size}"
        )
    if clip.frames < header.frames:
        return (
            f"has {clip.frames} frames from --start {clip.start} on, fewer than {path}, {header.frames}: "
            "give the video that was encoded, and its --start"
        )
    if abs(clip.frame_rate / rate - 1) > RATES_DIFFER:
        return (
            f"has {float(clip.frame_rate):g} frames/s, and {path} {float(rate):g}: "
            "give the video that was encoded, or a copy of its frame rate"
        )
    return None
