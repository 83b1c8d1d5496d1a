"""The paper's experiments: which networks are fitted for a table, and a row of results for each of them.

A run is a network fitted to a video (a row of fits.tsv), written to a file, and measured from that file (a row of
runs.tsv). What has its row is not done again; an interrupted fit goes on from its checkpoint.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch

from nerv360.claims import claim
from nerv360.codec.decoder import open_file
from nerv360.codec.encoder import encode_clip
from nerv360.config import HNERV_RECIPE, EncodingConfig
from nerv360.errors import OutOfMemory
from nerv360.evaluation.evaluate import evaluate
from nerv360.evaluation.results_store import (
    PROVENANCE,
    QUALITY,
    Row,
    append_row,
    check_columns,
    device_name,
    provenance,
    quality_columns,
    read_rows,
    read_text,
)
from nerv360.experiments.benchmark import measure_apart
from nerv360.experiments.figures import free_view_psnr
from nerv360.geometry.viewport import JVET_HFOV_DEG, dynamic_viewports
from nerv360.models.build import build, decoder_size
from nerv360.models.network_config import NetworkConfig
from nerv360.models.registry import MODELS
from nerv360.progress import OnProgress, ignore
from nerv360.storage import name_of
from nerv360.training.configure import configure
from nerv360.types import Picture
from nerv360.video.clip import Clip

__all__ = [
    "COLUMNS",
    "FREE_VIEWS",
    "NAMES",
    "Run",
    "check_tables",
    "cost_of",
    "equal_time",
    "file_of",
    "finished",
    "fit_run",
    "free_view_rows",
    "free_view_runs",
    "measure_run",
    "table1_runs",
    "table2_runs",
    "trainable",
    "training_speed",
]

NAMES = {name: MODELS[name].title for name in ("hnerv", "hnerv-boost", "nerv360")}  # in the order of Table I
MANY_VIEWS = 8
FREE_VIEWS = [(hfov, roll) for roll in (0.0, 30.0, 90.0, 180.0) for hfov in (60.0, 70.0, 78.1, 90.0, 100.0, 110.0)]
COLUMNS = {
    "runs.tsv": (
        *("run", "variant", "model", "video", "start", "frames", "panorama", "viewport", "decoder_size", "views"),
        *("embedding", "epochs", "steps", "minutes", "seed", "loss", "optimiser", "bytes"),
        *(*QUALITY, "ms_ssim_window", "ws_psnr_db", *PROVENANCE),
    ),
    "fits.tsv": ("run", "seconds", *PROVENANCE),
    "costs.tsv": (
        *("model", "decoder_size", "panorama", "viewport", "views", "phase", "device", "repeats", "frames_per_s"),
        *("median_s", "p95_s", "peak_mib", *PROVENANCE[1:]),
    ),
    "freeview.tsv": ("run", "variant", "hfov_deg", "roll_deg", "psnr_db", *PROVENANCE),
    "plans.tsv": ("run", "epochs", "budget_s", *PROVENANCE),
}
EVERY = 8  # frames, of those that the table over roll and field of view is measured on
FREE_HFOV_DEG, FREE_ROLL_DEG = (60.0, 110.0), (-180.0, 180.0)


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
        return f"{Path(name_of(self.clip.path)).stem}-{self.config.architecture.model}-{digest[:12]}"


def table1_runs(settings: EncodingConfig, clips: Iterable[Clip], seeds: Iterable[int]) -> list[Run]:
    """HNeRV, HNeRV-Boost and NeRV360 under the same settings (Table I); NeRV360 with several views per step; and HNeRV
    with its own loss and optimiser, which the paper may have meant."""
    configs = {name: settings.replace(model=model) for model, name in NAMES.items()}
    configs[f"NeRV360, {MANY_VIEWS} views per step"] = settings.replace(model="nerv360", views=MANY_VIEWS)
    configs["HNeRV, its own recipe"] = settings.replace(model="hnerv", **HNERV_RECIPE)
    return [
        Run(variant, replace(config, seed=seed), clip)
        for seed in seeds
        for clip in clips
        for variant, config in configs.items()
    ]


def table2_runs(settings: EncodingConfig, clips: Iterable[Clip], seeds: Iterable[int]) -> list[Run]:
    """NeRV360 and its six ablations (Table II)."""
    half, quarter = (*settings.architecture.encoder_strides, 2), (*settings.architecture.encoder_strides, 2, 2)
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
        Run(variant, settings.replace(model="nerv360", seed=seed, **change), clip)
        for seed in seeds
        for clip in clips
        for variant, change in changes.items()
    ]


def free_view_runs(settings: EncodingConfig, clips: Iterable[Clip], seeds: Iterable[int]) -> list[Run]:
    """NeRV360 at the fixed field of view, and trained over fields of view and roll (Sec. IV)."""
    free = settings.replace(hfov_deg=FREE_HFOV_DEG, roll_deg=FREE_ROLL_DEG)
    return [
        Run(variant, config.replace(model="nerv360", seed=seed), clip)
        for seed in seeds
        for clip in clips
        for variant, config in (("fixed view", settings), ("free view", free))
    ]


def trainable(run: Run, costs: Iterable[Row]) -> bool:
    """Whether a step of its training was measured, among these costs: on a machine too small, none is."""
    return training_speed(run.config, costs) is not None


def equal_time(runs: Sequence[Run], costs: Sequence[Row]) -> list[Run]:
    """The runs that are trainable, with as many epochs as the speed of each network allows in NeRV360's time.

    Raises OutOfMemory where the speed of NeRV360 could not be measured.
    """
    reference = training_speed(runs[0].config.replace(model="nerv360", views=1), costs)
    if reference is None:
        raise OutOfMemory("nerv360: its training does not fit the memory, so there is no time to compare; see --size")
    speeds = [(run, training_speed(run.config, costs)) for run in runs]
    return [
        replace(
            run, config=run.config.replace(epochs=max(1, round(run.config.optimisation.epochs * speed / reference)))
        )
        for run, speed in speeds
        if speed is not None
    ]


def training_speed(config: EncodingConfig, costs: Iterable[Row]) -> float | None:
    """Frames a second, as measured; None where training does not fit the memory."""
    wanted = {"model": config.architecture.model, "views": str(config.view_sampling.views), "phase": "training"}
    measured = next(row["frames_per_s"] for row in costs if wanted.items() <= row.items())
    return float(measured) if measured else None


def free_view_rows(run: Run, folder: Path, device: torch.device) -> Iterator[Row]:
    """PSNR at every field of view and roll of FREE_VIEWS; a row each in freeview.tsv."""
    table, sampled = folder / "freeview.tsv", dict[int, Picture]()
    with open_file(file_of(run, folder), device=str(device)) as decoder:
        for hfov_deg, roll_deg in FREE_VIEWS:
            known = {"run": run.name, "variant": run.variant, "hfov_deg": f"{hfov_deg:g}", "roll_deg": f"{roll_deg:g}"}
            row: Row | None = next((row for row in read_rows(table) if known.items() <= row.items()), None)
            if row is None:
                sampled = sampled or {index: frame for index, frame in enumerate(run.clip) if index % EVERY == 0}
                psnr_db = free_view_psnr(decoder, sampled, name_of(run.clip.path), hfov_deg, roll_deg)
                row = {**known, "psnr_db": f"{psnr_db:.3f}", **provenance(device)}
                append_row(table, row)
            yield row


def file_of(run: Run, folder: Path) -> Path:
    """The path of a run's file."""
    return folder / f"{run.name}.nerv360"


