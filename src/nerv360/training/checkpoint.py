"""The state of a fit, in memory and on disk. A checkpoint is a safetensors file, replaced as a whole."""

from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from nerv360.errors import OutputError
from nerv360.storage import Location, atomic_write, fetch, name_of

__all__ = ["Progress", "capture", "load", "restore", "save"]

Tensors = dict[str, Tensor]


@dataclass
class Progress:
    """Where a fit stands."""

    step: int = 0
    loss: float = float("inf")  # running mean of the distortion
    best_loss: float = float("inf")  # that a collapse is told by: the least running mean, or the last kept
    psnr_db: float = 0.0  # running mean over training viewports
    rate_scale: float = 1.0  # factor on the learning rate, halved at every recovery
    recoveries: int = 0
    rate_weight: float = 0.0  # of a bit per pixel now
    effective_rate_weight: float = 0.0  # that the fit has followed so far, where it is steered
    rewound_steps: int = 0  # steps that the fit went back by
    skipped: int = 0  # steps in a row whose gradient was not finite
    seconds: float = 0.0  # of fitting, over all runs


def capture(model: nn.Module, optimiser: torch.optim.Optimizer) -> Tensors:
    """A copy of every number that the next step depends on."""
    state = optimiser.state_dict()
    tensors = {f"model.{name}": tensor.clone() for name, tensor in model.state_dict().items()}
    for index, entries in state["state"].items():
        tensors |= {f"optimiser.{index}.{name}": tensor.clone() for name, tensor in entries.items()}
    tensors["optimiser_step"] = torch.tensor(state["param_groups"][0].get("step", 0))
    return tensors


def restore(tensors: Tensors, model: nn.Module, optimiser: torch.optim.Optimizer) -> None:
    """Inverse of `capture`."""
    model.load_state_dict({name[6:]: tensor for name, tensor in tensors.items() if name.startswith("model.")})
    state = optimiser.state_dict()
    state["state"] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimiser."):
            _, index, entry = name.split(".")
            state["state"].setdefault(int(index), {})[entry] = tensor.clone()
    state["param_groups"][0]["step"] = int(tensors["optimiser_step"])
    optimiser.load_state_dict(state)


def save(path: Location, progress: Progress, now: Tensors, good: Tensors, identity: str) -> None:
    """Write to a temporary name, then rename: a kill leaves the old checkpoint or the new one.

    Raises OutputError where it cannot be written.
    """
    tensors = {f"now.{name}": tensor for name, tensor in now.items()}
    tensors |= {f"good.{name}": tensor for name, tensor in good.items()}
    metadata = {name: repr(value) for name, value in asdict(progress).items()} | {"identity": identity}
    try:
        with atomic_write(path) as partial:
            save_file({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, partial, metadata)
    except SafetensorError as error:
        raise OutputError(f"{path}: the checkpoint cannot be written: {error}") from None


def load(path: Location, identity: str) -> tuple[Progress, Tensors, Tensors] | None:
    """What `save` wrote, or None where there is none, it is damaged, or it belongs to another encoding."""
    if not isinstance(path, Path):
        with TemporaryDirectory() as folder:
            local = Path(folder) / name_of(path)
            try:
                fetch(path, local)
            except OSError:
                return None
            return load(local, identity)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("identity") != identity:
                return None
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError):
        return None
    fresh = asdict(Progress())
    progress = Progress(**{name: type(value)(metadata[name]) for name, value in fresh.items()})
    now, good = (
        {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
        for prefix in ("now.", "good.")
    )
    return progress, now, good
