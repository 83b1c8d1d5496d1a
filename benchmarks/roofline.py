"""Where the time of a picture goes on OpenVINO, layer by layer, against the machine's two ceilings.

python benchmarks/roofline.py FILE [--size 1920x1080] -> a Markdown table, and rows of benchmarks/runtime/roofline.tsv

Layers are those that OpenVINO executes: it fuses what it can. Of each: its multiplications (convolutions alone), bytes
of inputs and outputs in single precision, its time (median of several pictures), and how near that is to the
ceiling that is nearer: a matrix product and a copy in PyTorch, measured first.
"""

import math
import statistics
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import typer
from table import append

import nerv360
from nerv360.backends.openvino import OpenVINORunner
from nerv360.cli.options import parse_size
from nerv360.experiments.playback import machine_peak

REPEATS = 9


@torch.inference_mode()
def main(file: Path, size: str = "1920x1080", threads: int = 2, least_share: float = 0.01) -> None:
    torch.set_num_threads(threads)
    peak = machine_peak()
    width, height = parse_size(size)
    with nerv360.open(file, backend="openvino") as decoder:
        native = decoder.native_view()
        hfov_deg = 2 * math.degrees(math.atan(width / 2 / native.focal[0]))
        ready = decoder._prepare(0, replace(native, width=width, height=height, hfov_deg=hfov_deg))
        runner = ready.decoder.runner
        assert isinstance(runner, OpenVINORunner)
        runner.draw(ready.sampled, ready.modulations)
        assert runner._model is not None
        arrays = [each.contiguous().numpy() for each in (*ready.sampled, *ready.modulations)]
        model = runner._model.clone()
        model.reshape({port: list(each.shape) for port, each in zip(model.inputs, arrays, strict=True)})
        settings = {"PERF_COUNT": True, "INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
        compiled = runner._core.compile_model(model, "CPU", settings)
        request, times = compiled.create_infer_request(), defaultdict(list)
        for _ in range(REPEATS):
            request.infer(arrays, share_inputs=True)
            for layer in request.profiling_info:
                times[layer.node_name].append(1e3 * layer.real_time.total_seconds())
    kernels = {  # multiplications per output number
        op.get_friendly_name(): float(np.prod(op.input(1).get_shape()[1:]))
        for op in model.get_ops()
        if op.get_type_name() == "Convolution"
    }
    milliseconds = {name: statistics.median(values) for name, values in times.items()}
    total = sum(milliseconds.values())
    print(f"{file.name}, {size}: {total:.0f} ms in layers; {peak.gmac_per_s:.0f} GMAC/s, {peak.gb_per_s:.1f} GB/s")
    print("| Layer | Output | ms | GMAC | of the peak | MB | of the peak | limit |\n|---|---|---|---|---|---|---|---|")
    for op in compiled.get_runtime_model().get_ordered_ops():
        name = op.get_friendly_name()
        taken = milliseconds.get(name, 0.0)
        if taken < least_share * total:
            continue
        shape = list(op.output(0).get_shape())
        numbers = math.prod(shape) + sum(math.prod(port.get_shape()) for port in op.inputs())
        gmac = kernels.get(name, 0.0) * math.prod(shape) / 1e9
        computing, moving = gmac / taken * 1e3 / peak.gmac_per_s, 4 * numbers / taken / 1e6 / peak.gb_per_s
        row = {
            "file": file.name,
            "view": size,
            "layer": f"{op.get_rt_info()['layerType'].astype(str)} {name.removesuffix('/WithoutBiases')}",
            "output": "x".join(map(str, shape[1:])),
            "ms": f"{taken:.1f}",
            "gmac": f"{gmac:.2f}",
            "of_compute": f"{computing:.2f}",
            "mb": f"{4 * numbers / 1e6:.0f}",
            "of_bandwidth": f"{moving:.2f}",
            "limit": "arithmetic" if computing > moving else "memory",
        }
        append(Path(__file__).parent / "runtime" / "roofline.tsv", row)
        print("| " + " | ".join(list(row.values())[2:]) + " |")


if __name__ == "__main__":
    typer.run(main)