def finished(run: Run, folder: Path) -> Row | None:
    """The row of a run whose file is there too, under the name that this table has for it."""
    row = _find(folder / "runs.tsv", run)
    return {**row, "variant": run.variant} if row is not None and file_of(run, folder).exists() else None


def fit_run(run: Run, folder: Path, device: torch.device, on_progress: OnProgress = ignore) -> float:
    """Fit the run's network and write its file, unless that is done; goes on from a checkpoint. Returns its seconds."""
    row = _find(folder / "fits.tsv", run)
    if row is None or not file_of(run, folder).exists():
        with claim(file_of(run, folder), run.clip.path, work="encoding"):
            encoded = encode_clip(run.clip, file_of(run, folder), run.config, device, on_progress)
        row = {"run": run.name, "seconds": f"{encoded.seconds:.1f}", **provenance(device)}
        append_row(folder / "fits.tsv", row)
    return float(row["seconds"])


def measure_run(run: Run, folder: Path, device: torch.device, on_progress: OnProgress = ignore) -> Row:
    """Read the file back, measure it, and keep the run's row."""
    clip, config, path = run.clip, run.config, file_of(run, folder)
    fitted = _find(folder / "fits.tsv", run)
    assert fitted is not None
    with open_file(path, device=str(device)) as decoder:
        look = replace(decoder.native_view(), hfov_deg=JVET_HFOV_DEG)
        result = evaluate(decoder, clip, dynamic_viewports(look, clip.frames, name_of(clip.path)), on_progress)
    shape = configure(config, clip.width, clip.height)
    row: dict[str, object] = {
        "run": run.name,
        "variant": run.variant,
        "model": config.architecture.model,
        "video": name_of(clip.path),
        "start": clip.start,
        "frames": clip.frames,
        "panorama": f"{clip.width}x{clip.height}",
        "viewport": result.viewport,
        "decoder_size": _parameters(shape),
        "views": config.view_sampling.views,
        "embedding": f"{shape.embedding_channels}x{shape.grid_height}x{shape.grid_width}",
        "epochs": config.optimisation.epochs,
        "steps": config.optimisation.epochs * clip.frames,
        "minutes": f"{float(fitted['seconds']) / 60:.2f}",
        "seed": config.seed,
        "loss": config.optimisation.loss,
        "optimiser": f"{config.optimisation.optimiser} {config.optimisation.learning_rate:g}",
        "bytes": result.size,
        **quality_columns(result),
        **provenance(device),
    }
    text = {name: str(value) for name, value in row.items()}
    append_row(folder / "runs.tsv", text)
    return text


