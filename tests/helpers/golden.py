"""Small files of every model, and what they decode to: `python -m helpers.golden FOLDER`, in tests/, makes new ones;
with names behind, those of these models.

tests/data/golden holds those that every later version must decode to the same. To be made anew only where a new version
of the format replaces them.
"""

import sys
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from helpers.films import other_eye, stereo_box, write_film
from nerv360.bitstream.container import Container, Segment
from nerv360.bitstream.header import MotionHeader
from nerv360.bitstream.sound import read_sound
from nerv360.bitstream.weights import read_weights
from nerv360.codec.decoder import open_file
from nerv360.codec.encoder import encode_clip
from nerv360.codec.load_network import load_network
from nerv360.codec.motion_decoder import MotionDecoder
from nerv360.config import EncodingConfig
from nerv360.geometry.viewport import Viewport
from nerv360.latents.grid import LatentGrid
from nerv360.latents.integer_context_model import read_latent
from nerv360.models.build import decoder_tensors
from nerv360.types import BT709
from nerv360.video.camera_motion import to_world_panorama
from nerv360.video.clip import Clip
from nerv360.video.reading import BOTH, Layout
from nerv360.video.synthetic import render_frame
from nerv360.video.writer import write_frames

FOLDER = Path(__file__).parents[1] / "data" / "golden"
WIDTH, HEIGHT, FRAMES = 192, 96, 6
PAN_STEPS = 150  # by which the camera of the second clip turns every frame, in hundredths of a degree

_PAPER = EncodingConfig.of(channels=(4, 4, 4, 4, 4), encoder_channels=4, epochs=24, weight_bits=3, group_size=4)
CASES = {
    "nerv360": _PAPER,
    "nerv360-variant": _PAPER.replace(
        expand_first=False, last_block="half", conditions=("pitch",), hfov_deg=(70, 90), embedding_channels=2
    ),
    "hnerv": _PAPER.replace(model="hnerv", channels=(12, 10, 8, 8, 6), weight_bits=6),
    "hnerv-boost": _PAPER.replace(model="hnerv-boost"),
    "nerv360-grid": EncodingConfig.of(
        model="nerv360-grid",
        channels=(4, 4, 4, 4, 4),
        grids=(
            *(LatentGrid(24, 4, 3, motion=True), LatentGrid(24, 2, 1), LatentGrid(8, 4, 2), LatentGrid(4, 2, 5)),
            *(LatentGrid(24, 2, 0), LatentGrid(2, 2, 0), LatentGrid(1, 1, 0)),
        ),
        epochs=12,
        rate_weight=1.0,
        group_size=4,
    ),
    "nerv360-motion": EncodingConfig.of(model="nerv360-motion", effort=0, rate_weight=1.0),
    "timed": EncodingConfig.of(model="nerv360-motion", effort=0, rate_weight=4.0),  # with sound, and times of frames
    "stereo": EncodingConfig.of(model="nerv360-motion", effort=0, rate_weight=4.0),  # likewise, of both eyes
    "sectors": EncodingConfig.of(model="nerv360-motion", effort=0, rate_weight=1.0, sectors=True),
}
TICKS = (0, 1, 3, 4, 20, 30)  # when frames of the last two are shown, in 1/25 s
VIEWS = (
    (1, Viewport(yaw_deg=175, pitch_deg=-20, roll_deg=5, hfov_deg=80, width=96, height=72)),
    (5, Viewport(yaw_deg=-30, pitch_deg=80, hfov_deg=78.1, width=72, height=48)),
)
PANORAMA = 3  # the frame of which rows are compared
ROWS = slice(46, 50)


def integers(path: Path) -> dict[str, NDArray[np.integer]]:
    """Everything in a file that is coded as integers: weights with their steps, latents, the camera's angles. Of keys,
    some rows of every picture, which integers make.
    """
    with Container(path) as container:
        found = [
            dict((_of_keys if isinstance(segment.header, MotionHeader) else _of_network)(container, segment))
            for segment in container.segments
        ]
        timed = dict(_of_time(container))
    return timed | {f"{number}.{name}": values for number, each in enumerate(found) for name, values in each.items()}


