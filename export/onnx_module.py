"""An ONNX graph of a bundle as a torch module: the way to a compiler that takes torch programs.

The module computes what the graph says, cast by cast, so that the number formats that
``dvla.export.typed`` wrote are the ones that are compiled. Only the operators that the export
writes are known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dvla.engines.errors import BundleError
from dvla.export.torch_ import F, Tensor, nn, torch
from dvla.export.typed_weights import WeightsReader

Attributes = dict[str, Any]
Operator = Callable[[Sequence[Any], Attributes], Any]
_CONTROLS = {  # Inputs that say how to compute, and are numbers of the graph and not tensors.
    "Reshape": (1,), "Expand": (1,), "Slice": (1, 2, 3, 4), "Squeeze": (1,), "Unsqueeze": (1,),
    "Split": (1,), "ReduceMean": (1,), "ReduceSum": (1,), "Pad": (1,),
}  # fmt: skip


def _types() -> dict[int, Any]:
    """Return torch's number formats by ONNX's element types."""
    return {
        1: torch.float32, 2: torch.uint8, 6: torch.int32, 7: torch.int64, 9: torch.bool,
        10: torch.float16, 11: torch.float64, 16: torch.bfloat16,
    }  # fmt: skip


def _conv(inputs: Sequence[Any], attributes: Attributes) -> Tensor:
    x, weight, *bias = inputs
    pads = attributes.get("pads") or [0] * (2 * (weight.dim() - 2))
    half = len(pads) // 2
    if pads[:half] != pads[half:]:
        x = F.pad(x, _torch_padding(pads))
        pads = [0] * len(pads)
    return F.conv2d(
        x,
        weight,
        bias[0] if bias else None,
        attributes.get("strides", 1),
        pads[:half],
        attributes.get("dilations", 1),
        attributes.get("group", 1),
    )


def _torch_padding(pads: list[int]) -> list[int]:
    """Return ONNX's padding (all begins, all ends) as torch has it: last axis first."""
    half = len(pads) // 2
    return [side for axis in reversed(range(half)) for side in (pads[axis], pads[half + axis])]


def _gather(inputs: Sequence[Any], attributes: Attributes) -> Tensor:
    x: Tensor = inputs[0]
    index: Tensor = inputs[1]
    axis = int(attributes.get("axis", 0))
    found = x.index_select(axis, index.reshape(-1))
    return found.reshape(*x.shape[:axis], *index.shape, *x.shape[axis + 1 :])


def _select(inputs: Sequence[Any], attributes: Attributes) -> Tensor:
    """Take one known row: a view, where a gather would be a copy."""
    found: Tensor = inputs[0].select(attributes.get("axis", 0), int(inputs[1]))
    return found


def _expand(inputs: Sequence[Any], _attributes: Attributes) -> Tensor:
    """Broadcast both ways: an axis of the wanted shape that is 1 keeps the tensor's size."""
    x: Tensor = inputs[0]
    wanted = inputs[1]
    own = (1,) * (len(wanted) - x.dim()) + tuple(x.shape)
    return x.expand([a if b == 1 else b for a, b in zip(own, wanted, strict=True)])


def _slice(inputs: Sequence[Any], _attributes: Attributes) -> Tensor:
    x: Tensor = inputs[0]
    starts, ends, *rest = inputs[1:]
    axes = rest[0] if rest else range(len(starts))
    for axis, start, end in zip(axes, starts, ends, strict=False):
        size = x.shape[axis]
        low, high = (min(max(at + size if at < 0 else at, 0), size) for at in (start, end))
        x = x.narrow(axis, low, high - low)
    return x


def _split(inputs: Sequence[Any], attributes: Attributes) -> Any:
    axis = attributes.get("axis", 0)
    if len(inputs) > 1:
        return torch.split(inputs[0], inputs[1], axis)
    return torch.chunk(inputs[0], attributes["num_outputs"], axis)


def _unsqueeze(inputs: Sequence[Any], _attributes: Attributes) -> Tensor:
    x: Tensor = inputs[0]
    for axis in sorted(inputs[1]):
        x = x.unsqueeze(axis)
    return x


def _layer_norm(inputs: Sequence[Any], attributes: Attributes) -> Tensor:
    x, weight, *bias = inputs
    shape = x.shape[attributes.get("axis", -1) :]
    return F.layer_norm(x, shape, weight, bias[0] if bias else None, attributes["epsilon"])


def _sum(inputs: Sequence[Any], attributes: Attributes) -> Tensor:
    axes = inputs[1] if len(inputs) > 1 else list(range(inputs[0].dim()))
    found: Tensor = inputs[0].sum(axes, keepdim=bool(attributes.get("keepdims", 1)))
    return found


def _gelu(inputs: Sequence[Any], attributes: Attributes) -> Tensor:
    return F.gelu(inputs[0], approximate=attributes.get("approximate", b"none").decode())


