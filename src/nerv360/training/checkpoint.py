"""The state of a fit, in memory and on disk. A checkpoint is a safetensors file, replaced as a whole."""

import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from zlib import crc32

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from nerv360.errors import OutputError
from nerv360.storage import Location, atomic_write, fetch, name_of
from nerv360.training.optimisers import state_names

__all__ = ["Checkpoint", "Progress", "capture", "load", "mismatch", "restore", "save"]

VERSION = "6"  # of the tensors' names and of the fields

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
    return tensors


def restore(tensors: Tensors, module: nn.Module, optimiser: torch.optim.Optimizer) -> None:
    """Inverse of `capture`."""
    module.load_state_dict({name[6:]: tensor for name, tensor in tensors.items() if name.startswith("model.")})
    state = optimiser.state_dict()
    parameters = [each for group in optimiser.param_groups for each in group["params"]]
    state["state"] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimiser."):
            _, index, entry = name.split(".")
            like = parameters[int(index)]
            same = tensor.shape == like.shape  # then its order in memory is to be the same: fused optimisers rely on it
            restored = torch.empty_like(like).copy_(tensor) if same else tensor.to(like.device, copy=True)
            state["state"].setdefault(int(index), {})[entry] = restored
    optimiser.load_state_dict(state)


def save(path: Location, checkpoint: Checkpoint, identity: str) -> None:
    """Write to a temporary name, then rename: a kill leaves the old checkpoint or the new one.

    `identity` names the fit, so that no other goes on from it. Raises OutputError where the file cannot be written.
    """
    tensors = {f"now.{name}": tensor for name, tensor in checkpoint.state.items()}
    tensors |= {f"good.{name}": tensor for name, tensor in checkpoint.last_good_state.items()}
    metadata = {name: repr(value) for name, value in asdict(checkpoint.progress).items()}
    metadata |= {"identity": identity, "version": VERSION}
    tensors = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    metadata["checksum"] = str(checksum(metadata, tensors))
    try:
        with atomic_write(path) as partial:
            save_file(tensors, partial, metadata)
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
    if not os.path.lexists(path):
        return ""
    if not path.is_file():  # a pipe would be waited for
        return "it is no file"
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if reason := _foreign(metadata, identity):
                return reason
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError):
        return "it is damaged"
    if metadata.pop("checksum", "") != str(checksum(metadata, tensors)):
        return "it is damaged"
    progress = _read_progress(metadata)
    if progress is None:
        return "fields are missing in it"
    now, good = (
        {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
        for prefix in ("now.", "good.")
    )
    return Checkpoint(progress, now, good)


def mismatch(found: Checkpoint, module: nn.Module, optimiser: torch.optim.Optimizer) -> bool:
    """Whether its tensors are not those of this module and its optimiser."""
    expected = {f"model.{name}": tensor for name, tensor in module.state_dict().items()}
    parameters = [each for group in optimiser.param_groups for each in group["params"]]

    def fits(name: str, tensor: Tensor) -> bool:
        kind, _, rest = name.partition(".")
        if kind == "model":
            return name in expected and _alike(tensor, expected[name])
        if kind == "optimiser":
            index, _, entry = rest.partition(".")
            known = index.isdecimal() and int(index) < len(parameters) and entry.isidentifier()
            return known and (tensor.dim() == 0 or _alike(tensor, parameters[int(index)]))
        return name == "angles" and tensor.shape[1:] == (3,)

    def whole(state: Tensors) -> bool:
        kept: dict[str, set[str]] = {}
        for _, index, entry in (name.split(".") for name in state if name.startswith("optimiser.")):
            kept.setdefault(index, set()).add(entry)
        always = {str(index) for index in optimiser.state_dict()["state"]}  # from the beginning
        return always <= kept.keys() and all(names == state_names(optimiser) for names in kept.values())

    return any(
        not expected.keys() <= state.keys() or not all(map(fits, state, state.values())) or not whole(state)
        for state in (found.state, found.last_good_state)
    )


def _alike(one: Tensor, other: Tensor) -> bool:
    return (one.shape, one.dtype) == (other.shape, other.dtype)


def _read_progress(metadata: Mapping[str, str]) -> Progress | None:
    """The fields of a fit's progress; None where they are not all there, or impossible."""
    try:
        progress = Progress(**{name: type(value)(metadata[name]) for name, value in asdict(Progress()).items()})
    except (KeyError, ValueError):
        return None
    whole = (progress.step, progress.recoveries, progress.rewound_steps, progress.skipped)
    return None if min(whole) < 0 or any(map(math.isnan, asdict(progress).values())) else progress


def checksum(metadata: Mapping[str, str], tensors: Tensors) -> int:
    """CRC-32 of all that a checkpoint holds."""
    value = crc32(repr(sorted(metadata.items())).encode())
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        value = crc32(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode(), value)
        value = crc32(tensor.reshape(-1).view(torch.uint8).numpy().data, value)
    return value


def _foreign(metadata: Mapping[str, str], identity: str) -> str:
    """Why a checkpoint is not of this fit; empty where it is."""
    if metadata.get("version") != VERSION:
        return "another version of nerv360 wrote it"
    if metadata.get("identity") != identity:
        return "it is of another video or of other settings"
    return ""
