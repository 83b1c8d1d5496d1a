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
from torch import Tensor, fx, nn
from torch.nn import functional

from nerv360.models.base import Network

__all__ = ["OPSET", "draw_graph"]

OPSET = 18
FEW = 4  # channels that a convolution leaves: those of the picture


class _Draw(nn.Module):
    """`draw`, of inputs one by one."""

    def __init__(self, network: Network, sampled: int, modulations: int) -> None:
        super().__init__()
        self.network, self.sampled, self.modulations = network, sampled, modulations

    def forward(self, *inputs: Tensor) -> Tensor:
        split = [inputs[index] for index in range(self.sampled + self.modulations)]
        return self.network.draw(split[: self.sampled], split[self.sampled :])


def draw_graph(network: Network, sampled: Sequence[Tensor], modulations: Sequence[Tensor]) -> onnx.ModelProto:
    """The graph of a network in float32; of the inputs, only their number and their channels matter."""
    traced = fx.symbolic_trace(_Draw(network, len(sampled), len(modulations)))
    names = [f"sampled{i}" for i in range(len(sampled))] + [f"modulation{i}" for i in range(len(modulations))]
    graph = _Graph(traced, names, network.config.decoder_strides[-1] % 2 == 0)
    picture = graph.translate()
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, each.shape[1], f"{name}_h", f"{name}_w"])
        for name, each in zip(names, sampled, strict=False)
    ] + [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, list(each.shape))
        for name, each in zip(names[len(sampled) :], modulations, strict=True)
    ]
    output = helper.make_tensor_value_info(graph.rounded(picture), TensorProto.UINT8, [1, "height", "width", 3])
    made = helper.make_graph(graph.nodes, "draw", inputs, [output], graph.constants)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="nerv360")
    model.ir_version = 9
    onnx.checker.check_model(model)
    return model


