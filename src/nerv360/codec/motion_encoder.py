"""A video -> keys that predict one another -> a .nerv360 file.

Groups of frames are found; the encoder is tuned on a part of the clip; then come passes over the clip, each with
another step, until the target is met (or one, where there is none); the file is read back.
"""

import math
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice, product

import numpy as np
import torch
from numpy.typing import NDArray

from nerv360.bitstream.header import MotionHeader
from nerv360.codec.decoder import open_file
from nerv360.codec.encoder import Encoded, checkpoint_path, max_picture_bytes, read_sound_of, write_clip
from nerv360.codec.motion_journal import Journal
from nerv360.codec.target_search import Outcome, Target, find_step
from nerv360.codec.tuning import WIDEST_INTERVAL, tune
from nerv360.config import EncodingConfig
from nerv360.errors import ArgumentError, BitstreamError
from nerv360.extract import extract_viewports
from nerv360.geometry.viewport import Viewport, dynamic_viewports
from nerv360.motion.core import Core, core_version
from nerv360.motion.encoder import CodedKey, GroupEncoder, Tuning, VectorCache, encoding_order, steps_of
from nerv360.motion.groups import split_into_groups
from nerv360.motion.keys import assign_slots
from nerv360.motion.sectors import sector_side, write_chunks
from nerv360.progress import OnProgress, tracked
from nerv360.quality import decibels, psnr
from nerv360.storage import Location, atomic_write
from nerv360.types import Picture
from nerv360.video.clip import Clip

__all__ = ["encode_by_motion"]

STEP = 18.0  # grey levels, of a rate weight of 1; bits weigh as the square of the step
BYTES_PER_PIXEL = 45  # of the core while it encodes
BYTES_OF_KEY = 8.5  # of a pixel, for each key in a slot: 53 to 88 in all were measured
LARGEST = {1: "scale it with --size 8192x4096", 2: "scale it with --size 6144x3072, or encode one eye: --eye left"}
SAMPLE_FRAMES = 33  # of the part of a clip on which it is tuned, at most


def encode_by_motion(
    clip: Clip,
    output: Location,
    config: EncodingConfig,
    device: torch.device,
    on_progress: OnProgress,
    precision: str | None,
) -> Encoded:
    """Encode a clip in a closed loop, with the quantiser's step of the rate weight, or of the target.

    Interrupted at any moment, the same call goes on from the checkpoint beside the output, and ends with the same
    bytes. Stages are `analysing`, `trying`, `encoding` and `checking`. Raises OutputError, ArgumentError, OutOfMemory.
    """
    goal, sound = config.rate_target, read_sound_of(clip)
    _check_memory(clip, 1, config.effort)
    groups = split_into_groups(tracked(clip, "analysing", clip.frames, on_progress))
    _check_memory(clip, max(groups), config.effort)
    journal = Journal(checkpoint_path(output), f"{clip.fingerprint()} {config} {groups} {core_version()}")
    passes = _Passes(clip, config, groups, journal, on_progress)
    sample = passes.sample()
    target = Target(max_picture_bytes(clip, config, sound), goal.quality_db)
    step = STEP * math.sqrt(goal.rate_weight)
    if goal.is_target:  # about the step, so that what is tuned suits it
        share = target.share(sample.clip.frames / clip.frames)
        step = find_step(share, step, lambda each: sample.outcome("trying", Tuning(), each))
    tuning, factor = tune(
        config.effort, lambda each, factor: sample.outcome("trying", each, step * factor), len(clip.eyes)
    )
    step *= factor
    if goal.is_target:
        step = find_step(target, step, lambda each: passes.outcome("encoding", tuning, each))
    outcome, keys = passes.encode("encoding", tuning, step)
    size = passes.write(output, tuning, step, keys, sound)
    journal.remove()
    seconds = journal.seconds
    return Encoded(
        path=output,
        size=size,
        frames=clip.frames,
        bitrate=8 * size * float(clip.frame_rate) / clip.frames,
        seconds=seconds,
        summary=f"P keys every {tuning.interval} frames; views of {outcome.psnr_db:.2f} dB; encoded in {seconds:.0f} s",
        limit=target.max_bytes,
        missed=target.describe_miss(outcome) if goal.is_target else "",
    )


def _check_memory(clip: Clip, frames: int, effort: int) -> None:
    """Raises ArgumentError where the core has not the memory for a group of so many frames, as it may be tuned."""
    tuning, eyes = Tuning(interval=WIDEST_INTERVAL) if effort else Tuning(), len(clip.eyes)
    slots = 1 + max(assign_slots(encoding_order(frames, tuning, eyes)))
    if (BYTES_PER_PIXEL + BYTES_OF_KEY * slots) * clip.width * clip.height > Core.MOST_BYTES:
        size = f"{clip.width}x{clip.height}{' of each eye' if eyes == 2 else ''}"
        raise ArgumentError(f"{clip.path}: {size} takes more than 4 GiB to encode; {LARGEST[eyes]}")