def cost_of(
    config: EncodingConfig, size: tuple[int, int], phase: str, folder: Path, device: torch.device, repeats: int
) -> Row:
    """Speed and memory of a phase, measured in a process of its own, unless costs.tsv has the row already.

    Where it does not fit the memory, the row has no figures and is not stored.
    """
    width, height = size
    view_width, view_height = config.training_view(width)
    known = {
        "model": config.architecture.model,
        "decoder_size": str(_parameters(configure(config, width, height))),
        "panorama": f"{width}x{height}",
        "viewport": f"{view_width}x{view_height}",
        "views": str(config.view_sampling.views if phase == "training" else 1),
        "phase": phase,
        "device": device_name(device),
        "repeats": str(repeats),
    }
    same = {**known, "torch": torch.__version__}
    for row in read_rows(folder / "costs.tsv"):
        if same.items() <= row.items():
            return row
    try:
        cost = measure_apart(config, width, height, phase, str(device), torch.get_num_threads(), repeats)
    except OutOfMemory:
        return {**known, "frames_per_s": "", "peak_mib": ""}
    row = {
        **known,
        "frames_per_s": f"{1 / cost.mean_s:.6g}",
        "median_s": f"{cost.median_s:.6g}",
        "p95_s": f"{cost.p95_s:.6g}",
        "peak_mib": "" if cost.peak_bytes is None else f"{cost.peak_bytes / 2**20:.0f}",
        **provenance(device),
    }
    append_row(folder / "costs.tsv", row)
    return row


def _parameters(shape: NetworkConfig) -> int:
    with torch.device("meta"):
        return decoder_size(build(shape))


def _find(table: Path, run: Run) -> Row | None:
    """The last row of a run."""
    return next((row for row in reversed(read_rows(table)) if row.get("run") == run.name), None)


def check_tables(folder: Path) -> None:
    """Raises OutputError where a table of results could not be gone on with: before hours of work, not after them."""
    for name, columns in COLUMNS.items():
        check_columns(folder / name, read_text(folder / name), columns)
