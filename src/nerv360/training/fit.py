"""Fit a network to a clip: one readable loop. Deterministic, resumable, watches over its loss."""

import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from nerv360.config import EncodingConfig
from nerv360.errors import TrainingError
from nerv360.models.build import channels_last
from nerv360.storage import Location, set_aside
from nerv360.training import checkpoint
from nerv360.training.ahead import made_ahead
from nerv360.training.checkpoint import Checkpoint, Progress
from nerv360.training.optimisers import create_optimiser, learning_rate
from nerv360.training.running_means import RunningMeans
from nerv360.training.sampling import TrainingSample, seen_parts, training_sample
from nerv360.training.step import train_step
from nerv360.training.training_module import TrainingModule
from nerv360.video.camera_motion import Angles
from nerv360.video.clip import Clip, Parts
from nerv360.video.shuffle import shuffled

__all__ = ["Fit"]

SAVE_SECONDS, MOST_SECONDS = 20.0, 50.0  # between checkpoints; large ones, slow to write, are rarer
FRAME_MEMORY = 2 << 30
SNAPSHOT_STEPS = 100
REPORT_STEPS = 20  # after as many the host asks how the fit goes, and waits for the answer
DIVERGENCE = 1.5  # times the best running loss; the last one that was kept where the rate is fitted
MAX_RECOVERIES, MAX_SKIPPED = 5, 20


class Fit:
    """A fit of a network, on the network's device, to random views of a clip's frames.

    Goes on from the checkpoint where there is one of this very fit, with the same result as one that was never
    interrupted. A checkpoint that cannot be used is set aside, with the reason in a warning, and the fit begins anew.
    """

    def __init__(
        self,
        module: TrainingModule,
        clip: Clip,
        config: EncodingConfig,
        checkpoint_path: Location,
        initialize: Callable[[], Angles | None] = lambda: None,
    ) -> None:
        """`initialize` is called where the fit begins: it may prepare the network, and gives the camera's angles.

        With angles, the network's sphere is the world's, not the camera's. The checkpoint keeps them.
        """
        self.module, self.clip, self.config = module, clip, config
        self.steps = config.optimisation.epochs * clip.frames
        channels_last(module.network)
        self.optimiser = create_optimiser(module, config.optimisation)
        self._path, self._identity = checkpoint_path, f"{clip.fingerprint()} {config}"
        self.resumed = self._resume()
        if not self.resumed:
            self.angles = initialize()
            self.progress = Progress(rate_weight=config.rate_target.rate_weight)
            self.last_good_state = checkpoint.capture(module, self.optimiser)
        self._means = RunningMeans(self.progress, self.device)

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.module.parameters()).device

    def refresh(self) -> None:
        """Bring loss and PSNR of the progress up to date."""
        self._means.read(self.progress)

    def run(
        self,
        on_step: Callable[[Progress, int], None],
        control_rate: Callable[[Progress, int], None] = lambda progress, steps: None,
    ) -> None:
        """Minimise the loss; `on_step` sees the progress, and the number of steps, after every step.

        `control_rate` may change the weight of the rate after every step, and rewind the schedule. Loss and PSNR of
        the progress are brought up to date every REPORT_STEPS, and by `refresh`.
        Raises TrainingError where the loss cannot be kept finite.
        """
        progress = self.progress
        frames = shuffled(self.clip, self.config.seed, progress.step, FRAME_MEMORY, self._seen)
        samples = made_ahead(self._sample, enumerate(frames, start=progress.step), self.device)
        saved, pause = time.monotonic(), SAVE_SECONDS
        self._started = saved - progress.seconds
        if not self.resumed:
            self._save()
        try:
            while progress.scheduled_step < self.steps:
                self._step(next(samples))
                control_rate(progress, self.steps)
                on_step(progress, self.steps + progress.rewound_steps)
                if time.monotonic() - saved > pause:
                    began = time.monotonic()
                    self._save()
                    saved = time.monotonic()
                    pause = min(MOST_SECONDS, max(SAVE_SECONDS, 10 * (saved - began)))
        finally:
            frames.close()
        self._save()

    def _seen(self, step: int, frame: int) -> Parts:
        return seen_parts(self.module.network, self.config, self.clip, frame, step)

    def _sample(self, numbered: tuple[int, tuple[int, NDArray[np.uint8]]]) -> TrainingSample:
        """What a step sees, by its number and frame."""
        step, (index, frame) = numbered
        frames, parts = self.clip.frames, self._seen(step, index)
        sample = training_sample(frame, index, frames, step, self.config, self.angles, self.device, parts)
        self.module.network.prepare_training(sample.frame, sample.world_views)
        return sample

    def _step(self, sample: TrainingSample) -> None:
        progress = self.progress
        step = progress.scheduled_step
        rate = progress.rate_scale * learning_rate(step, self.steps, self.config.optimisation)
        train_step(self.module, self.optimiser, sample, rate, step / self.steps, self.config, progress, self._means)
        if progress.step == 0 or progress.step % REPORT_STEPS == REPORT_STEPS - 1:
            self.refresh()
            self.recover_from_divergence()
        progress.step += 1

    def recover_from_divergence(self) -> None:
        """Keep a good state every so often; return to it, at half the learning rate, where the loss has diverged."""
        progress = self.progress
        if progress.loss > DIVERGENCE * progress.best_loss or progress.skipped > MAX_SKIPPED:
            progress.recoveries += 1
            if progress.recoveries > MAX_RECOVERIES:
                raise TrainingError(
                    f"the loss diverged {progress.recoveries} times (now {progress.loss:.3g}, best "
                    f"{progress.best_loss:.3g}); encode with a lower learning rate"
                )
            checkpoint.restore(self.last_good_state, self.module, self.optimiser)
            progress.rate_scale, progress.loss, progress.skipped = progress.rate_scale / 2, progress.best_loss, 0
            self._means = RunningMeans(progress, self.device)
        elif progress.step % SNAPSHOT_STEPS == SNAPSHOT_STEPS - 1:
            fits_rate = self.module.quantizer is not None  # to save bits, quality may fall slowly
            progress.best_loss = progress.loss if fits_rate else min(progress.best_loss, progress.loss)
            self.last_good_state = checkpoint.capture(self.module, self.optimiser)

    def _resume(self) -> bool:
        found = checkpoint.load(self._path, self._identity)
        if isinstance(found, Checkpoint) and checkpoint.mismatch(found, self.module, self.optimiser):
            found = "another version of nerv360 wrote it"
        if isinstance(found, Checkpoint):
            self.progress, self.last_good_state = found.progress, found.last_good_state
            checkpoint.restore(found.state, self.module, self.optimiser)
            self.angles = found.state["angles"].numpy() if "angles" in found.state else None
            return True
        if found:
            set_aside(self._path, found)
        return False

    def _save(self) -> None:
        self.refresh()
        self.progress.seconds = time.monotonic() - self._started
        state = checkpoint.capture(self.module, self.optimiser)
        if self.angles is not None:
            state["angles"] = torch.from_numpy(self.angles)
        checkpoint.save(self._path, Checkpoint(self.progress, state, self.last_good_state), self._identity)
