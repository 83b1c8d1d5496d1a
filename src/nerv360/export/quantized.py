"""A graph with 8-bit convolutions, by ONNX Runtime's static quantisation."""

import logging
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

__all__ = ["quantized_graph"]

Inputs = Sequence[NDArray[np.float32]]


def quantized_graph(graph: onnx.ModelProto, examples: Sequence[Inputs]) -> onnx.ModelProto:
    """Activations have a range per tensor, that of the examples; weights one per channel. The rest stays float."""
    names = [each.name for each in graph.graph.input]
    quietly = logging.root.manager.disable
    with tempfile.TemporaryDirectory() as folder:
        plain, quantised = Path(folder) / "plain.onnx", Path(folder) / "int8.onnx"
        onnx.save(graph, plain)
        logging.disable(logging.WARNING)  # it advises a preparation that graphs of this package do not need
        try:
            quantize_static(
                plain,
                quantised,
                _Examples(names, examples),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=["Conv"],
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
            )
        finally:
            logging.disable(quietly)
        return onnx.load(quantised)


class _Examples(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, names: Sequence[str], examples: Sequence[Inputs]) -> None:
        self.rows: Iterator[dict[str, Any]] = iter([dict(zip(names, each, strict=True)) for each in examples])

    def get_next(self) -> dict[str, Any] | None:
        return next(self.rows, None)
