"""Contexts for latents that were fitted without them: the embeddings of the paper's model and of its baselines."""

import math
from collections.abc import Sequence

import torch

from nerv360.bitstream.contexts import Contexts
from nerv360.bitstream.entropy import Integers
from nerv360.bitstream.places import references
from nerv360.layers.contexts import ContextModel, Known, known_of
from nerv360.layers.quantisation import laplace_bits

__all__ = ["fit_contexts"]

STEPS, BATCH, CELLS = 300, 2048, 1 << 20  # cells that are looked at, in all
LEARNING_RATE = 0.1


def fit_contexts(pieces: Sequence[Integers]) -> Contexts:
    """The contexts that foretell the integers of these chunks [keys, channels, rows, columns], all of one latent."""
    random = torch.Generator().manual_seed(0)
    per_key = max(64, CELLS // sum(len(piece) for piece in pieces))
    values, known = [], []
    for piece in pieces:
        keys = torch.from_numpy(piece).float()
        for key, *others in references(len(keys)):
            found = [keys[o] for o in (others[0], others[1] if others[1] is not None else others[0]) if o is not None]
            beside = torch.stack(found) if found else keys[:0]
            cells = keys[key].flatten(1)
            chosen = torch.randperm(cells.shape[1], generator=random)[:per_key].sort().values
            values.append(cells[:, chosen].flatten())
            known.append(known_of(keys[key], beside, chosen, 0))
    value, everything = torch.cat(values), Known.join(known)
    model = ContextModel(pieces[0].shape[1])
    optimiser = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 0.5 * (1 + math.cos(math.pi * step / STEPS)))
    for _ in range(STEPS):
        batch = torch.randint(len(value), (BATCH,), generator=random)
        loss = laplace_bits(value[batch], *model(everything.at(batch))).mean()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    return model.integers()
