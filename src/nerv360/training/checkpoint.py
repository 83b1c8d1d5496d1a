"""The state of a fit, in memory and on disk. A checkpoint is a safetensors file, replaced as a whole."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from nerv360.errors import OutputError
from nerv360.storage import Location, atomic_write, fetch, name_of

__all__ = ["Checkpoint", "Progress", "capture", "load", "restore", "save"]

VERSION = 2  # of the tensors' names and of the fields of Progress

Tensors = dict[str, Tensor]


@dataclass
class Progress:
    """Where a fit stands."""

    step: int = 0
    loss: float = float("inf")  # running mean of the distortion
    best_loss: float = float("inf")  # that divergence is told by: the least running mean, or the last kept
    psnr_db: float = 0.0  # running mean over training views
    rate_scale: float = 1.0  # factor on the learning rate, halved at every recovery
    recoveries: int = 0
    rate_weight: float = 0.0  # of a bit per pixel now
    effective_rate_weight: float = 0.0  # that the fit has followed so far, under rate control
    rewound_steps: int = 0  # steps that the schedule went back by
    skipped: int = 0  # steps in a row whose gradient was not finite
    seconds: float = 0.0  # of fitting, over all runs

    @property
    def scheduled_step(self) -> int:
        """Step of the schedule, which rate control may rewind."""
        return self.step - self.rewound_steps


@dataclass(frozen=True)
class Checkpoint:
    """All that a fit goes on from."""

    progress: Progress
    state: Tensors
    last_good_state: Tensors


def capture(module: nn.Module, optimiser: torch.optim.Optimizer) -> Tensors:
    """Copy every number that the next step depends on."""
    state = optimiser.state_dict()
    tensors = {f"model.{name}": tensor.clone() for name, tensor in module.state_dict().items()}
    for index, entries in state["state"].items():
        tensors |= {f"optimiser.{index}.{name}": tensor.clone() for name, tensor in entries.items()}
    tensors["optimiser_step"] = torch.tensor(state["param_groups"][0].get("step", 0))
    return tensors


def restore(tensors: Tensors, module: nn.Module, optimiser: torch.optim.Optimizer) -> None:
    """Inverse of `capture`."""
    module.load_state_dict({name[6:]: tensor for name, tensor in tensors.items() if name.startswith("model.")})
    state = optimiser.state_dict()
    state["state"] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimiser."):
            _, index, entry = name.split(".")
            state["state"].setdefault(int(index), {})[entry] = tensor.clone()
    state["param_groups"][0]["step"] = int(tensors["optimiser_step"])
    optimiser.load_state_dict(state)


def save(path: Location, checkpoint: Checkpoint, identity: str) -> None:
    """Write to a temporary name, then rename: a kill leaves the old checkpoint or the new one.

    `identity` names the fit, so that no other goes on from it. Raises OutputError where the file cannot be written.
    """
    tensors = {f"now.{name}": tensor for name, tensor in checkpoint.state.items()}
    tensors |= {f"good.{name}": tensor for name, tensor in checkpoint.last_good_state.items()}
    metadata = {name: repr(value) for name, value in asdict(checkpoint.progress).items()}
    metadata |= {"identity": identity, "version": str(VERSION)}
    try:
        with atomic_write(path) as partial:
            save_file({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, partial, metadata)
    except SafetensorError as error:
        raise OutputError(f"{path}: the checkpoint cannot be written: {error}") from None


def load(path: Location, identity: str) -> Checkpoint | str:
    """Read what `save` wrote; or say why the fit begins anew, in words that are empty where there is no checkpoint."""
    if not isinstance(path, Path):
        with TemporaryDirectory() as folder:
            local = Path(folder) / name_of(path)
            try:
                fetch(path, local)
            except OSError:
                return ""
            return load(local, identity)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if reason := _mismatch(metadata, identity):
                return reason
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        return ""
    except (OSError, SafetensorError):
        return "it is damaged"
    try:
        defaults = asdict(Progress())
        progress = Progress(**{name: type(value)(metadata[name]) for name, value in defaults.items()})
    except (KeyError, ValueError):
        return "fields are missing in it"
    now, good = (
        {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
        for prefix in ("now.", "good.")
    )
    return Checkpoint(progress, now, good)


def _mismatch(metadata: Mapping[str, str], identity: str) -> str:
    """Why a checkpoint is not of this fit; empty where it is."""
    if metadata.get("version") != str(VERSION):
        return "another version of nerv360 wrote it"
    if metadata.get("identity") != identity:
        return "it is of another video or of other settings"
    return ""
