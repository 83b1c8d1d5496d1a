"""The paper's experiments: which networks are fitted for a table, and a row of results for each of them.

A run is a network fitted to a video (a row of fits.tsv), written to a file, and measured from that file (a row of
runs.tsv). What has its row is not done again; an interrupted fit goes on from its checkpoint.
"""

import csv
import hashlib
import platform
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from nerv360.codec.decoder import open_file
from nerv360.codec.encoder import Report, encode_clip
from nerv360.config import PRESETS, EncodingConfig
from nerv360.errors import OutputError
from nerv360.evaluation.evaluate import dynamic_viewports, evaluate
from nerv360.models.base import build, configure
from nerv360.models.budget import decoder_size
from nerv360.video.clip import Clip

__all__ = [
    "NAMES",
    "SCALES",
    "Row",
    "Run",
    "Scale",
    "append_row",
    "file_of",
    "finished",
    "fit_run",
    "free_view_runs",
    "measure_run",
    "provenance",
    "read_rows",
    "table1_runs",
    "table2_runs",
]

Row = Mapping[str, Any]
NAMES = {"hnerv": "HNeRV", "hnerv-boost": "HNeRV-Boost", "nerv360": "NeRV360"}  # in the order of Table I
FREE_HFOV_DEG, FREE_ROLL_DEG = (60.0, 110.0), (-180.0, 180.0)


@dataclass(frozen=True)
class Scale:
    """How large an experiment is: everything else is as in the paper."""

    settings: EncodingConfig
    width: int
    height: int
    frames: int | None  # at most; None: all


SCALES = {
    "small": Scale(replace(PRESETS["tiny"], epochs=12), 624, 312, 64),
    "paper-2.2m": Scale(PRESETS["paper-2.2m"], 6144, 3072, None),
    "paper-17.6m": Scale(PRESETS["paper-17.6m"], 6144, 3072, None),
}


@dataclass(frozen=True)
class Run:
    """A network to be fitted to a clip."""

    variant: str
    config: EncodingConfig
    clip: Clip

    @property
    def name(self) -> str:
        """Of its file and of its row: the same for the same clip and settings, and for no others."""
        chosen = {f.name: value for f in fields(self.config) if (value := getattr(self.config, f.name)) != f.default}
        digest = hashlib.sha256(f"{self.clip.fingerprint()} {chosen}".encode()).hexdigest()
        return f"{self.clip.path.stem}-{self.config.model}-{digest[:12]}"


def table1_runs(settings: EncodingConfig, clips: Iterable[Clip], seeds: Iterable[int]) -> list[Run]:
    """HNeRV, HNeRV-Boost and NeRV360 under the same settings (Table I)."""
    return [
        Run(NAMES[model], replace(settings, model=model, seed=seed), clip)
        for seed in seeds
        for clip in clips
        for model in NAMES
    ]


def table2_runs(settings: EncodingConfig, clips: Iterable[Clip], seeds: Iterable[int]) -> list[Run]:
    """NeRV360 and its six ablations (Table II)."""
    half, quarter = (*settings.encoder_strides, 2), (*settings.encoder_strides, 2, 2)
    changes: dict[str, dict[str, Any]] = {
        "NeRV360": {},
        "w/ 4x channels, 1/2 resolution": {"encoder_strides": half, "embedding_channels": 4},
        "w/ 16x channels, 1/4 resolution": {"encoder_strides": quarter, "embedding_channels": 16},
        "w/ 1x channels, 1/2 resolution": {"encoder_strides": half},
        "w/ 1x channels, 1/4 resolution": {"encoder_strides": quarter},
        "Channel expansion after viewport extraction": {"expand_first": False},
        "w/o STAT inputs (yaw, pitch)": {"conditions": ()},
    }
    return [
        Run(variant, replace(settings, model="nerv360", seed=seed, **change), clip)
        for seed in seeds
        for clip in clips
        for variant, change in changes.items()
    ]


def free_view_runs(settings: EncodingConfig, clips: Iterable[Clip], seeds: Iterable[int]) -> list[Run]:
    """NeRV360 at the fixed field of view, and trained over fields of view and roll (Sec. IV)."""
    free = replace(settings, hfov_deg=FREE_HFOV_DEG, roll_deg=FREE_ROLL_DEG)
    return [
        Run(variant, replace(config, model="nerv360", seed=seed), clip)
        for seed in seeds
        for clip in clips
        for variant, config in (("fixed view", settings), ("free view", free))
    ]


