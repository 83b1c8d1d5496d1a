"""A network's `draw` as an ONNX graph. Traced, not written again: there is one forward pass.

The graph is for any size of the picture, and ends in 8-bit RGB. Its inputs are those of `draw`, one by one:
sampled0, sampled1, ... [1, C, h, w], then modulation0, ... [4, 1, C, 1, 1]; its output is picture [1, H, W, 3] uint8.
"""

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, fx
from torch.nn import functional

from nerv360.models.decoder_network import DecoderNetwork

__all__ = ["OPSET", "draw_graph"]

OPSET = 18
HEAD = "head.weight"  # of the convolution that leaves the picture


def draw_graph(network: DecoderNetwork, sampled: Sequence[Tensor], modulations: Sequence[Tensor]) -> onnx.ModelProto:
    """The graph of a network in float32; of the inputs, only their number and their channels matter."""
    names = [f"sampled{i}" for i in range(len(sampled))] + [f"modulation{i}" for i in range(len(modulations))]
    graph = _Graph(network, even=network.config.decoder_strides[-1] % 2 == 0)
    for node in _traced(network, names, len(sampled)).nodes:
        graph.translate(node)
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, each.shape[1], f"{name}_h", f"{name}_w"])
        for name, each in zip(names, sampled, strict=False)
    ] + [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, list(each.shape))
        for name, each in zip(names[len(sampled) :], modulations, strict=True)
    ]
    output = helper.make_tensor_value_info("picture", TensorProto.UINT8, [1, "height", "width", 3])
    made = helper.make_graph(graph.nodes, "draw", inputs, [output], graph.constants)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="nerv360")
    model.ir_version = 9
    onnx.checker.check_model(model)
    return model


def _traced(network: DecoderNetwork, names: Sequence[str], sampled: int) -> fx.Graph:
    """What `draw` does to its inputs. (fx.symbolic_trace would patch all modules of all threads meanwhile.)"""
    tracer = fx.Tracer()
    tracer.root, tracer.graph, tracer.tensor_attrs = network, fx.Graph(), {}
    inputs = [tracer.create_proxy("placeholder", name, (), {}) for name in names]
    picture = network.draw(inputs[:sampled], inputs[sampled:])  # type: ignore[arg-type]
    tracer.create_node("output", "output", (tracer.create_arg(picture),), {})
    return tracer.graph


class _Folded(str):
    """The name of a value whose channels are those of 2x2 pixels: c, row, column. Of three channels alone, vector units
    would do little work, and what comes last is put into pixels once."""


