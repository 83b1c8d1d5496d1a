"""Drawing on CUDA: the paper's network at its own size, from plain PyTorch to a CUDA graph, beside the card's ceilings.

python benchmarks/cuda.py [--decoder-size 2200000] [--model nerv360] -> rows of benchmarks/runtime/cuda.tsv

A view of 1920x1080 of a panorama of 6144x3072, or all of it where the model draws panoramas; batch 1. Every variant is
checked against the same weights in float32 on the same card. Times are CUDA events over many pictures, the median;
memory is torch.cuda.max_memory_allocated above what was there before the variant. The ceilings are a half-precision
matrix product and a copy, measured first.
"""

import statistics
import sys
from collections.abc import Callable
from pathlib import Path

import torch
import typer
from table import append
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from nerv360.backends.pytorch import TorchRunner
from nerv360.config import preset_for
from nerv360.geometry.viewport import Viewport
from nerv360.latents.grid import FrameTime
from nerv360.models.build import build, channels_last
from nerv360.models.decoder_network import DecoderNetwork
from nerv360.training.configure import configure

WARM_UP, REPEATS, MATRIX, COPY = 10, 50, 8192, 1 << 30


def milliseconds(work: Callable[[], object], repeats: int = REPEATS) -> float:
    """The median of one call, on the device's own clock."""
    for _ in range(WARM_UP):
        work()
    times = []
    for _ in range(repeats):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        work()
        end.record()
        torch.cuda.synchronize()
        times.append(begin.elapsed_time(end))
    return statistics.median(times)


def ceilings(device: torch.device) -> tuple[float, float]:
    """GMAC/s of a half-precision matrix product, GB/s of a copy (bytes read and written)."""
    a, b = (torch.randn(MATRIX, MATRIX, device=device, dtype=torch.float16) for _ in range(2))
    product = MATRIX**3 / milliseconds(lambda: a @ b) / 1e6
    source, target = (torch.empty(COPY, dtype=torch.uint8, device=device) for _ in range(2))
    return product, 2 * COPY / milliseconds(lambda: target.copy_(source)) / 1e6


def inputs(network: DecoderNetwork, view: Viewport, device: torch.device) -> tuple[list[Tensor], list[Tensor]]:
    """What `draw` takes for a view, of latents of noise; where it draws panoramas, for the whole of one."""
    latents = [
        torch.randn(1, each.channels, window.rows, window.columns, device=device)
        for each, window in zip(network.config.latents, network.windows(view), strict=True)
    ]
    footprints = network.footprints(view)
    features = network.features(latents, 0.5, [each.window for each in footprints])
    return network.sample(features, footprints, FrameTime(0, 1)), network.modulations(0.5, view)


@torch.inference_mode()
def main(model: str = "nerv360", decoder_size: int = 2_200_000) -> None:
    if not torch.cuda.is_available():
        sys.exit("this PyTorch finds no CUDA device: run it where there is one")
    torch.backends.cudnn.allow_tf32 = False  # the reference is float32
    device, view = torch.device("cuda"), Viewport(20, 15)
    torch.manual_seed(0)
    network = build(configure(preset_for(model, "paper-2.2m").replace(decoder_size=decoder_size), 6144, 3072)).eval()
    network = network.to(device)
    sampled, modulations = inputs(network, view, device)
    reference = network.draw(sampled, modulations)
    with FlopCounterMode(display=False) as counter:
        network.draw(sampled, modulations)
    gmac = counter.get_total_flops() / 2e9

    peak, bandwidth = ceilings(device)
    print(f"{torch.cuda.get_device_name()}: {peak:.0f} GMAC/s in half precision, {bandwidth:.0f} GB/s; {gmac:.1f} GMAC")

    runner = TorchRunner(network, device)
    half = runner.network
    halves = [each.half() for each in sampled], [each.half() for each in modulations]
    compiled = torch.compile(half.draw, mode="max-autotune")
    plain = build(network.config).to(device).eval()
    plain.load_state_dict(network.state_dict())
    last = channels_last(build(network.config).to(device).eval())
    last.load_state_dict(network.state_dict())

    def autocast() -> Tensor:
        with torch.autocast("cuda", torch.float16):
            return plain.draw(sampled, modulations)

    variants: dict[str, Callable[[], object]] = {
        "float32, as written": lambda: plain.draw(sampled, modulations),
        "autocast, as written (the paper)": autocast,
        "float32, channels last": lambda: last.draw(sampled, modulations),
        "half, channels last": lambda: half.draw(*halves),
        "half, channels last, CUDA graph, to 8 bits and to the host (the runtime)": lambda: runner.draw(
            sampled, modulations
        ),
        "half, torch.compile max-autotune": lambda: compiled(*halves),
    }
    for name, work in variants.items():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        taken = milliseconds(work)
        memory = torch.cuda.max_memory_allocated() - before
        picture = work()
        if isinstance(picture, Tensor):
            error = (picture.float() - reference).square().mean()
        else:
            levels = torch.from_numpy(picture).to(device).permute(2, 0, 1)[None].float()
            error = (levels / 255 - reference).square().mean()
        row = {
            "device": torch.cuda.get_device_name(),
            "torch": torch.__version__,
            "model": model,
            "decoder_size": decoder_size,
            "variant": name,
            "ms": f"{taken:.3f}",
            "frames_per_s": f"{1e3 / taken:.1f}",
            "gmac_per_s": f"{gmac / taken * 1e3:.0f}",
            "of_peak": f"{gmac / taken * 1e3 / peak:.3f}",
            "peak_mib": f"{memory / 2**20:.0f}",
            "psnr_to_float32_db": f"{-10 * error.clamp_min(1e-12).log10().item():.1f}",
        }
        append(Path(__file__).parent / "runtime" / "cuda.tsv", row)
        print("\t".join(str(value) for value in row.values()))


if __name__ == "__main__":
    typer.run(main)
