"""8-bit convolutions on a CPU: what they cost in quality and gain in time, on a fitted file.

python benchmarks/int8.py FILE --source VIDEO [--start K] -> a row of benchmarks/runtime/int8.tsv

Activations and weights of convolutions are quantised by ONNX Runtime's static quantisation (a range per tensor for
activations, one per channel for weights), calibrated on views of the file's own frames; OpenVINO runs both graphs.
Geometry, expansion and modulations stay in single precision.
"""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import openvino
import torch
import typer
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from table import append

import nerv360
from nerv360.evaluation.evaluate import dynamic_viewports
from nerv360.evaluation.metrics import psnr
from nerv360.export.onnx import draw_graph
from nerv360.extract import extract_viewport
from nerv360.runtime.openvino import _with_polynomial_sines
from nerv360.video.clip import Clip

CALIBRATED, REPEATS = 24, 15


class Calibration(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, names: list[str], inputs: list[list[np.ndarray[Any, Any]]]) -> None:
        self.rows: Iterator[dict[str, Any]] = iter([dict(zip(names, each, strict=True)) for each in inputs])

    def get_next(self) -> dict[str, Any] | None:
        return next(self.rows, None)


@torch.inference_mode()
def main(file: Path, source: Path, start: int = 0, threads: int = 2) -> None:
    torch.set_num_threads(threads)
    with nerv360.open(file, backend="torch") as decoder, tempfile.TemporaryDirectory() as folder:
        clip = Clip.open(source, start=start, frames=decoder.frames, size=(decoder.width, decoder.height))
        panoramas = list(clip)
        views = [
            (frame, view)
            for path in dynamic_viewports(decoder.native_view(), decoder.frames).values()
            for frame, view in enumerate(path)
        ]
        ready = [decoder._prepare(frame, view) for frame, view in views]
        reader = ready[0].reader
        graph = draw_graph(reader.model, ready[0].sampled, ready[0].modulations)
        names = [each.name for each in graph.graph.input]
        inputs = [[each.contiguous().numpy() for each in (*r.sampled, *r.modulations)] for r in ready]
        plain, quantised = Path(folder) / "plain.onnx", Path(folder) / "int8.onnx"
        onnx.save(graph, plain)
        step = max(1, len(inputs) // CALIBRATED)
        quantize_static(
            plain,
            quantised,
            Calibration(names, inputs[::step]),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        row: dict[str, object] = {"file": file.name, "model": reader.model.config.model}
        for name, path in (("float", plain), ("int8", quantised)):
            core = openvino.Core()
            model = _with_polynomial_sines(core.read_model(path))
            model.reshape({port: list(each.shape) for port, each in zip(model.inputs, inputs[0], strict=True)})
            settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
            request = core.compile_model(model, "CPU", settings).create_infer_request()
            scores = []
            for given, (frame, view) in zip(inputs, views, strict=True):
                picture = request.infer(given)[0][0][: view.height, : view.width]
                scores.append(psnr(picture, extract_viewport(panoramas[frame], view)))
            seconds = []
            for given in inputs[:REPEATS]:
                began = time.perf_counter()
                request.infer(given, share_inputs=True)
                seconds.append(time.perf_counter() - began)
            row |= {f"{name}_psnr_db": f"{np.mean(scores):.3f}", f"{name}_ms": f"{1e3 * np.median(seconds):.2f}"}
    row["viewport"] = f"{views[0][1].width}x{views[0][1].height}"
    append(Path(__file__).parent / "runtime" / "int8.tsv", row)
    print(row)


if __name__ == "__main__":
    typer.run(main)