def file_of(run: Run, folder: Path) -> Path:
    """Where a run's file is kept."""
    return folder / f"{run.name}.nerv360"


def finished(run: Run, folder: Path) -> Row | None:
    """The row of a run that is done."""
    return _find(folder / "runs.tsv", run)


def fit_run(run: Run, folder: Path, device: torch.device, report: Report) -> None:
    """Fit the run's network and write its file, unless that is done; goes on from a checkpoint."""
    if _find(folder / "fits.tsv", run) is None:
        encoded = encode_clip(run.clip, file_of(run, folder), run.config, device, report, lambda _: None)
        append_row(folder / "fits.tsv", {"run": run.name, "seconds": f"{encoded.seconds:.1f}", **provenance(device)})


def measure_run(run: Run, folder: Path, device: torch.device, report: Callable[[int, int], None]) -> Row:
    """Read the file back, measure it, and keep the run's row."""
    clip, config, path = run.clip, run.config, file_of(run, folder)
    fitted = _find(folder / "fits.tsv", run)
    assert fitted is not None
    with open_file(path, str(device)) as decoder:
        result = evaluate(decoder, clip, dynamic_viewports(decoder.native_view(), clip.frames), report)
    shape = configure(config, clip.width, clip.height)
    with torch.device("meta"):
        parameters = decoder_size(build(shape))
    row: Row = {
        "run": run.name,
        "variant": run.variant,
        "model": config.model,
        "video": clip.path.name,
        "start": clip.start,
        "frames": clip.frames,
        "panorama": f"{clip.width}x{clip.height}",
        "viewport": result.viewport,
        "decoder_size": parameters,
        "embedding": f"{shape.embedding_channels}x{shape.grid_height}x{shape.grid_width}",
        "epochs": config.epochs,
        "steps": config.epochs * clip.frames,
        "minutes": f"{float(fitted['seconds']) / 60:.2f}",
        "seed": config.seed,
        "loss": config.loss,
        "optimiser": f"{config.optimiser} {config.learning_rate:g}",
        "bytes": result.size,
        **{f"{name.lower()}_psnr_db": f"{quality.psnr_db:.3f}" for name, quality in result.trajectories.items()},
        "mean_psnr_db": f"{result.mean.psnr_db:.3f}",
        **{f"{name.lower()}_ms_ssim": f"{quality.ms_ssim:.4f}" for name, quality in result.trajectories.items()},
        "mean_ms_ssim": f"{result.mean.ms_ssim:.4f}",
        "ms_ssim_window": result.ms_ssim_window,
        "ws_psnr_db": f"{result.ws_psnr_db:.3f}",
        **provenance(device),
    }
    append_row(folder / "runs.tsv", row)
    return {name: str(value) for name, value in row.items()}


def _find(table: Path, run: Run) -> Row | None:
    return next((row for row in read_rows(table) if row["run"] == run.name), None)


def provenance(device: torch.device) -> Row:
    """By what, when and from which code a row was made."""
    found = subprocess.run(
        ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"],
        capture_output=True,
        text=True,
        check=False,
    )
    named = f"{platform.machine()}, {torch.get_num_threads()} threads"
    if device.type == "cuda":
        named = torch.cuda.get_device_name(device)
    return {
        "device": f"{device.type.upper()} {named}",
        "torch": torch.__version__,
        "python": platform.python_version(),
        "commit": found.stdout.strip() or "unknown",
        "date": datetime.now(UTC).date().isoformat(),
        "command": " ".join(["nerv360", *sys.argv[1:]]),
    }


def read_rows(table: Path) -> list[dict[str, str]]:
    """The rows of a table of results; none where there is no table."""
    if not table.exists():
        return []
    with open(table, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def append_row(table: Path, row: Row) -> None:
    """Add a row at the end; a new table begins with the names of its columns. Raises OutputError."""
    try:
        new = not table.exists()
        with open(table, "a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(row), delimiter="\t", lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerow(row)
    except OSError as error:
        raise OutputError(f"{table}: cannot be written: {error.strerror}") from None
