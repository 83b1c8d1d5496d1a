"""How fast a file plays, backend by backend, each in a process of its own, and two references for the same view.

- plain: `network.decode` as it is written, in PyTorch with kernels in its own order, everything anew for every view;
- libx265: decode-then-crop: the panorama decoded with a classical codec, the view cut out of it.

Times are those of a caller who waits for each picture. Memory is the peak of the resident size above that of a process
that has the packages loaded (Linux).
"""

import itertools
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from nerv360.backends.tiling import check_size
from nerv360.bitstream.container import Container
from nerv360.codec.decoder import open_file
from nerv360.codec.network_decoder import NetworkDecoder
from nerv360.errors import OutOfMemory
from nerv360.evaluation.anchors import ANCHORS, encode_anchor
from nerv360.experiments.bench_targets import DECODE_THEN_CROP, PLAIN, QUANTISED
from nerv360.experiments.benchmark import forget_peak, peak_memory
from nerv360.extract import extract_viewport
from nerv360.geometry.viewport import JVET_TRAJECTORIES, Viewport, linear_trajectory
from nerv360.storage import Location
from nerv360.types import Picture
from nerv360.video.clip import Clip

__all__ = ["MachinePeak", "Playback", "drawing_gmac", "machine_peak", "measure_playback"]

CRF = 28
WARM_UP = 2
MATRIX, COPY = 2048, 1 << 26  # rows of a matrix product, bytes of a copy: larger than any cache share
Show = Callable[[int, Viewport], Picture]


@dataclass(frozen=True)
class Times:
    """Milliseconds per picture."""

    median_ms: float
    p95_ms: float


@dataclass(frozen=True)
class Playback:
    """One way to views of a file."""

    backend: str
    open_ms: float
    first_ms: float  # the first picture, behind the opening
    paused_pan: Times  # one frame, the view moves
    playing: Times  # frame after frame, the view rests
    playing_pan: Times  # frame after frame along JVET's trajectory, by `Decoder.play`
    seeking: Times  # random frames and views
    peak_bytes: int | None  # None where it cannot be measured


@dataclass(frozen=True)
class MachinePeak:
    """What this machine reaches in PyTorch."""

    gmac_per_s: float  # a matrix product in float32
    gb_per_s: float  # a copy, bytes read and bytes written


