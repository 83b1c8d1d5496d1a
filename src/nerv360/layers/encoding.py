"""Positional encoding and the small network behind it (Boosting-NeRV, Sec. 3.1; NeRV360, Sec. II-C)."""

import math

import torch
from torch import Tensor, nn

__all__ = ["Stem", "positional_encoding"]


def positional_encoding(values: list[list[float]], base: float, frequencies: int) -> Tensor:
    """(sin(b^i pi v), cos(b^i pi v)) for i in 0..l-1 of each value in [0, 1] [N, k] -> [N, k * 2 * l].

    The highest frequency of the paper's b = 1.25, l = 80 is 1.4e8: only float64 gives every machine the same sine.
    """
    value = torch.tensor(values, dtype=torch.float64)[..., None]
    angle = value * (base ** torch.arange(frequencies, dtype=torch.float64) * math.pi)
    return torch.cat((angle.sin(), angle.cos()), dim=-1).flatten(1).float()


class Stem(nn.Module):
    """Encoded inputs [B, inputs] -> condition [B, outputs]: two linear layers, each with a sine."""

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(inputs, hidden)
        self.output = nn.Linear(hidden, outputs)

    def forward(self, encoded: Tensor) -> Tensor:
        return self.output(self.hidden(encoded).sin()).sin()
