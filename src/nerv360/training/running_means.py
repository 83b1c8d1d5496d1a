"""How a fit goes, kept on its device: the host reads it when it has to know, not after every step."""

import torch
from torch import Tensor

from nerv360.training.checkpoint import Progress
from nerv360.transfer import to_device

__all__ = ["RunningMeans"]

SMOOTHING = 0.98
LEAST_ERROR = 1e-10  # squared, of which PSNR is told


class RunningMeans:
    """Exponential means of the distortion and of the PSNR in dB, and the steps that were skipped in a row."""

    def __init__(self, progress: Progress, device: torch.device) -> None:
        known = [progress.loss, progress.psnr_db, float(progress.skipped)]
        self._values = to_device(torch.tensor(known, dtype=torch.float64), device)

    def update(self, error: Tensor, mean_square: Tensor, skipped: Tensor, step: int) -> None:
        """Take in a step, by number; one that was skipped is only counted. The first means are plain ones."""
        psnr_db = -10 * mean_square.clamp_min(LEAST_ERROR).log10()
        new = torch.stack((error, psnr_db)).detach().double()
        means, in_a_row = self._values[:2], self._values[2:]
        moved = torch.lerp(means, new, max(1 - SMOOTHING, 1 / (step + 1)))
        moved = torch.where(means[0].isfinite(), moved, new)
        known = torch.where(skipped, means, moved)
        self._values = torch.cat((known, torch.where(skipped, in_a_row + 1, 0)))

    def read(self, progress: Progress) -> None:
        """Bring loss, PSNR and skipped steps of the progress up to date: the host waits for the device."""
        progress.loss, progress.psnr_db, skipped = self._values.tolist()
        progress.skipped = int(skipped)