def machine_peak() -> MachinePeak:
    """The two ceilings, measured: the best of several."""
    a, b = torch.rand(MATRIX, MATRIX), torch.rand(MATRIX, MATRIX)
    source, target = torch.rand(COPY // 4), torch.empty(COPY // 4)
    product = min(_seconds(lambda: torch.mm(a, b)) for _ in range(7))
    copy = min(_seconds(lambda: target.copy_(source)) for _ in range(7))
    return MachinePeak(MATRIX**3 / product / 1e9, 2 * COPY / copy / 1e9)


@torch.inference_mode()
def drawing_gmac(path: Location, view: Viewport) -> float:
    """Billions of multiplications and additions that `draw` does for such a view, by PyTorch's own count."""
    with Container(path) as container:
        reader = NetworkDecoder(container, container.segment_of(0), "torch")
        check_size(view, reader.network.config)
        sampled, modulations = reader.draw_inputs(0, view)
        shapes = [[each.to("meta") for each in inputs] for inputs in (sampled, modulations)]
        with FlopCounterMode(display=False) as counter:
            reader.network.to("meta").draw(*shapes)
    return float(counter.get_total_flops()) / 2e9


def measure_playback(
    path: Location, backend: str, view: Viewport, repeats: int, threads: int, source: Clip | None
) -> Playback:
    """Measure a backend or bench target in a fresh process; the source is for DECODE_THEN_CROP. Raises OutOfMemory."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        try:
            return pool.submit(_measure, path, backend, view, repeats, threads, source).result()
        except (BrokenProcessPool, MemoryError, RuntimeError):  # PyTorch raises the last
            raise OutOfMemory(
                f"{backend}: was ended by the system for lack of memory; ask for a smaller view"
            ) from None


def _measure(path: Location, backend: str, view: Viewport, repeats: int, threads: int, source: Clip | None) -> Playback:
    torch.set_num_threads(threads)
    _load(backend)
    with tempfile.TemporaryDirectory() as folder:
        if source is not None:
            path = Path(folder) / "coded.mp4"
            encode_anchor(ANCHORS["x265"], CRF, source, [0], path)
        torch.nn.Conv2d(3, 3, 3)(torch.rand(1, 3, 8, 8))
        forget_peak(torch.device("cpu"))
        before = peak_memory(torch.device("cpu"))
        started = time.perf_counter()
        decoder = _opened(path, backend, threads)
        opened = time.perf_counter()
        decoder.viewport(0, view)
        first = time.perf_counter()
        paused_pan, playing, playing_pan, seeking = (_times(each, repeats) for each in _walks(decoder, view, repeats))
        after = peak_memory(torch.device("cpu"))
        decoder.close()
    peak = None if before is None or after is None else after - before
    opening_ms, first_ms = 1e3 * (opened - started), 1e3 * (first - opened)
    return Playback(backend, opening_ms, first_ms, paused_pan, playing, playing_pan, seeking, peak)


def _walks(decoder: Any, view: Viewport, repeats: int) -> Iterator[Iterator[Picture]]:
    """Pictures as they come: paused pan, playing, playing pan, seeking."""
    count, frames = WARM_UP + repeats, decoder.frames
    path = linear_trajectory(view, count, *JVET_TRAJECTORIES["Balboa"][0])
    onwards = [index % frames for index in range(count)]
    random = np.random.default_rng(0)
    looks = [
        replace(view, yaw_deg=float(random.uniform(-180, 180)), pitch_deg=float(random.uniform(-60, 60)))
        for _ in onwards
    ]
    yield (decoder.viewport(0, look) for look in path)
    yield (decoder.viewport(index, view) for index in onwards)
    yield decoder.play(list(zip(onwards, path, strict=True)))
    yield (decoder.viewport(int(random.integers(frames)), look) for look in looks)


def _times(pictures: Iterator[Picture], repeats: int) -> Times:
    seconds = [_seconds(lambda: next(pictures)) for _ in range(WARM_UP + repeats)][WARM_UP:]
    return Times(1e3 * statistics.median(seconds), 1e3 * sorted(seconds)[int(0.95 * (repeats - 1) + 0.5)])


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _load(backend: str) -> None:
    """The backend's packages, which are not part of a decoder's memory."""
    needed = {"openvino": ["openvino", "onnx"], "onnxruntime": ["onnxruntime", "onnx"]}
    for name in needed.get(backend, ["openvino", "onnx", "onnxruntime"] if backend == QUANTISED else []):
        import_module(name)


def _opened(path: Location, backend: str, threads: int) -> Any:
    if backend == PLAIN:
        return _Plain(path)
    if backend == DECODE_THEN_CROP:
        return _DecodeThenCrop(path, threads)
    if backend == QUANTISED:
        return open_file(path, backend="openvino", precision="int8")
    return open_file(path, backend=backend)


class _Plain:
    """Every view by `network.decode`; only decoded chunks are cached."""

    def __init__(self, path: Location) -> None:
        self.container = Container(path)
        self.frames = self.container.segments[0].frames
        self.reader = NetworkDecoder(self.container, self.container.segment_of(0), "torch")
        for parameter in self.reader.network.parameters():
            parameter.data = parameter.data.contiguous()

    @torch.inference_mode()
    def viewport(self, frame: int, view: Viewport) -> Picture:
        world = self.reader.world_view(frame, view)
        picture = self.reader.network.decode(self.reader.latents(frame, world), self.reader.at(frame), world)
        return (picture[0] * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()

    def play(self, views: Sequence[tuple[int, Viewport]]) -> Iterator[Picture]:
        return itertools.starmap(self.viewport, views)

    def close(self) -> None:
        self.container.close()


class _DecodeThenCrop:
    """The panorama by a classical codec, the view cut out of it; back to the beginning where a frame lies behind.

    As fast as it goes, where AnchorDecoder (anchors.py) is exact: its conversion to RGB takes twice as long.
    """

    def __init__(self, path: Location, threads: int) -> None:
        self.path, self.threads = path, threads
        self.frames = 0
        self._start()
        self.frames = self.container.streams.video[0].frames

    def _start(self) -> None:
        self.container = av.open(self.path)
        self.container.streams.video[0].thread_type = "AUTO"
        self.container.streams.video[0].codec_context.thread_count = self.threads
        self.decoded = enumerate(self.container.decode(video=0))
        self.index = -1
        self.panorama: Picture = np.zeros((1, 1, 3), dtype=np.uint8)

    def viewport(self, frame: int, view: Viewport) -> Picture:
        if frame < self.index:
            self.container.close()
            self._start()
        while self.index < frame:
            self.index, coded = next(self.decoded)
            if self.index == frame:
                self.panorama = coded.reformat(format="rgb24", src_colorspace="ITU709").to_ndarray().astype(np.uint8)
        return extract_viewport(self.panorama, view)

    def play(self, views: Sequence[tuple[int, Viewport]]) -> Iterator[Picture]:
        return itertools.starmap(self.viewport, views)

    def close(self) -> None:
        self.container.close()