OPERATORS: dict[str, Operator] = {
    "Add": lambda i, _: i[0] + i[1],
    "And": lambda i, _: i[0] & i[1],
    "Cast": lambda i, a: i[0].to(_types()[a["to"]]),
    "Concat": lambda i, a: torch.cat(list(i), a["axis"]),
    "Conv": _conv,
    "Div": lambda i, _: i[0] / i[1],
    "Expand": _expand,
    "Gather": _gather,
    "Gelu": _gelu,
    "LayerNormalization": _layer_norm,
    "MatMul": lambda i, _: i[0] @ i[1],
    "Mul": lambda i, _: i[0] * i[1],
    "Pow": lambda i, _: i[0] ** i[1],
    "ReduceMean": lambda i, a: i[0].mean(i[1], keepdim=bool(a.get("keepdims", 1))),
    "ReduceSum": _sum,
    "Relu": lambda i, _: torch.relu(i[0]),
    "Reshape": lambda i, _: i[0].reshape(i[1]),
    "Select": _select,
    "Sigmoid": lambda i, _: torch.sigmoid(i[0]),
    "Slice": _slice,
    "Softmax": lambda i, a: torch.softmax(i[0], a.get("axis", -1)),
    "Split": _split,
    "Sqrt": lambda i, _: torch.sqrt(i[0]),
    "Squeeze": lambda i, _: i[0].squeeze(i[1]) if len(i) > 1 else i[0].squeeze(),
    "Sub": lambda i, _: i[0] - i[1],
    "Transpose": lambda i, a: i[0].permute(a["perm"]),
    "Unsqueeze": _unsqueeze,
    "Where": lambda i, _: torch.where(i[0], i[1], i[2]),
}


class OnnxModule(nn.Module):
    """Some nodes of a graph, from values to values.

    Args:
        nodes: in an order in which each finds what it takes.
        weights: the graph's initialisers.
        inputs, outputs: names of the values.

    Raises:
        BundleError: a node has an operator that no export writes.
    """

    def __init__(
        self,
        nodes: Sequence[Any],
        weights: WeightsReader,
        inputs: Sequence[str],
        outputs: Sequence[str],
    ) -> None:
        super().__init__()
        self._names_in, self._names_out = tuple(inputs), tuple(outputs)
        self._buffer_of: dict[str, str] = {}
        self._steps: list[tuple[Operator, list[Any], Attributes, list[str]]] = []
        for node in nodes:
            self._steps.append(self._prepared(node, weights))
        for name in outputs:
            if name in weights:
                self._hold(name, weights)

    def _prepared(
        self, node: Any, weights: WeightsReader
    ) -> tuple[Operator, list[Any], Attributes, list[str]]:
        """Return what a node does: inputs are names, or numbers where they only say how."""
        from onnx import helper

        kind = node.op_type
        arguments: list[Any] = []
        for place, name in enumerate(node.input):
            if place in _CONTROLS.get(kind, ()):
                arguments.append(weights.read(name).reshape(-1).tolist())
                continue
            if name in weights:
                array = weights.read(name)
                if kind == "Gather" and place == 1 and array.ndim == 0:
                    kind = "Select"
                    arguments.append(int(array))
                    continue
                if kind == "Pow" and array.ndim == 0:
                    arguments.append(float(array))
                    continue
                self._hold(name, weights)
            arguments.append(name)
        if kind not in OPERATORS:
            raise BundleError(
                f"No operator {kind} is known to the torch backend",
                choices=sorted(OPERATORS),
                next_command="export the bundle again with this version of dvla",
            )
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        return OPERATORS[kind], arguments, attributes, list(node.output)

    def _hold(self, name: str, weights: WeightsReader) -> None:
        if name not in self._buffer_of:
            self._buffer_of[name] = f"w{len(self._buffer_of)}"
            self.register_buffer(self._buffer_of[name], tensor_of(weights.read(name)))

    def forward(self, *arguments: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs for the inputs, each in its declared order."""
        values: dict[str, Any] = dict(zip(self._names_in, arguments, strict=True))
        values |= {name: getattr(self, held) for name, held in self._buffer_of.items()}
        for operator, names, attributes, outputs in self._steps:
            taken = [values[each] if isinstance(each, str) else each for each in names]
            found = operator(taken, attributes)
            if len(outputs) == 1 and isinstance(found, Tensor):
                values[outputs[0]] = found
            else:
                values.update(zip(outputs, found, strict=True))
        return tuple(values[name] for name in self._names_out)


def tensor_of(array: Any) -> Tensor:
    """Return an array, of bfloat16 too, as a tensor with memory of its own."""
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(np.array(array).view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(np.array(array))


class Graph:
    """An ONNX file, read without its external weights.

    Args:
        path: its weights lie beside it.
    """

    def __init__(self, path: Path) -> None:
        import onnx

        model = onnx.load(str(path), load_external_data=False)
        self.nodes = list(model.graph.node)
        self.weights = WeightsReader(model.graph.initializer, path.parent)
        self.inputs = [value.name for value in model.graph.input]
        self._types = [value.type.tensor_type for value in model.graph.input]
        self.outputs = [value.name for value in model.graph.output]

    def module(self) -> OnnxModule:
        """Return the whole graph."""
        return OnnxModule(self.nodes, self.weights, self.inputs, self.outputs)

    def zeros(self) -> tuple[Tensor, ...]:
        """Return zeros of the declared shapes and types, in the order of the inputs."""
        return tuple(
            torch.zeros([dim.dim_value for dim in kind.shape.dim], dtype=_types()[kind.elem_type])
            for kind in self._types
        )
