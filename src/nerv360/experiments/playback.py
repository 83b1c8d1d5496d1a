"""How fast a file plays: each way to decode it in a process of its own, and references for the same view.

- plain: `network.decode` as it is written, in PyTorch with kernels in its own order, everything anew for every view;
- libx265: decode-then-crop: the panorama decoded with a classical codec, the view cut out of it.

Times are those of a caller who waits for each picture; each kind is measured on a decoder that has decoded nothing yet.
Memory is the peak of the resident size above that of a process that has the packages loaded (Linux).
"""

import itertools
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from nerv360.backends.registry import MODULES
from nerv360.backends.tiling import check_size
from nerv360.bitstream.container import Container
from nerv360.codec.decoder import open_file
from nerv360.codec.network_decoder import NetworkDecoder
from nerv360.errors import OutOfMemory
from nerv360.evaluation.anchors import ANCHORS, encode_anchor
from nerv360.experiments.bench_targets import DECODE_THEN_CROP, PLAIN, QUANTISED
from nerv360.experiments.peak_memory import forget_peak, peak_memory
from nerv360.extract import extract_viewport
from nerv360.geometry.viewport import JVET_TRAJECTORIES, Viewport, linear_trajectory
from nerv360.storage import Location
from nerv360.types import Picture
from nerv360.video.clip import Clip

__all__ = [
    "MachinePeak",
    "Playback",
    "Workload",
    "drawing_gmac",
    "machine_peak",
    "measure_playback",
    "measure_workload",
]

CRF = 28
WARM_UP = 2
PAN = JVET_TRAJECTORIES["Balboa"][0]
MATRIX, COPY = 2048, 1 << 26  # rows of a matrix product, bytes of a copy: larger than any cache share
Show = Callable[[int, Viewport], Picture]


@dataclass(frozen=True)
class Times:
    """Milliseconds per picture."""

    median_ms: float
    p95_ms: float
    mean_ms: float


@dataclass(frozen=True)
class Playback:
    """One way to views of a file."""

    backend: str  # or runtime, or reference
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


@dataclass(frozen=True)
class Workload:
    """What a network computes for a view, beside what the machine could."""

    gmac: float
    peak: MachinePeak


def measure_workload(path: Location, view: Viewport) -> Workload:
    """Of a file whose first segment is a network."""
    return Workload(drawing_gmac(path, view), machine_peak())


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
    _load(path, backend)
    with tempfile.TemporaryDirectory() as folder:
        if source is not None:
            path = Path(folder) / "coded.mp4"
            encode_anchor(ANCHORS["x265"], CRF, source, [0], path)
        torch.nn.Conv2d(3, 3, 3)(torch.rand(1, 3, 8, 8))
        forget_peak(torch.device("cpu"))
        before = peak_memory(torch.device("cpu"))
        started = time.perf_counter()
        with closing(_opened(path, backend, threads)) as decoder:
            opened = time.perf_counter()
            decoder.viewport(0, view)
            first = time.perf_counter()
        walked = []
        for walk in (_paused_pan, _playing, _playing_pan, _seeking):
            with closing(_opened(path, backend, threads)) as decoder:
                walked.append(_times(walk(decoder, view, WARM_UP + repeats)))
        after = peak_memory(torch.device("cpu"))
    peak = None if before is None or after is None else after - before
    opening_ms, first_ms = 1e3 * (opened - started), 1e3 * (first - opened)
    paused_pan, playing, playing_pan, seeking = walked
    return Playback(backend, opening_ms, first_ms, paused_pan, playing, playing_pan, seeking, peak)


def _paused_pan(decoder: Any, view: Viewport, count: int) -> Iterator[Picture]:
    return (decoder.viewport(0, look) for look in linear_trajectory(view, count, *PAN))


def _playing(decoder: Any, view: Viewport, count: int) -> Iterator[Picture]:
    return (decoder.viewport(index % decoder.frames, view) for index in range(count))


def _playing_pan(decoder: Any, view: Viewport, count: int) -> Iterator[Picture]:
    looks = enumerate(linear_trajectory(view, count, *PAN))
    yield from decoder.play([(index % decoder.frames, look) for index, look in looks])


def _seeking(decoder: Any, view: Viewport, count: int) -> Iterator[Picture]:
    random = np.random.default_rng(0)
    for _ in range(count):
        look = replace(view, yaw_deg=float(random.uniform(-180, 180)), pitch_deg=float(random.uniform(-60, 60)))
        yield decoder.viewport(int(random.integers(decoder.frames)), look)


def _times(pictures: Iterator[Picture]) -> Times:
    """Of all but the first, which warm up."""
    clock = [time.perf_counter(), *(time.perf_counter() for _ in pictures)]
    seconds = sorted(end - start for start, end in itertools.pairwise(clock[WARM_UP:]))
    p95 = seconds[int(0.95 * (len(seconds) - 1) + 0.5)]
    return Times(1e3 * statistics.median(seconds), 1e3 * p95, 1e3 * statistics.mean(seconds))


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _load(path: Location, backend: str) -> None:
    """The packages of the decoder and of the backend, which are not part of a decoder's memory."""
    with Container(path) as container:
        container.segments[0].spec.load_decoder()
    for name in MODULES.get(backend, ("openvino", "onnx", "onnxruntime") if backend == QUANTISED else ()):
        import_module(name)


def _opened(path: Location, backend: str, threads: int) -> Any:
    if backend == PLAIN:
        return _Plain(path)
    if backend == DECODE_THEN_CROP:
        return _DecodeThenCrop(path, threads)
    if backend == QUANTISED:
        return open_file(path, backend="openvino", precision="int8")
    return open_file(path, backend=backend if backend in MODULES else None)


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