def _of_time(container: Container) -> Iterator[tuple[str, NDArray[np.integer]]]:
    header = container.header
    if header.times is not None:
        yield "0.ticks", header.times.unpack(header.frames)
    if header.sound is not None:
        times, packets = zip(
            *read_sound(container, Fraction(0), container.timeline.start_s(header.frames)), strict=True
        )
        yield "0.sound_times", np.array(times)
        yield "0.sound", np.frombuffer(b"".join(packets), np.uint8)


def _of_network(container: Container, segment: Segment) -> Iterator[tuple[str, NDArray[np.integer]]]:
    network = load_network(container, segment, torch.device("cpu"))
    shapes = {name: tuple(tensor.shape) for name, tensor in decoder_tensors(network.network).items()}
    weights = list(read_weights(container.chunk(segment, 0), shapes).values())
    yield "steps", np.array([tensor.step for tensor in weights], np.int16)
    yield "weights", np.concatenate([tensor.symbols.ravel() for tensor in weights]).astype(np.int16)
    yield "contexts", network.context_model.parameters().astype(np.int16)
    if network.angles is not None:
        yield "angles", network.angles.astype(np.int16)
    first = np.cumsum([0, *(latent.channels for latent in segment.latents)]).tolist()
    for index, group in enumerate(segment.key_groups):
        latent = segment.latents[group.latent]
        shape = (group.keys, latent.channels, *latent.size(WIDTH, HEIGHT))
        chunk = container.chunk(segment, 2 + index)
        yield f"chunk{index}", read_latent(chunk, network.context_model, first[group.latent], shape).astype(np.int16)


def _of_keys(container: Container, segment: Segment) -> Iterator[tuple[str, NDArray[np.integer]]]:
    decoder = MotionDecoder(container, segment, "torch")
    for picture in range(segment.frames * (segment.header.eyes or 1)):
        yield f"frame{picture}", decoder.panorama(picture)[ROWS]


def pictures(path: Path) -> dict[str, NDArray[np.uint8]]:
    """Two views, and some rows of a panorama, drawn by PyTorch."""
    with open_file(path, backend="torch") as decoder:
        views = {f"view{frame}": decoder.viewport(frame, view) for frame, view in VIEWS}
        return views | {"panorama": decoder.panorama(PANORAMA)[ROWS]}


def make(folder: Path, names: Iterable[str]) -> None:
    """Encode the procedural clip by these models, for nerv360-grid under a camera that turns."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        config = CASES[name]
        video = folder / "clip.mp4"
        frames = [render_frame(index, width=WIDTH, height=HEIGHT, frames=64) for index in range(FRAMES)]
        if config.architecture.grids:
            frames = [_panned(frame, index) for index, frame in enumerate(frames)]
        if name == "stereo":
            frames = [np.concatenate(pair) for pair in zip(frames, other_eye(frames), strict=True)]
        if name in ("timed", "stereo"):
            boxes = stereo_box(1) if name == "stereo" else b""
            write_film(video, frames, sound=("libopus", "mono"), ticks=TICKS, sample_entry=boxes)
        else:
            write_frames(video, iter(frames), Fraction(30), BT709)
        path = folder / f"{name}.nerv360"
        clip = Clip.open(video, sound=True, layout=Layout(default_eye=BOTH))
        encode_clip(clip, path, config, torch.device("cpu"), lambda _: None)
        np.savez_compressed(folder / f"{name}.npz", **integers(path), **pictures(path))
        video.unlink()


def _panned(frame: NDArray[np.uint8], index: int) -> NDArray[np.uint8]:
    angles = np.array([PAN_STEPS * index, 0, 0], np.int32)
    picture = torch.from_numpy(frame).permute(2, 0, 1)[None].float()
    turned = to_world_panorama(picture, HEIGHT, WIDTH, angles)[0].permute(1, 2, 0)
    return turned.round().to(torch.uint8).numpy()


if __name__ == "__main__":
    torch.set_num_threads(1)
    make(Path(sys.argv[1]), sys.argv[2:] or CASES)
