"""A clip as keys that foretell one another: `encode` makes bytes in one closed loop, `decode` reads them alone.

    root ── P ── P         a root in the middle, P keys outward, B keys between two known ones, every frame a key
        B  B  B  B
    key = compensate(references) + inverse(integers * steps)

Every key is a chunk: its motion, then its bands. Contexts go on from the newest reference of the same kind, or from
`priors.npz`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
from coefficients import CONTEXTS, MIXERS, code_bands, code_motion
from entropy import Contexts, Stream
from motion import NODE, Flow, coding_order, compensate, inherited, search
from numpy.typing import NDArray
from transform import FRACTION_BITS, area_weight, band_gain, band_slices, forward, inverse

from nerv360.entropy.range_coder import read_varint, write_varint

MAGIC = b"N360T1"
LEVELS = 4  # of the wavelet of brightness; one less of the differences of colours, at half the resolution
CHROMA_STEP = 0.6
SHRINK = 12  # of 256: by so much of a step a magnitude of 1 is less, where it is decoded
PRIORS = Path(__file__).parent / "priors.npz"
PRIOR_SEEN = 24  # observations that a context is taken to have had before
ONE = 1 << FRACTION_BITS
COLOURS = np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]]) / np.sqrt([[3], [2], [6]])

Plane = NDArray[np.int16]
Planes = tuple[Plane, Plane, Plane]


@dataclass(frozen=True)
class Key:
    """A frame, what foretells it, and how deep it lies: 0 is a root, 1 a P key."""

    frame: int
    references: tuple[int, ...]
    level: int


@dataclass
class Known:
    """What is kept of a decoded key."""

    planes: Planes
    integers: Planes
    motion: dict[int, NDArray[np.int32]]
    magnitudes: NDArray[np.int32]
    kind: int
    level: int
    contexts: Contexts


@dataclass(frozen=True)
class Settings:
    """Of the encoder; the file tells the decoder all that it needs."""

    step: float = 30.0  # of the root's quantiser, in levels of 255
    growth_p: float = 1.1  # of the step from the root to P keys
    growth_b: float = 1.5  # from level to level of B keys
    interval: int = 8  # frames between P keys
    rate_weight: float = 0.1  # of a bit, in squared steps
    motion_weight: float = 0.35  # of a bit of motion, in squared steps of the key
    cap: float = 4.0  # squared steps from which errors of motion count less
    rounds: int = 1  # that two references are sought for together


def key_order(frames: int, interval: int) -> list[Key]:
    """Keys in the order in which they are coded."""
    keys = [Key(frames // 2, (), 0)]

    def between(first: int, last: int, level: int) -> None:
        if last - first > 1:
            middle = (first + last) // 2
            keys.append(Key(middle, (first, last), level))
            between(first, middle, level + 1)
            between(middle, last, level + 1)

    low = high = frames // 2
    while low > 0 or high < frames - 1:
        if low > 0:
            before = max(0, low - interval)
            keys.append(Key(before, (low,), 1))
            between(before, low, 2)
            low = before
        if high < frames - 1:
            behind = min(frames - 1, high + interval)
            keys.append(Key(behind, (high,), 1))
            between(high, behind, 2)
            high = behind
    return keys


@dataclass(frozen=True)
class Layout:
    """Sizes that follow from a panorama's: planes reach to whole blocks of the wavelet."""

    width: int
    height: int
    rows: int = field(init=False)
    columns: int = field(init=False)

    def __post_init__(self) -> None:
        for name, size in (("rows", self.height), ("columns", self.width)):
            object.__setattr__(self, name, -(-size // NODE) * NODE)

    @property
    def nodes(self) -> tuple[int, int]:
        return self.rows // NODE, self.columns // NODE

    def zeros(self) -> Planes:
        half = (self.rows // 2, self.columns // 2)
        return tuple(np.zeros(shape, np.int16) for shape in ((self.rows, self.columns), half, half))

    def steps(self, step: float) -> list[tuple[NDArray[np.float32], NDArray[np.int32]]]:
        """Of every plane: the quantiser's steps in levels, and what an integer is multiplied by, in 1/256 of
        `inverse`'s units.

        Rows near the poles have larger steps: a row weighs as its area.
        """
        found = []
        for number in range(3):
            half = number > 0
            rows, columns = (self.rows // 2, self.columns // 2) if half else (self.rows, self.columns)
            steps = np.empty((rows, columns), np.float32)
            factors = np.empty((rows, columns), np.int32)
            for level, high, r, c in band_slices(rows, columns, LEVELS - half):
                of_row = (CHROMA_STEP if half else 1.0) * step / np.sqrt(area_weight(r.stop - r.start))[:, None]
                steps[r, c] = of_row
                factors[r, c] = np.rint(of_row / band_gain(level, high) * ONE * 16)
            found.append((steps, factors))
        return found


class _Coder:
    """What encoding and decoding of a key share."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.order = coding_order(*layout.nodes)
        self.known: dict[int, Known] = {}

    def contexts_for(self, key: Key) -> Contexts:
        kind = len(key.references)
        same = [self.known[r] for r in key.references if self.known[r].kind == kind]
        return max(same, key=lambda each: each.level).contexts.copy() if same else priors()[kind].copy()

    def compensated(self, reference: int, vectors: NDArray[np.int32]) -> Planes:
        predicted = self.layout.zeros()
        for number, (plane, source) in enumerate(zip(predicted, self.known[reference].planes, strict=True)):
            half = number > 0
            height, width = (
                (self.layout.height // 2, self.layout.width // 2) if half else (self.layout.height, self.layout.width)
            )
            compensate(source[:height], vectors, NODE // (1 + half), 8 if half else 16, width, plane)
        return predicted

    def predicted(self, compensated: list[Planes]) -> Planes:
        if not compensated:
            return self.layout.zeros()
        if len(compensated) == 1:
            return compensated[0]
        return tuple(((a.astype(np.int32) + b + 1) >> 1).astype(np.int16) for a, b in zip(*compensated, strict=True))

    def mirrored(self, key: Key, added: NDArray[np.int32]) -> NDArray[np.int32]:
        """What the first reference's added vectors say of the second's."""
        first, second = (reference - key.frame for reference in key.references)
        return (added * round(256 * second / first) + 128) >> 8

    def foretold(self, key: Key) -> list[NDArray[np.int32]]:
        return inherited(key.frame, key.references, {t: k.motion for t, k in self.known.items()}, self.layout.nodes)

    def code_motion(
        self, key: Key, added: list[NDArray[np.int32]], contexts: Contexts, stream: Stream
    ) -> NDArray[np.int32]:
        """Write or fill what is added to foretold vectors; returns magnitudes."""
        nothing = np.zeros(self.layout.nodes, np.int32)
        of_references = sum((self.known[r].magnitudes for r in key.references), nothing)
        magnitudes: list[NDArray[np.int32]] = []
        for k, each in enumerate(added):
            magnitudes.append(np.zeros(self.layout.nodes, np.int32))
            other = magnitudes[0] if k else nothing
            use = k + len(added) - 1
            code_motion(
                each, self.order, use, other, of_references, magnitudes[k], *_arrays(contexts), *_arrays_of(stream)
            )
        return sum(magnitudes, nothing)

    def code_bands(
        self, key: Key, integers: Planes, coefficients: Planes, weight: float, contexts: Contexts, stream: Stream
    ) -> None:
        of_references = [k.integers if k.kind else self.layout.zeros() for k in (self.known[r] for r in key.references)]
        before, behind = (*of_references, self.layout.zeros(), self.layout.zeros())[:2]
        root = not key.references
        code_bands(
            integers, coefficients, LEVELS, root, before, behind, weight, *_arrays(contexts), *_arrays_of(stream)
        )

    def reconstructed(self, predicted: Planes, integers: Planes, step: float) -> Planes:
        planes = []
        for number, (_, factors) in enumerate(self.layout.steps(step)):
            q = integers[number].astype(np.int32)
            bands = q * factors - (np.sign(q) * (np.abs(q) == 1) * factors * SHRINK >> 8)
            plane = inverse((bands + 8) >> 4, LEVELS - (number > 0)) + predicted[number]
            planes.append(np.clip(plane, -32768, 32767).astype(np.int16))
        return tuple(planes)


class Encoder(_Coder):
    """Closed loop: what is predicted from is what a decoder has."""

    def __init__(self, frames: NDArray[np.uint8], settings: Settings) -> None:
        super().__init__(Layout(frames.shape[2], frames.shape[1]))
        self.frames, self.settings = frames, settings
        self.flow = Flow(frames, self.layout.nodes)
        self.areas = area_weight(self.layout.rows)[NODE // 2 :: NODE]
        self.bytes_of_motion = 0.0

    def encode(self) -> bytes:
        keys = key_order(len(self.frames), self.settings.interval)
        s = self.settings
        steps = [s.step, *(s.step * s.growth_p * s.growth_b**k for k in range(max(key.level for key in keys)))]
        units = [max(1, round(16 * step)) for step in steps]
        chunks = [self.encode_key(key, units[key.level] / 16) for key in keys]
        layout = self.layout
        head = (layout.width, layout.height, len(self.frames), s.interval, len(units), *units, *map(len, chunks))
        return MAGIC + b"".join(map(write_varint, head)) + b"".join(chunks)

    def encode_key(self, key: Key, step: float, contexts: Contexts | None = None) -> bytes:
        contexts = contexts or self.contexts_for(key)
        stream = Stream.encode(1 << 22)
        source = to_planes(self.frames[key.frame], self.layout)
        added, motion, predicted = self._motion(key, step, source[0])
        magnitudes = self.code_motion(key, added, contexts, stream)
        self.bytes_of_motion += stream.bits[0] / 8
        integers = self.layout.zeros()
        coefficients = tuple(
            forward((plane.astype(np.float32) - guess) / ONE, LEVELS - (number > 0)) / steps
            for number, (plane, guess, (steps, _)) in enumerate(
                zip(source, predicted, self.layout.steps(step), strict=True)
            )
        )
        self.code_bands(key, integers, coefficients, self.settings.rate_weight, contexts, stream)
        planes = self.reconstructed(predicted, integers, step)
        self.known[key.frame] = Known(planes, integers, motion, magnitudes, len(key.references), key.level, contexts)
        return stream.finish()

    def _motion(
        self, key: Key, step: float, luma: Plane
    ) -> tuple[list[NDArray[np.int32]], dict[int, NDArray[np.int32]], Planes]:
        """What is added to foretold vectors, the vectors to each reference, and what they predict."""
        count, foretold = len(key.references), self.foretold(key)
        flows = [self.flow.candidates(key.frame, reference) for reference in key.references]
        added: list[NDArray[np.int32]] = [np.zeros((*self.layout.nodes, 2), np.int32)] * count
        vectors, compensated = list(foretold), [self.layout.zeros()] * count

        def seek(k: int, target: Plane, candidates: NDArray[np.int32], share: float) -> None:
            base = foretold[k] + (self.mirrored(key, added[0]) if k else 0)
            cap, weight = self.settings.cap * step**2, self.settings.motion_weight * step**2
            size = (self.layout.height, self.layout.width)
            reference = self.known[key.references[k]].planes[0]
            added[k] = search(target, reference, base, candidates, *size, cap, weight, self.order, self.areas, share)
            vectors[k] = base + added[k]
            compensated[k] = self.compensated(key.references[k], vectors[k])

        for k in range(count):
            seek(k, luma, flows[k], 1.0 if count == 1 else 0.5)
        for _ in range(self.settings.rounds if count == 2 else 0):
            for k in range(2):
                rest = (2 * luma.astype(np.int32) - compensated[1 - k][0]).astype(np.int16)
                seek(k, rest, np.concatenate((vectors[k][None], flows[k][:1])), 0.25)
        return added, dict(zip(key.references, vectors, strict=True)), self.predicted(compensated)


class Decoder(_Coder):
    """From the bytes alone."""

    def __init__(self, data: bytes) -> None:
        assert data.startswith(MAGIC)
        position = len(MAGIC)

        def number() -> int:
            nonlocal position
            value, position = read_varint(data, position)
            return value

        super().__init__(Layout(number(), number()))
        self.count, interval = number(), number()
        units = [number() for _ in range(number())]
        keys = key_order(self.count, interval)
        lengths = [number() for _ in keys]
        for key, length in zip(keys, lengths, strict=True):
            self._decode_key(key, units[key.level] / 16, data[position : position + length])
            position += length

    def frame(self, index: int) -> NDArray[np.uint8]:
        """RGB [H, W, 3]."""
        return to_rgb(self.known[index].planes, self.layout)

    def _decode_key(self, key: Key, step: float, data: bytes) -> None:
        contexts, stream = self.contexts_for(key), Stream.decode(data)
        added = [np.zeros((*self.layout.nodes, 2), np.int32) for _ in key.references]
        magnitudes = self.code_motion(key, added, contexts, stream)
        vectors = [base + each for base, each in zip(self.foretold(key), added, strict=True)]
        if len(vectors) == 2:
            vectors[1] += self.mirrored(key, added[0])
        predicted = self.predicted([self.compensated(r, v) for r, v in zip(key.references, vectors, strict=True)])
        integers = self.layout.zeros()
        unused = tuple(np.zeros((1, 1), np.float32) for _ in integers)
        self.code_bands(key, integers, unused, 0.0, contexts, stream)
        planes = self.reconstructed(predicted, integers, step)
        motion = dict(zip(key.references, vectors, strict=True))
        self.known[key.frame] = Known(planes, integers, motion, magnitudes, len(key.references), key.level, contexts)


def _arrays(contexts: Contexts) -> tuple[NDArray[np.int32], ...]:
    return contexts.probabilities, contexts.seen, contexts.weights


def _arrays_of(stream: Stream) -> tuple[NDArray[np.int64], NDArray[np.uint8], NDArray[np.float64]]:
    return stream.state, stream.data, stream.bits


@cache
def priors() -> tuple[Contexts, Contexts, Contexts]:
    """Contexts of roots, P and B keys before they have seen anything of a clip: as train.py left them, or fresh."""
    if not PRIORS.exists():
        return tuple(Contexts.fresh(CONTEXTS, MIXERS) for _ in range(3))
    with np.load(PRIORS) as kept:
        return tuple(
            Contexts(
                kept[f"probabilities{k}"].astype(np.int32),
                np.minimum(kept[f"seen{k}"], PRIOR_SEEN).astype(np.int32),
                kept[f"weights{k}"].astype(np.int32),
            )
            for k in range(3)
        )


def to_planes(picture: NDArray[np.uint8], layout: Layout) -> Planes:
    """RGB [H, W, 3] -> orthonormal brightness, and two differences of colours at half the resolution."""
    planes = (picture.astype(np.float32) - 128) @ COLOURS.T.astype(np.float32)
    planes = np.pad(planes, ((0, layout.rows - layout.height), (0, layout.columns - layout.width), (0, 0)), mode="edge")
    chroma = planes[..., 1:].reshape(layout.rows // 2, 2, layout.columns // 2, 2, 2).mean((1, 3))
    return tuple(np.rint(ONE * each).astype(np.int16) for each in (planes[..., 0], chroma[..., 0], chroma[..., 1]))


def to_rgb(planes: Planes, layout: Layout) -> NDArray[np.uint8]:
    """Inverse of `to_planes`; colours are enlarged bilinearly."""
    full = [planes[0].astype(np.float32), *(_enlarged(plane.astype(np.float32)) for plane in planes[1:])]
    picture = np.stack(full, -1)[: layout.height, : layout.width] @ COLOURS.astype(np.float32) / ONE + 128
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def _enlarged(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    padded = np.pad(np.pad(plane, ((0, 0), (1, 1)), mode="wrap"), ((1, 1), (0, 0)), mode="edge")
    middle = padded[1:-1]
    rows = np.stack((0.75 * middle + 0.25 * padded[:-2], 0.75 * middle + 0.25 * padded[2:]), 1).reshape(
        -1, padded.shape[1]
    )
    middle = rows[:, 1:-1]
    both = np.stack((0.75 * middle + 0.25 * rows[:, :-2], 0.75 * middle + 0.25 * rows[:, 2:]), 2)
    return both.reshape(len(rows), -1)


def encode(frames: NDArray[np.uint8], settings: Settings) -> bytes:
    """RGB frames [n, H, W, 3] -> a file's bytes."""
    return Encoder(frames, settings).encode()


def decode(data: bytes) -> Callable[[int], NDArray[np.uint8]]:
    """A file's bytes -> what gives its frames by their number."""
    return Decoder(data).frame