class _Graph:
    """ONNX nodes in the making, from a trace."""

    def __init__(self, traced: fx.GraphModule, inputs: Sequence[str], even: bool) -> None:
        self.traced, self.inputs = traced, inputs
        self.even = even  # rows and columns of the picture
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.values: dict[fx.Node, str] = {}

    def translate(self) -> str:
        """Translate all nodes; returns the name of the last value."""
        for node in self.traced.graph.nodes:
            if node.op == "output":
                return self.values[node.args[0]]
            self.values[node] = self._translated(node)
        raise AssertionError("a trace ends in its output")

    def rounded(self, picture: str) -> str:
        """[1, 3, H, W] in [0, 1] -> uint8 [1, H, W, 3]."""
        levels = self.add("Round", self.add("Mul", picture, self.constant(np.float32(255))))
        return self.add("Transpose", self.add("Cast", levels, to=TensorProto.UINT8), perm=[0, 2, 3, 1], name="picture")

    def add(self, kind: str, *inputs: str, name: str | None = None, **attributes: Any) -> str:
        """A node; returns the name of its value."""
        name = name or f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name, **attributes))
        return name

    def constant(self, value: NDArray[Any] | np.generic) -> str:
        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def _translated(self, node: fx.Node) -> str:
        if node.op == "placeholder":
            return "inputs"
        if node.op == "get_attr":
            return self.constant(_attribute(self.traced, str(node.target)).detach().float().numpy())
        if node.op == "call_module":
            module = self.traced.get_submodule(str(node.target))
            if not isinstance(module, nn.Conv2d):
                raise NotImplementedError(f"{node.target}: no ONNX for {type(module).__name__}")
            return self._module_conv(self._of(node.args[0]), module)
        translate = _TRANSLATIONS.get(node.target)
        if translate is None:
            raise NotImplementedError(f"no ONNX for {node.target}")
        return translate(self, node)

    def _of(self, argument: Any) -> str:
        """The value of an argument: a traced one, or a number."""
        return self.values[argument] if isinstance(argument, fx.Node) else self.constant(np.float32(argument))

    def _module_conv(self, features: str, conv: nn.Conv2d) -> str:
        if conv.out_channels <= FEW and conv.kernel_size == (3, 3) and self.even:
            return self._folded_conv(features, conv)
        features, padding = self._padded(features, conv)
        tensors = (conv.weight,) if conv.bias is None else (conv.weight, conv.bias)
        constants = [self.constant(tensor.detach().float().numpy()) for tensor in tensors]
        return self.add("Conv", features, *constants, pads=padding, strides=list(conv.stride))

    def _padded(self, features: str, conv: nn.Conv2d) -> tuple[str, list[int]]:
        """The features, and the zeros that the convolution pads them with itself."""
        padding = [int(side) for side in conv.padding] * 2
        if conv.padding_mode != "replicate" or not any(padding):
            return features, padding
        pads = self.constant(np.array([0, 0, *padding[:2], 0, 0, *padding[2:]], dtype=np.int64))
        return self.add("Pad", features, pads, mode="edge"), [0] * 4

    def _folded_conv(self, features: str, conv: nn.Conv2d) -> str:
        """The same, two by two pixels at a time: of three channels alone, vector units would do little work."""
        weight = torch.zeros(conv.out_channels, 2, 2, conv.in_channels, 4, 4)
        for i in range(2):
            for j in range(2):
                weight[:, i, j, :, i : i + 3, j : j + 3] = conv.weight.detach()
        assert conv.bias is not None
        bias = conv.bias.detach().float().repeat_interleave(4)
        constants = [self.constant(tensor.numpy()) for tensor in (weight.flatten(0, 2), bias)]
        features, padding = self._padded(features, conv)
        blocks = self.add("Conv", features, *constants, pads=padding, strides=[2, 2])
        return self.add("DepthToSpace", blocks, blocksize=2, mode="CRD")

    def _conv2d(self, node: fx.Node) -> str:
        padding: Any = node.kwargs.get("padding", 0)
        return self.add("Conv", *(self._of(argument) for argument in node.args), pads=[padding] * 4)

    def _getitem(self, node: fx.Node) -> str:
        """An input of the graph, or a part of the first axis of a value."""
        source, index = node.args
        if isinstance(source, fx.Node) and source.op == "placeholder":
            assert isinstance(index, int)
            return self.inputs[index]
        if isinstance(index, int):
            return self.add("Gather", self._of(source), self.constant(np.int64(index)), axis=0)
        assert isinstance(index, slice)
        ends = (index.start or 0, np.iinfo(np.int64).max if index.stop is None else index.stop, 0)
        return self.add("Slice", self._of(source), *(self.constant(np.array([end], dtype=np.int64)) for end in ends))

    def _addcmul(self, node: fx.Node) -> str:
        added, *factors = (self._of(argument) for argument in node.args)
        return self.add("Add", self.add("Mul", *factors), added)

    def _gelu(self, node: fx.Node) -> str:
        features = self._of(node.args[0])
        inner = self.add("Erf", self.add("Div", features, self._of(math.sqrt(2))))
        halved = self.add("Mul", self.add("Mul", features, self.add("Add", inner, self._of(1.0))), self._of(0.5))
        return halved

    def _shuffle(self, node: fx.Node) -> str:
        features, stride = node.args
        if stride == 1:
            return self._of(features)
        return self.add("DepthToSpace", self._of(features), blocksize=stride, mode="CRD")

    def _concatenate(self, node: fx.Node) -> str:
        parts: Any = node.args[0]
        return self.add("Concat", *(self._of(part) for part in parts), axis=node.kwargs["dim"])

    def _plain(self, kind: str, node: fx.Node) -> str:
        return self.add(kind, *(self._of(argument) for argument in node.args))


def _named(kind: str) -> Callable[[_Graph, fx.Node], str]:
    return lambda graph, node: graph._plain(kind, node)


_TRANSLATIONS: dict[Any, Callable[[_Graph, fx.Node], str]] = {
    operator.getitem: _Graph._getitem,
    operator.add: _named("Add"),
    operator.mul: _named("Mul"),
    torch.tanh: _named("Tanh"),
    "sin": _named("Sin"),
    torch.addcmul: _Graph._addcmul,
    torch.cat: _Graph._concatenate,
    functional.conv2d: _Graph._conv2d,
    torch.conv2d: _Graph._conv2d,
    functional.gelu: _Graph._gelu,
    functional.pixel_shuffle: _Graph._shuffle,
}


def _attribute(root: nn.Module, path: str) -> Tensor:
    found: Any = root
    for name in path.split("."):
        found = getattr(found, name)
    assert isinstance(found, Tensor)
    return found
