"""Contexts for integers that are final: those of embeddings, fitted without any, and the last touch for grids."""

import math
from collections.abc import Sequence
from copy import deepcopy

import torch

from nerv360.bitstream.contexts import Contexts
from nerv360.bitstream.entropy import Integers
from nerv360.bitstream.places import other_keys, references
from nerv360.layers.contexts import ContextModel, Known, known_of
from nerv360.layers.quantisation import coded_bits

__all__ = ["fit_contexts"]

STEPS, BATCH, CELLS = 200, 2048, 1 << 20  # cells that are looked at, in all
LEARNING_RATE = 0.1


def fit_contexts(pieces: Sequence[tuple[Integers, int]], model: ContextModel) -> Contexts:
    """The contexts that foretell these integers best, from those of `model` on, which is left as it is.

    A piece is a chunk [keys, channels, rows, columns] and the number of its first channel.
    """
    random = torch.Generator().manual_seed(0)
    per_key = max(64, CELLS // sum(len(integers) for integers, _ in pieces))
    values, known = [], []
    for integers, first_channel in pieces:
        keys = torch.from_numpy(integers).float()
        for key, before, behind in references(len(keys)):
            cells = keys[key].flatten(1)
            chosen = torch.randperm(cells.shape[1], generator=random)[:per_key].sort().values
            values.append(cells[:, chosen].flatten())
            known.append(known_of(keys[key], keys[other_keys(before, behind)], chosen, first_channel))
    value, everything = torch.cat(values), Known.join(known)
    model = deepcopy(model).cpu()
    optimiser = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 0.5 * (1 + math.cos(math.pi * step / STEPS)))
    with torch.enable_grad():
        for _ in range(STEPS):
            batch = torch.randint(len(value), (BATCH,), generator=random)
            loss = coded_bits(value[batch], *model(everything.at(batch))).mean()
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
    return model.integers()
