"""Which device works."""

import torch

from nerv360.errors import ArgumentError

__all__ = ["choose_device"]


def choose_device(name: str | None) -> torch.device:
    """cpu or cuda; for None, CUDA where there is one. Raises ArgumentError."""
    if name not in (None, "cpu", "cuda"):
        raise ArgumentError(f"device={name}: must be cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise ArgumentError("device=cuda: this PyTorch finds no CUDA device; leave it out, or give cpu")
    return torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
