"""Ten Euler steps from one: unroll the step graph at ONNX level, with shared weights.

Through torch this takes minutes and yields ten traces to optimise. Here the nodes of one step are
copied under new names; weights stay where they are, in the external file that the step graph uses
too, and every node that depends on neither the sample nor the time is kept once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Node = Any
Model = Any


def varying_values(nodes: Sequence[Node], inputs: set[str]) -> set[str]:
    """Return the names of all values that depend on one of ``inputs``."""
    varying = set(inputs)
    for node in nodes:
        if varying.intersection(node.input):
            varying.update(name for name in node.output if name)
    return varying


def renamed_copies(
    nodes: Sequence[Node], names: Mapping[str, str], suffix: str, varying: set[str]
) -> Iterator[Node]:
    """Yield copies of nodes whose varying values get a suffix, or the name that ``names`` says."""
    from onnx import NodeProto

    def renamed(name: str) -> str:
        return names.get(name, name + suffix if name in varying else name)

    for node in nodes:
        copy = NodeProto()
        copy.CopyFrom(node)
        copy.name = node.name + suffix
        copy.input[:] = [renamed(name) for name in node.input]
        copy.output[:] = [renamed(name) if name else name for name in node.output]
        yield copy


def unroll_denoise(
    step: Model,
    time_biases: NDArray[np.float32],
    action_scale: NDArray[np.float32],
    action_offset: NDArray[np.float32],
) -> Model:
    """Return the graph of all Euler steps, and of the un-normalisation after them.

    Args:
        step: model with the inputs ``x`` (H, D), ``time_bias`` (width,) and others, and the output
            ``velocity`` (H, D); its weights may be references to an external file.
        time_biases: (num_steps, width) float32: the time half of the embedding at each flow time.
        action_scale: (A,) standard deviation of each action column.
        action_offset: (A,) mean of each action column.

    Returns:
        A model with the inputs ``noise`` (H, D) and the others, and the output ``actions`` (H, A).
    """
    from onnx import helper, numpy_helper

    graph = step.graph
    varying = varying_values(graph.node, {"x", "time_bias"})
    nodes = [node for node in graph.node if not varying.intersection(node.output)]
    in_step = [node for node in graph.node if varying.intersection(node.output)]
    constants: dict[str, NDArray[Any]] = {"step_size": np.array(1.0 / len(time_biases), np.float32)}

    x = "noise"
    for index, bias in enumerate(time_biases):
        suffix = f"_step{index}"
        constants[f"time_bias{suffix}"] = bias
        names = {"x": x, "time_bias": f"time_bias{suffix}"}
        nodes.extend(renamed_copies(in_step, names, suffix, varying))
        moved, following = f"displacement{suffix}", f"x{suffix}"
        nodes.append(helper.make_node("Mul", [f"velocity{suffix}", "step_size"], [moved], moved))
        nodes.append(helper.make_node("Sub", [x, moved], [following], following))
        x = following

    constants |= {"action_columns": np.arange(len(action_scale), dtype=np.int64)}
    constants |= {"action_scale": action_scale, "action_offset": action_offset}
    nodes += [
        helper.make_node("Gather", [x, "action_columns"], ["normalised"], "normalised", axis=1),
        helper.make_node("Mul", ["normalised", "action_scale"], ["scaled"], "scaled"),
        helper.make_node("Add", ["scaled", "action_offset"], ["actions"], "actions"),
    ]

    by_name = {value.name: value for value in graph.input}
    noise = helper.make_tensor_value_info("noise", 1, _shape(by_name["x"]))
    kept = [value for name, value in by_name.items() if name not in ("x", "time_bias")]
    rows = _shape(by_name["x"])[0]
    actions = helper.make_tensor_value_info("actions", 1, [rows, len(action_scale)])
    baked = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    unrolled = helper.make_graph(
        nodes, "denoise", [*kept, noise], [actions], [*graph.initializer, *baked]
    )
    return helper.make_model(
        unrolled, opset_imports=step.opset_import, ir_version=step.ir_version, producer_name="dvla"
    )


def _shape(value: Any) -> list[int]:
    return [dim.dim_value for dim in value.type.tensor_type.shape.dim]
