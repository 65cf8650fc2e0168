"""Strongly typed graphs: the number format of every value is written into the ONNX.

TensorRT 11 has no precision flags, so the graph decides. Of a reduced graph, the convolutions of
the vision and the products of the transformer are reduced; all between them is float32: statistics
of norms, softmax and its mask, rotary embedding, residual stream, time, Euler state, the maps into
and out of the sample, and the resize. That costs little: those tensors have 20 or 86 rows.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from dvla.engines.cache import FP32
from dvla.engines.errors import UsageError
from dvla.export.typed_weights import WeightsReader, WeightsWriter
from dvla.export.unroll import varying_values

FLOAT, FLOAT16, BFLOAT16, FLOAT8, UINT8 = 1, 10, 16, 17, 2  # Element types of ONNX.
FLOAT8_MAX = 448.0
# Their result has the number format of what they move.
_MOVING = {
    "Concat", "Expand", "Gather", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze",
}  # fmt: skip
_VISION_FLOAT = {"LayerNormalization", "ReduceMean", "Softmax"}
# Weights of products that stay in float32: resize, positions, state, and the Euler state's maps.
_FLOAT_WEIGHTS = {"rows", "columns", "counting", "state", "state_1", "action_in", "action_out"}
_EMBEDDING = "embed_tokens.weight"


class Typing(msgspec.Struct, frozen=True, kw_only=True):
    """Element types of ONNX for the vision and for the transformer's products.

    Attributes:
        vision: of convolutions; bfloat16 is not valid there before opset 22.
        transformer: of products.
        quantized: products with weights take float8 (E4M3) factors, scaled.
        embedding: of the token table.
    """

    vision: int
    transformer: int
    quantized: bool = False
    embedding: int = FLOAT16


TYPINGS: dict[str, Typing] = {
    FP32: Typing(vision=FLOAT, transformer=FLOAT, embedding=FLOAT),
    "fp16": Typing(vision=FLOAT16, transformer=FLOAT16),
    "bf16": Typing(vision=FLOAT16, transformer=BFLOAT16),
    "fp8": Typing(vision=FLOAT16, transformer=BFLOAT16, quantized=True),
}


def typing_of(precision: str) -> Typing:
    """Return what a precision means for each part; raise a UsageError for an unknown one."""
    if precision not in TYPINGS:
        raise UsageError("Unknown typed precision", got=repr(precision), choices=TYPINGS)
    return TYPINGS[precision]


def write_typed(
    source: Path,
    target: Path,
    precision: str,
    largest: dict[str, float] | None = None,
    *,
    emulated: bool = False,
) -> None:
    """Write the typed form of a float32 graph, its weights beside it in ``<target>.data``.

    Weights are read and written one at a time, each once, however many nodes share it.

    Args:
        source: float32 ONNX file with its external weights.
        target: ONNX file to write; inputs and outputs keep their names, shapes and dtypes.
        precision: one of ``TYPINGS``.
        largest: of ``fp8``: the largest magnitude of each product's first factor, by the name of
            the product's output (see ``dvla.export.typed_fp8``).
        emulated: write a float32 graph that rounds wherever the typed one would, and accumulates in
            float32 as tensor cores do: any CPU can run it.

    Raises:
        UsageError: the precision is unknown, or a weight does not fit its number format.
    """
    import onnx

    typing = typing_of(precision)
    model = onnx.load(str(source), load_external_data=False)
    with WeightsWriter(target.parent / f"{target.name}.data") as weights:
        reader = WeightsReader(model.graph.initializer, source.parent)
        _Typist(model.graph, typing, reader, weights, largest or {}, emulated).rewrite()
    onnx.save(model, str(target))


class _Typist:
    """One pass over a graph: what every node computes in, then casts where formats meet."""

    def __init__(
        self,
        graph: Any,
        typing: Typing,
        reader: WeightsReader,
        writer: WeightsWriter,
        largest: dict[str, float],
        emulated: bool,
    ) -> None:
        self._graph, self._typing, self._largest = graph, typing, largest
        self._reader, self._writer, self._emulated = reader, writer, emulated
        self._types = element_types(graph)
        self._nodes: list[Any] = []
        self._cast: dict[tuple[str, int], str] = {}
        self._format = {value.name: FLOAT for value in graph.input}
        convolved = {name for n in graph.node if n.op_type == "Conv" for name in n.output}
        inputs = {value.name for value in graph.input} - {"frames"}
        self._vision = varying_values(graph.node, convolved) - varying_values(graph.node, inputs)
        self._uses: dict[str, list[Any]] = defaultdict(list)
        for node in graph.node:
            for name in node.input:
                self._uses[name].append(node)

    def rewrite(self) -> None:
        """Replace the graph's nodes and initialisers."""
        formats = self._formats()
        for node, computed_in in zip(self._graph.node, formats, strict=True):
            self._emit(node, computed_in)
        del self._graph.node[:]
        self._graph.node.extend(self._nodes)
        del self._graph.initializer[:]
        self._graph.initializer.extend(self._writer.tensors)

    def _computed_in(self, node: Any) -> int | None:
        """Return the element type that a node computes in; nothing where it only moves."""
        kind, typing = node.op_type, self._typing
        if kind == "Gather" and node.input[0] == _EMBEDDING:
            return typing.embedding
        if kind in _MOVING:
            return None
        if node.output[0] in self._vision:
            uses = self._uses[node.output[0]]
            scores = kind == "Mul" and all(use.op_type == "Softmax" for use in uses)
            return FLOAT if scores or kind in _VISION_FLOAT else typing.vision
        if kind == "MatMul" and not _FLOAT_WEIGHTS.intersection(node.input):
            return typing.transformer
        return FLOAT

    def _formats(self) -> list[int]:
        """Return the element type of every node; what moves takes the one that its users want."""
        wanted: dict[str, set[int]] = defaultdict(set)
        for value in self._graph.output:
            wanted[value.name].add(FLOAT)
        formats = []
        for node in reversed(self._graph.node):
            computed_in = self._computed_in(node)
            if computed_in is None:
                users = set().union(*(wanted[name] for name in node.output))
                computed_in = users.pop() if len(users) == 1 else FLOAT
            formats.append(computed_in)
            for name in node.input:
                wanted[name].add(computed_in)
        return formats[::-1]

    def _emit(self, node: Any, computed_in: int) -> None:
        """Append a node with its inputs cast to what it computes in."""
        quantized = (
            self._typing.quantized
            and node.op_type == "MatMul"
            and computed_in == self._typing.transformer
            and node.input[1] in self._reader
        )
        if quantized:
            node.input[:] = self._quantized(node)
        else:
            node.input[:] = [self._as(name, computed_in) if name else name for name in node.input]
        if node.op_type == "Transpose" and self._types[node.input[0]] == UINT8:
            self._move_bytes(node)
            return
        outputs = list(node.output)
        rounds = (
            self._emulated and computed_in != FLOAT and node.op_type not in _MOVING
        ) and self._types[outputs[0]] == FLOAT
        if rounds:
            node.output[0] = f"{outputs[0]}_unrounded"
        self._nodes.append(node)
        if rounds:
            self._round(node.output[0], outputs[0], computed_in)
        for name in outputs:
            self._format[name] = computed_in

    def _move_bytes(self, node: Any) -> None:
        """Cast the frames before they are moved: TensorRT takes bytes in, but moves none."""
        frames = node.input[0]
        if frames in self._format:
            self._add("Cast", [frames], f"{frames}_float", to=FLOAT)
        node.input[0] = f"{frames}_float"
        self._types[node.output[0]] = FLOAT
        self._format[node.output[0]] = FLOAT
        self._nodes.append(node)

    def _as(self, name: str, wanted: int) -> str:
        """Return the name of a value in a number format, cast once for all its users."""
        if name in self._reader:
            return self._weight(name, wanted if self._reader.is_float(name) else None)
        if self._types[name] != FLOAT or self._format[name] == wanted:
            return name
        if self._emulated and wanted == FLOAT:
            return name
        if (name, wanted) not in self._cast:
            cast = f"{name}_{_SUFFIX[wanted]}"
            if self._emulated:
                self._round(name, cast, wanted)
            else:
                self._add("Cast", [name], cast, to=wanted)
            self._types[cast], self._format[cast] = FLOAT, wanted
            self._cast[name, wanted] = cast
        return self._cast[name, wanted]

    def _round(self, name: str, rounded: str, wanted: int) -> None:
        self._add("Cast", [name], f"{rounded}_stored", to=wanted)
        self._add("Cast", [f"{rounded}_stored"], rounded, to=FLOAT)

    def _weight(self, name: str, wanted: int | None) -> str:
        """Return the name of a weight in a number format, written when it is first asked for."""
        written = name if wanted in (None, FLOAT) else f"{name}_{_SUFFIX[wanted]}"
        if written not in self._writer:
            array = self._reader.read(name)
            if wanted not in (None, FLOAT):
                array = self._rounded(name, array, wanted)
            self._writer.add(written, array)
        return written

    def _rounded(self, name: str, array: NDArray[Any], wanted: int) -> NDArray[Any]:
        with np.errstate(over="ignore"):
            rounded = array.astype(numpy_type(wanted))
        if not np.isfinite(rounded.astype(np.float32)).all():
            raise UsageError(
                f"Weight {name} does not fit the number format {_SUFFIX[wanted]}",
                got=f"up to {np.abs(array).max():g}",
                next_command="export in another precision",
            )
        return rounded.astype(np.float32) if self._emulated else rounded

    def _quantized(self, node: Any) -> list[str]:
        """Return the two factors of a product in scaled float8."""
        name, weight = node.input
        if node.output[0] not in self._largest:
            raise UsageError(
                f"fp8 has no calibrated scale for the product {node.output[0]}",
                next_command="calibrate the float32 graph first (dvla.export.typed_fp8)",
            )
        inner = self._typing.transformer
        scale = f"{node.output[0]}_scale"
        self._add_scale(scale, np.array(self._largest[node.output[0]] / FLOAT8_MAX), inner)
        if "float8_zero" not in self._writer:
            self._writer.add("float8_zero", np.zeros((), numpy_type(FLOAT8)))
        stored, factor = f"{node.output[0]}_float8", f"{node.output[0]}_factor"
        self._add("QuantizeLinear", [self._as(name, inner), scale, "float8_zero"], stored)
        self._add("DequantizeLinear", [stored, scale], factor)
        return [factor, self._quantized_weight(weight, inner)]

    def _quantized_weight(self, weight: str, inner: int) -> str:
        """Return a weight (in, out) as float8 with a scale per output column."""
        factor = f"{weight}_factor"
        if (weight, FLOAT8) not in self._cast:
            array = self._reader.read(weight)
            columns = np.maximum(np.abs(array).max(axis=0) / FLOAT8_MAX, 1e-12)
            scales = self._add_scale(f"{weight}_scale", columns, inner)
            scaled = np.clip(array / scales, -FLOAT8_MAX, FLOAT8_MAX)
            self._writer.add(f"{weight}_float8", scaled.astype(numpy_type(FLOAT8)))
            inputs = [f"{weight}_float8", f"{weight}_scale"]
            self._add("DequantizeLinear", inputs, factor, axis=1)
            self._cast[weight, FLOAT8] = factor
        return factor

    def _add_scale(self, name: str, scale: NDArray[Any], inner: int) -> NDArray[Any]:
        """Write a scale in the format of what it scales, and return it as it was rounded."""
        rounded = scale.astype(np.float32).astype(numpy_type(inner))
        back: NDArray[Any] = rounded.astype(np.float32)
        self._writer.add(name, back if self._emulated else rounded)
        return back

    def _add(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> None:
        from onnx import helper

        self._nodes.append(helper.make_node(operator, inputs, [output], output, **attributes))


_SUFFIX = {FLOAT: "fp32", FLOAT16: "fp16", BFLOAT16: "bf16", FLOAT8: "fp8"}


def numpy_type(element_type: int) -> np.dtype[Any]:
    """Return the NumPy dtype of an element type; ``ml_dtypes`` brings those that NumPy lacks."""
    from onnx import helper

    return np.dtype(helper.tensor_dtype_to_np_dtype(element_type))


def element_types(graph: Any) -> dict[str, int]:
    """Return the element type of every value of a graph, without its weights."""
    types = {value.name: value.type.tensor_type.elem_type for value in graph.input}
    types |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Cast":
            found = next(a.i for a in node.attribute if a.name == "to")
        else:  # Every other operator in use gives what it takes; Where after its condition.
            found = types[node.input[1 if node.op_type == "Where" else 0]]
        types.update({name: found for name in node.output if name})
    return types
