"""Captions beside a video: WebVTT files, which browsers read by themselves."""

from collections.abc import Sequence
from pathlib import Path

from nerv360.errors import ArgumentError
from nerv360.storage import open_file

__all__ = ["caption_files", "caption_tracks"]

MAX_BYTES = 10_000_000
BEGINNINGS = (b"WEBVTT", b"\xef\xbb\xbfWEBVTT")


def caption_files(paths: Sequence[Path]) -> dict[str, Path]:
    """Names below the site's root -> files. Raises ArgumentError for what is no WebVTT."""
    for path in paths:
        try:
            with open_file(path) as file:
                data = file.read(MAX_BYTES + 1)
        except FileNotFoundError:
            raise ArgumentError(f"--captions {path}: no such file") from None
        except OSError as error:
            raise ArgumentError(f"--captions {path}: cannot be read: {error.strerror or error}") from None
        if not data.startswith(BEGINNINGS):
            raise ArgumentError(f"--captions {path}: is no WebVTT; as: ffmpeg -i captions.srt captions.vtt")
        if len(data) > MAX_BYTES:
            raise ArgumentError(f"--captions {path}: more than {MAX_BYTES} bytes")
    return {f"captions-{number}.vtt": path for number, path in enumerate(paths)}


def caption_tracks(files: dict[str, Path]) -> list[dict[str, str]]:
    """What player.json says of them; the language of film.de.vtt is de."""
    return [{"src": name, "srclang": path.with_suffix("").suffix[1:]} for name, path in files.items()]
