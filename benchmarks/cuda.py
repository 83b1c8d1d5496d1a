"""Drawing on CUDA: the paper's network at its own size, from plain PyTorch to a CUDA graph, beside the card's ceilings.

python benchmarks/cuda.py [--model nerv360] [--decoder-size 2200000] [--device cuda] [--panorama 6144x3072]
-> rows of benchmarks/runtime/cuda.tsv

A view of 5/16 of the panorama's width (1920x1080 of 6144x3072), or all of it where the model draws panoramas; batch 1.
Every variant is checked against the same weights in float32 on the same device. Times are the median of many pictures,
the device synchronised before and after each; memory is what PyTorch has allocated above what was there before the
variant. The ceilings are a half-precision matrix product and a copy, measured first. A variant that the device cannot
run is left out, with the reason.
"""

import copy
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import typer
from table import append
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from nerv360.backends.pytorch import TorchRunner
from nerv360.cli.options import parse_size
from nerv360.config import preset_for
from nerv360.errors import ArgumentError
from nerv360.evaluation.results_store import device_name
from nerv360.experiments.peak_memory import forget_peak, peak_memory
from nerv360.geometry.viewport import Viewport
from nerv360.latents.grid import FrameTime
from nerv360.models.build import build, channels_last
from nerv360.models.decoder_network import DecoderNetwork
from nerv360.models.device import choose_device
from nerv360.training.configure import configure

WARM_UP, REPEATS, MATRIX, COPY = 10, 50, 8192, 1 << 30
TABLE = Path(__file__).parent / "runtime" / "cuda.tsv"


def milliseconds(work: Callable[[], object], device: torch.device) -> float:
    """The median of one call."""
    wait = torch.get_device_module(device).synchronize
    times = []
    for _ in range(WARM_UP + REPEATS):
        wait()
        began = time.perf_counter()
        work()
        wait()
        times.append(1e3 * (time.perf_counter() - began))
    return statistics.median(times[WARM_UP:])


def ceilings(device: torch.device) -> tuple[float, float]:
    """GMAC/s of a half-precision matrix product, GB/s of a copy (bytes read and written)."""
    a, b = (torch.ones(MATRIX, MATRIX, device=device, dtype=torch.float16) for _ in range(2))
    product = MATRIX**3 / milliseconds(lambda: a @ b, device) / 1e6
    source, target = (torch.empty(COPY, dtype=torch.uint8, device=device) for _ in range(2))
    return product, 2 * COPY / milliseconds(lambda: target.copy_(source), device) / 1e6


def inputs(network: DecoderNetwork, view: Viewport, device: torch.device) -> tuple[list[Tensor], list[Tensor]]:
    """What `draw` takes for a view, of latents of noise; where it draws panoramas, for the whole of one."""
    latents = [
        torch.randn(1, each.channels, window.rows, window.columns, device=device)
        for each, window in zip(network.config.latents, network.windows(view), strict=True)
    ]
    footprints = network.footprints(view)
    features = network.features(latents, 0.5, [each.window for each in footprints])
    return network.sample(features, footprints, FrameTime(0, 1)), network.modulations(0.5, [view])


@torch.inference_mode()
def measure(model: str, decoder_size: int, width: int, height: int, device: torch.device) -> None:
    """Rows of all variants."""
    torch.backends.cudnn.allow_tf32 = False  # the reference is float32
    torch.manual_seed(0)
    settings = preset_for(model, "paper-2.2m").replace(decoder_size=decoder_size, view_width=None, view_height=None)
    columns, rows = settings.training_view(width)
    network = build(configure(settings, width, height)).eval().to(device)
    sampled, modulations = inputs(network, Viewport(20, 15, width=columns, height=rows), device)
    reference = network.draw(sampled, modulations)
    with FlopCounterMode(display=False) as counter:
        network.draw(sampled, modulations)
    gmac = counter.get_total_flops() / 2e9
    peak, bandwidth = ceilings(device)
    name = device_name(device)
    print(f"{name}: {peak:.0f} GMAC/s in half precision, {bandwidth:.0f} GB/s; {gmac:.1f} GMAC")
    for variant, work in variants(network, sampled, modulations, device).items():
        try:
            taken, memory, picture = measured(work, device)
        except RuntimeError as error:
            print(f"{variant}: left out: {str(error).partition(chr(10))[0]}")
            continue
        error = (picture - reference).square().mean()
        row = {
            "device": name,
            "torch": torch.__version__,
            "model": model,
            "decoder_size": decoder_size,
            "panorama": f"{width}x{height}",
            "variant": variant,
            "ms": f"{taken:.3f}",
            "frames_per_s": f"{1e3 / taken:.1f}",
            "gmac_per_s": f"{gmac / taken * 1e3:.0f}",
            "of_peak": f"{gmac / taken * 1e3 / peak:.3f}",
            "peak_mib": "" if memory is None else f"{memory / 2**20:.0f}",
            "psnr_to_float32_db": f"{-10 * error.clamp_min(1e-12).log10().item():.1f}",
        }
        append(TABLE, row)
        print("\t".join(str(value) for value in row.values()))


def variants(
    network: DecoderNetwork, sampled: list[Tensor], modulations: list[Tensor], device: torch.device
) -> dict[str, Callable[[], object]]:
    """Ways to draw the same picture, by name."""
    runner, half = TorchRunner(network, device, half=True), channels_last(copy.deepcopy(network).half())
    halves = [each.half() for each in sampled], [each.half() for each in modulations]
    last = channels_last(build(network.config).to(device).eval())
    last.load_state_dict(network.state_dict())
    compiled = torch.compile(half.draw, mode="max-autotune")

    def autocast() -> Tensor:
        with torch.autocast(device.type, torch.float16):
            return network.draw(sampled, modulations)

    return {
        "float32, as written": lambda: network.draw(sampled, modulations),
        "autocast, as written (the paper)": autocast,
        "float32, channels last": lambda: last.draw(sampled, modulations),
        "half, channels last": lambda: half.draw(*halves),
        "half, channels last, CUDA graph, to 8 bits and to the host (the runtime)": lambda: runner.draw(
            sampled, modulations
        ),
        "half, torch.compile max-autotune": lambda: compiled(*halves),
    }


def measured(work: Callable[[], object], device: torch.device) -> tuple[float, int | None, Tensor]:
    """Milliseconds and bytes of a variant, and its picture [1, 3, H, W] in [0, 1]."""
    forget_peak(device)
    before = peak_memory(device)
    taken = milliseconds(work, device)
    after = peak_memory(device)
    memory = None if before is None or after is None else after - before
    picture = work()
    if isinstance(picture, Tensor):
        return taken, memory, picture.float()
    return taken, memory, torch.from_numpy(picture).to(device).permute(2, 0, 1)[None].float() / 255


def main(
    model: str = "nerv360", decoder_size: int = 2_200_000, panorama: str = "6144x3072", device: str = "cuda"
) -> None:
    """Measure a model on a device."""
    try:
        measure(model, decoder_size, *parse_size(panorama, "--panorama"), choose_device(device))
    except ArgumentError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    typer.run(main)
