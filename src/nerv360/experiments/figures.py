"""Pictures of the experiments: crops side by side (Fig. 4), and one file at several fields of view and rolls."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from nerv360.codec.decoder import Decoder, open_file
from nerv360.evaluation.evaluate import titled
from nerv360.extract import extract_viewport
from nerv360.geometry.viewport import Viewport, dynamic_viewports
from nerv360.quality import psnr
from nerv360.storage import name_of
from nerv360.types import Picture
from nerv360.video.clip import Clip
from nerv360.video.writer import write_frames

__all__ = ["figure4", "free_view_figure", "free_view_psnr"]

TILE, CROP = 384, 3  # width of a viewport in pixels; a crop is one CROP-th of each side


def figure4(files: Mapping[str, Path], clip: Clip, output: Path, device: str) -> None:
    """Fig. 4: the source and every network, at the middle frame of both trajectories; below each its liveliest part."""
    middle = clip.frames // 2
    panorama = next(clip.read(middle, middle + 1))
    sheets = []
    with _opened(files, device) as decoders:
        for name, views in dynamic_viewports(_native_view(decoders), clip.frames, name_of(clip.path)).items():
            pictures = _compared(f"source, {name}", decoders, middle, panorama, views[middle])
            rows, columns = _liveliest(pictures[0][1])
            sheets += [_row(pictures), _row([("", picture[rows, columns]) for _, picture in pictures])]
    write_frames(output, [_stacked(sheets)], clip.frame_rate, clip.colour)


def free_view_psnr(
    decoder: Decoder, panoramas: Mapping[int, Picture], video: str, hfov_deg: float, roll_deg: float
) -> float:
    """Mean PSNR of these frames over both trajectories of that video, at this field of view and roll."""
    look = replace(decoder.native_view(), hfov_deg=hfov_deg, roll_deg=roll_deg)
    return float(
        np.mean(
            [
                psnr(decoder.viewport(index, views[index]), extract_viewport(panorama, views[index]))
                for views in dynamic_viewports(look, decoder.frames, video).values()
                for index, panorama in panoramas.items()
            ]
        )
    )


def free_view_figure(files: Mapping[str, Path], clip: Clip, output: Path, device: str) -> None:
    """The middle frame at four fields of view and rolls: source, then every file."""
    middle = clip.frames // 2
    panorama = next(clip.read(middle, middle + 1))
    sheets = []
    with _opened(files, device) as decoders:
        first = dynamic_viewports(_native_view(decoders), clip.frames, name_of(clip.path))["VP0"][middle]
        for hfov, roll in ((60, 0), (78.1, 30), (90, 90), (110, 180)):
            look = replace(first, hfov_deg=hfov, roll_deg=roll)
            sheets.append(_row(_compared(f"source, {hfov:g} deg, roll {roll:g}", decoders, middle, panorama, look)))
    write_frames(output, [_stacked(sheets)], clip.frame_rate, clip.colour)


@contextmanager
def _opened(files: Mapping[str, Path], device: str) -> Iterator[dict[str, Decoder]]:
    with ExitStack() as stack:
        yield {name: stack.enter_context(open_file(path, device=device)) for name, path in files.items()}


def _native_view(decoders: Mapping[str, Decoder]) -> Viewport:
    return next(iter(decoders.values())).native_view()


def _compared(
    title: str, decoders: Mapping[str, Decoder], frame_index: int, panorama: Picture, view: Viewport
) -> list[tuple[str, Picture]]:
    """The source's view under that title, then every decoder's under its name and PSNR."""
    source = extract_viewport(panorama, view)
    decoded = {name: decoder.viewport(frame_index, view) for name, decoder in decoders.items()}
    return [(title, source), *((f"{name}, {psnr(own, source):.2f} dB", own) for name, own in decoded.items())]


def _stacked(sheets: Sequence[Picture]) -> Picture:
    """One below the other, on white."""
    width = max(sheet.shape[1] for sheet in sheets)
    padded = [np.pad(s, ((0, 0), (0, width - s.shape[1]), (0, 0)), constant_values=255) for s in sheets]
    return np.concatenate(padded)


def _row(pictures: Sequence[tuple[str, Picture]]) -> Picture:
    return np.concatenate([titled(picture, title, TILE) for title, picture in pictures], axis=1)


def _liveliest(picture: Picture) -> tuple[slice, slice]:
    """The part of the picture with the largest variance of brightness."""
    height, width = (side // CROP for side in picture.shape[:2])
    brightness = picture.mean(axis=2)
    corners = [
        (top, left)
        for top in range(0, picture.shape[0] - height + 1, max(1, height // 2))
        for left in range(0, picture.shape[1] - width + 1, max(1, width // 2))
    ]
    top, left = max(corners, key=lambda c: brightness[c[0] : c[0] + height, c[1] : c[1] + width].var())
    return slice(top, top + height), slice(left, left + width)