class _Graph:
    """ONNX nodes in the making, from those of a trace."""

    def __init__(self, network: DecoderNetwork, even: bool) -> None:
        self.network = network
        self.even = even  # rows and columns of the picture
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.values: dict[fx.Node, str] = {}

    def translate(self, node: fx.Node) -> None:
        """Add a node, all that come before being there."""
        if node.op == "placeholder":
            self.values[node] = str(node.target)
        elif node.op == "output":
            (picture,) = node.all_input_nodes
            self._end(self.values[picture])
        elif node.op == "get_attr":
            return  # a constant, where it is used
        elif node.target in _TRANSLATIONS:
            self.values[node] = _TRANSLATIONS[node.target](self, *node.args, **node.kwargs)
        else:
            raise NotImplementedError(f"no ONNX for {node.target}")

    def _end(self, picture: str) -> None:
        """[1, 3, H, W] in [0, 1] -> uint8 [1, H, W, 3]."""
        levels = self.add("Round", self.add("Mul", picture, self.constant(np.float32(255))))
        rounded = self.add("Cast", self._pixels(type(picture)(levels)), to=TensorProto.UINT8)
        self.add("Transpose", rounded, perm=[0, 2, 3, 1], name="picture")

    def parameter(self, node: Any) -> Tensor:
        assert isinstance(node, fx.Node) and node.op == "get_attr"
        return self.network.get_parameter(str(node.target)).detach().float()

    def add(self, kind: str, *inputs: str, name: str | None = None, **attributes: Any) -> str:
        """A node; returns the name of its value."""
        name = name or f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name, **attributes))
        return name

    def elementwise(self, kind: str, *arguments: Any) -> str:
        """A node, which is folded where all its inputs are, but for numbers."""
        values = [self.values.get(each) for each in arguments if isinstance(each, fx.Node)]
        if not all(isinstance(each, _Folded) for each in values):
            return self.add(kind, *(self._of(each) for each in arguments))
        inputs = (self.values[each] if isinstance(each, fx.Node) else self._of(each) for each in arguments)
        return _Folded(self.add(kind, *inputs))

    def constant(self, value: NDArray[Any] | np.generic) -> str:
        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def _of(self, argument: Any) -> str:
        """The value of an argument: a traced one, a parameter, or a number."""
        if not isinstance(argument, fx.Node):
            return self.constant(np.float32(argument))
        value = self.values.get(argument)
        return self.constant(self.parameter(argument).numpy()) if value is None else self._pixels(value)

    def _pixels(self, value: str) -> str:
        """A value that is not folded."""
        return self.add("DepthToSpace", value, blocksize=2, mode="CRD") if isinstance(value, _Folded) else value

    def _conv2d(
        self, features: fx.Node, weight: fx.Node, bias: fx.Node | None, stride: Any = 1, padding: Any = 0, *rest: Any
    ) -> str:
        (stride, _), (padding, _) = (each if isinstance(each, tuple) else (each, each) for each in (stride, padding))
        if self.even and weight.target == HEAD and bias is not None:
            return self._folded_conv(self._of(features), self.parameter(weight), self.parameter(bias), padding)
        tensors = [self._of(each) for each in (features, weight, bias) if each is not None]
        return self.add("Conv", *tensors, pads=[padding] * 4, strides=[stride] * 2)

    def _folded_conv(self, features: str, weight: Tensor, bias: Tensor, padding: int) -> str:
        """The same of 2x2 pixels at a time."""
        folded = torch.zeros(len(weight), 2, 2, weight.shape[1], 4, 4)
        for i in range(2):
            for j in range(2):
                folded[:, i, j, :, i : i + 3, j : j + 3] = weight
        constants = [self.constant(each.numpy()) for each in (folded.flatten(0, 2), bias.repeat_interleave(4))]
        return _Folded(self.add("Conv", features, *constants, pads=[padding] * 4, strides=[2, 2]))

    def _pad(self, features: fx.Node, sides: Sequence[int], mode: str, value: Any = None) -> str:
        assert mode == "replicate"
        left, right, top, bottom = sides
        pads = self.constant(np.array([0, 0, top, left, 0, 0, bottom, right], dtype=np.int64))
        return self.add("Pad", self._of(features), pads, mode="edge")

    def _getitem(self, source: fx.Node, index: int | slice) -> str:
        """A part of the first axis."""
        if isinstance(index, int):
            return self.add("Gather", self._of(source), self.constant(np.int64(index)), axis=0)
        ends = (index.start or 0, np.iinfo(np.int64).max if index.stop is None else index.stop, 0)
        return self.add("Slice", self._of(source), *(self.constant(np.array([end], dtype=np.int64)) for end in ends))

    def _addcmul(self, added: fx.Node, first: fx.Node, second: fx.Node) -> str:
        return self.add("Add", self.add("Mul", self._of(first), self._of(second)), self._of(added))

    def _gelu(self, features: fx.Node) -> str:
        inner = self.add("Erf", self.add("Div", self._of(features), self._of(math.sqrt(2))))
        gate = self.add("Add", inner, self._of(1.0))
        return self.add("Mul", self.add("Mul", self._of(features), gate), self._of(0.5))

    def _shuffle(self, features: fx.Node, stride: int) -> str:
        return (
            self._of(features)
            if stride == 1
            else self.add("DepthToSpace", self._of(features), blocksize=stride, mode="CRD")
        )

    def _interpolate(self, features: fx.Node, scale_factor: int, mode: str, **defaults: Any) -> str:
        assert mode == "bilinear"
        if scale_factor == 2:
            return self._doubled(self._of(features))
        scales = self.constant(np.array([1, 1, scale_factor, scale_factor], dtype=np.float32))
        return self.add("Resize", self._of(features), "", scales, mode="linear")

    def _doubled(self, picture: str) -> str:
        """Twice as many pixels each way, as a convolution: OpenVINO's interpolation takes six times as long."""
        near = np.array([[0.25, 0.75, 0], [0, 0.75, 0.25]], np.float32)  # of a pixel and its neighbours, by phase
        folded = np.einsum("ab,ik,jl->aijbkl", np.eye(3, dtype=np.float32), near, near).reshape(12, 3, 3, 3)
        pads = self.constant(np.array([0, 0, 1, 1, 0, 0, 1, 1], dtype=np.int64))
        return _Folded(self.add("Conv", self.add("Pad", picture, pads, mode="edge"), self.constant(folded)))

    def _concatenate(self, parts: Sequence[fx.Node], dim: int) -> str:
        return self.add("Concat", *(self._of(part) for part in parts), axis=dim)


def _elementwise(kind: str) -> Callable[..., str]:
    return lambda graph, *arguments: graph.elementwise(kind, *arguments)


_TRANSLATIONS: dict[Any, Callable[..., str]] = {
    operator.getitem: _Graph._getitem,
    operator.add: _elementwise("Add"),
    operator.mul: _elementwise("Mul"),
    torch.tanh: _elementwise("Tanh"),
    "sin": _elementwise("Sin"),
    torch.addcmul: _Graph._addcmul,
    torch.cat: _Graph._concatenate,
    torch.conv2d: _Graph._conv2d,
    functional.pad: _Graph._pad,
    functional.gelu: _Graph._gelu,
    functional.interpolate: _Graph._interpolate,
    torch.pixel_shuffle: _Graph._shuffle,
    "contiguous": lambda graph, features, memory_format: graph._of(features),
}
