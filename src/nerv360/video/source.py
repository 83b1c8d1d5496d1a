"""Open a video file: its video stream, its packets, and all pictures that can be decoded."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from fractions import Fraction
from pathlib import Path

import av
from av.stream import Disposition

from nerv360.errors import VideoError
from nerv360.storage import Location, open_file, size

__all__ = ["Decoded", "Opened", "file_url", "is_film", "opened", "pictures", "pictures_from"]

Decoded = tuple[av.VideoFrame, Fraction]  # a picture, and the width of its pixels to their height
Opened = tuple[av.container.InputContainer, av.VideoStream]

LOCAL_ONLY = {"protocol_whitelist": "file"}  # nothing over the network
PLAYLISTS = {b"#EXTM3U": "HLS", b"<MPD": "DASH"}
LOOKED_AT_BYTES = 1024  # of a file, for the beginning of a playlist
NO_FILM = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image
SEEK_BACK_SECONDS = (0, 10)  # before a frame that is sought; where that lands behind it, all is read from the beginning


@contextmanager
def opened(path: Location) -> Iterator[Opened]:
    """A video file and the stream of it that players show.

    Raises VideoError, for every failure of the library, too.
    """
    if isinstance(path, Path) and not path.exists():
        raise VideoError(f"{path}: no such file")
    if isinstance(path, Path) and not path.is_file():
        raise VideoError(f"{path}: not a file")
    try:
        if size(path) == 0:
            raise VideoError(f"{path}: empty file")
        _refuse_playlist(path)
        with ExitStack() as held:
            source = file_url(path) if isinstance(path, Path) else held.enter_context(open_file(path))
            container = held.enter_context(av.open(source, "r", options=LOCAL_ONLY))
            stream = _choose(path, container)
            stream.thread_type = "AUTO"
            yield container, stream
    except (av.FFmpegError, EOFError) as error:
        raise VideoError(f"{path}: not a video that can be read ({_reason(error)})") from None
    except OSError as error:
        raise VideoError(f"{path}: cannot be read: {_reason(error)}") from None


def file_url(path: Path) -> str:
    """A file's name for PyAV, to which `12:30.mp4` alone would be a protocol."""
    return f"file:{path}"


def _refuse_playlist(path: Location) -> None:
    with open_file(path) as file:
        beginning = file.read(LOOKED_AT_BYTES)
    for sign, name in PLAYLISTS.items():
        if sign in beginning:
            raise VideoError(
                f"{path}: is a {name} playlist, not a video; make one file of it (ffmpeg -i PLAYLIST -c copy FILE.mp4)"
            )


def _choose(path: Location, container: av.container.InputContainer) -> av.VideoStream:
    """The stream that is marked as default, of several the largest; covers and previews are none."""
    if not container.streams.video:
        raise VideoError(f"{path}: no video stream in it")
    films = [stream for stream in container.streams.video if is_film(stream)]
    if not films:
        raise VideoError(f"{path}: no video stream in it, only a still picture (the cover)")
    return max(films, key=lambda each: (bool(each.disposition & Disposition.default), each.width * each.height))


def is_film(stream: av.VideoStream) -> bool:
    """Whether a stream is neither a cover nor a preview."""
    return not stream.disposition & NO_FILM


def pictures(container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[Decoded]:
    """All that can be decoded, with the shape of its pixels: behind damage, it goes on."""
    for packet in container.demux(stream):
        with suppress(av.InvalidDataError):
            for picture in packet.decode():
                yield picture, stream.codec_context.sample_aspect_ratio or Fraction(1)


def pictures_from(path: Location, time: int) -> Iterator[Decoded]:
    """Pictures from some time at or before this one, the nearest that can be sought; else from the beginning."""
    for seconds in SEEK_BACK_SECONDS:
        with opened(path) as (container, stream):
            with suppress(av.FFmpegError):
                container.seek(time - int(seconds / (stream.time_base or 1)), stream=stream)
            found = pictures(container, stream)
            first = next(found, None)
            if first is not None and first[0].pts is not None and first[0].pts <= time:
                yield first
                yield from found
                return
    with opened(path) as (container, stream):
        yield from pictures(container, stream)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or type(error).__name__