@dataclass
class _Passes:
    """Passes over a clip, each of which is done once."""

    clip: Clip
    config: EncodingConfig
    groups: Sequence[int]
    journal: Journal
    on_progress: OnProgress

    def __post_init__(self) -> None:
        self._eyes = len(self.clip.eyes)
        self._vectors: list[VectorCache] = [{} for _ in self.groups]
        self._done: dict[str, tuple[Outcome, list[CodedKey]]] = {}
        view_width, view_height = self.config.training_view(self.clip.width)
        (hfov, _) = self.config.view_sampling.hfov_deg
        look = Viewport(hfov_deg=hfov, width=view_width, height=view_height)
        self._views = list(dynamic_viewports(look, self.clip.frames).values())
        self._sector = sector_side(self.clip.width) if self.config.sectors else 0

    def sample(self) -> "_Passes":
        """Passes over a part of the clip, in the middle of its middle group."""
        middle = len(self.groups) // 2
        frames = min(SAMPLE_FRAMES, self.groups[middle])
        if frames == self.clip.frames:
            return self
        first = sum(self.groups[:middle]) + (self.groups[middle] - frames) // 2
        return _Passes(self.clip.cut(first, frames), self.config, (frames,), self.journal, self.on_progress)

    def outcome(self, stage: str, tuning: Tuning, step: float) -> Outcome:
        """What the clip comes to, with the root's step in grey levels."""
        return self.journal.outcome(self._name(tuning, step)) or self.encode(stage, tuning, step)[0]

    def encode(self, stage: str, tuning: Tuning, step: float) -> tuple[Outcome, list[CodedKey]]:
        """The same, and the keys in the order of the file."""
        name = self._name(tuning, step)
        if name not in self._done:
            coded = tracked(self._coded(tuning, step), stage, self.clip.frames, self.on_progress)
            try:
                keys, views_db = map(list, zip(*chain.from_iterable(coded), strict=True))
            except BitstreamError:
                if self.journal.reject():
                    return self.encode(stage, tuning, step)
                raise
            error = sum(key.squared_error for key in keys) / len(keys)
            keys = self._in_file_order(keys)
            size = len(self._file(tuning, step, keys))
            outcome = Outcome(size, float(np.mean(views_db)), decibels(error))
            self.journal.finish(outcome)
            self._done[name] = outcome, keys
        return self._done[name]

    def write(
        self, output: Location, tuning: Tuning, step: float, keys: Sequence[CodedKey], sound: Sequence[bytes]
    ) -> int:
        """Write the file, read it again and compare every picture; returns its bytes. Raises BitstreamError."""
        order = enumerate(self._header(tuning, step).coded_keys())
        checksums = {key.frame: keys[index].checksum for index, key in order}
        with atomic_write(output) as partial:
            size = partial.write_bytes(self._file(tuning, step, keys, sound))
            with open_file(partial) as decoder:
                frames = tracked(range(self.clip.frames), "checking", self.clip.frames, self.on_progress)
                for number, (frame, eye) in enumerate(product(frames, decoder.eyes)):
                    if zlib.crc32(decoder.panorama(frame, eye=eye).data) != checksums[number]:
                        raise BitstreamError(f"{output}: what was written does not read back")
        return size

    def _name(self, tuning: Tuning, step: float) -> str:
        return f"{self.clip.start} {self.clip.frames} {tuning} {step!r}"

    def _coded(self, tuning: Tuning, step: float) -> Iterator[list[tuple[CodedKey, float]]]:
        """The keys of every frame in the order of encoding, and the PSNR of their views."""
        known = iter(self.journal.begin(self._name(tuning, step)))
        steps, first = steps_of(step, tuning, max(self.groups)), 0
        for count, vectors, pictures in zip(self.groups, self._vectors, self._pictures_of_groups(), strict=True):
            encoder = GroupEncoder(pictures, vectors, self._eyes, self._sector)
            of_frame = []
            for key, coded, decoded in encoder.encode(tuning, steps, list(islice(known, len(pictures)))):
                self.journal.add(coded)
                views_db = self._psnr_of_views(first + key.frame // self._eyes, decoded, pictures[key.frame])
                of_frame.append((coded, views_db))
                if len(of_frame) == self._eyes:
                    yield of_frame
                    of_frame = []
            first += count

    def _pictures_of_groups(self) -> Iterator[NDArray[np.uint8]]:
        """Pictures [n, H, W, 3] of each group, of two eyes in turn, in a file until the next is asked for."""
        source, shape = iter(self.clip), (self.clip.height, self.clip.width, 3)
        for count in self.groups:
            with tempfile.TemporaryFile() as file:
                pictures = np.memmap(file, np.uint8, "w+", shape=(count, self._eyes, *shape))
                for index, frame in enumerate(islice(source, count)):
                    pictures[index] = frame.reshape(self._eyes, *shape)
                yield pictures.reshape(-1, *shape)

    def _in_file_order(self, keys: Sequence[CodedKey]) -> list[CodedKey]:
        """Keys, those of two eyes in turn, so that in each group all left ones come first."""
        found: list[CodedKey] = []
        for count in self.groups:
            group = keys[len(found) : len(found) + count * self._eyes]
            for eye in range(self._eyes):
                found += group[eye :: self._eyes]
        return found

    def _psnr_of_views(self, frame: int, decoded: Picture, picture: Picture) -> float:
        return float(np.mean([psnr(*extract_viewports([decoded, picture], views[frame])) for views in self._views]))

    def _file(self, tuning: Tuning, step: float, keys: Sequence[CodedKey], sound: Sequence[bytes] = ()) -> bytes:
        """The file of the clip."""
        header, coded = self._header(tuning, step), [(key.data, key.sectors) for key in keys]
        chunks = write_chunks(self.clip.width, self.clip.height, self._sector, header.coded_keys(), coded)
        return write_clip(self.clip, header, chunks, sound)

    def _header(self, tuning: Tuning, step: float) -> MotionHeader:
        """That of its segment."""
        view_width, view_height = self.config.training_view(self.clip.width)
        return MotionHeader(
            model=self.config.architecture.model,
            view_width=view_width,
            view_height=view_height,
            hfov_deg=self.config.view_sampling.hfov_deg,
            interval=tuning.interval,
            groups=tuple(self.groups),
            steps=steps_of(step, tuning, max(self.groups)),
            chunks=[],
            inter_view_levels=tuning.inter_view_levels if self._eyes == 2 else None,
            sector=self._sector or None,
        )
