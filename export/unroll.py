"""All Euler steps from one: unroll the step graph at ONNX level, with shared weights.

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


class Nodes:
    """Nodes and constants of a graph that is being written."""

    def __init__(self, nodes: list[Node], constants: dict[str, NDArray[Any]]) -> None:
        self.nodes, self.constants = nodes, constants

    def add(self, operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """Append a node, which has its output's name, and return that name."""
        from onnx import helper

        self.nodes.append(helper.make_node(operator, inputs, [output], output, **attributes))
        return output


class Guide:
    """The soft mask of real-time chunking, after every Euler step: x (1 - w) + w (t e + (1 - t) y).

    y is the previous chunk's future, e the noise, w the weight of each action and t the flow time
    after the step. What does not depend on t stands before the first step: w y and w (e - y). Where
    all weights are zero, x times one plus zero is x to the last bit.

    Args:
        graph: takes the nodes.
        columns: A, width of the actions.
        width: D, width of the sample; the columns beyond A are pulled towards zero.
    """

    def __init__(self, graph: Nodes, columns: int, width: int) -> None:
        self._graph = graph
        graph.constants |= {
            "guide_one": np.array(1.0, np.float32),
            "guide_axis": np.array([1], np.int64),
            "guide_padding": np.array([0, 0, 0, width - columns], np.int64),
        }
        add = graph.add
        centred = add("Sub", ["prev_actions", "action_offset"], "prev_centred")
        normalised = add("Div", [centred, "action_scale"], "prev_normalised")
        target = add("Pad", [normalised, "guide_padding"], "guide_target")
        weight = add("Unsqueeze", ["prev_weight", "guide_axis"], "guide_weight")
        self._kept = add("Sub", ["guide_one", weight], "guide_kept")
        self._pull = add("Mul", [weight, target], "guide_pull")
        spread = add("Sub", ["noise", target], "guide_spread")
        self._drift = add("Mul", [weight, spread], "guide_drift")

    def apply(self, x: str, flow_time: float, suffix: str) -> str:
        """Pull the sample ``x`` at a flow time and return the result's name."""
        add, pull = self._graph.add, self._pull
        if flow_time > 0.0:
            self._graph.constants[f"flow_time{suffix}"] = np.array(flow_time, np.float32)
            moved = add("Mul", [self._drift, f"flow_time{suffix}"], f"guide_moved{suffix}")
            pull = add("Add", [pull, moved], f"guide_at{suffix}")
        kept = add("Mul", [x, self._kept], f"x_kept{suffix}")
        return add("Add", [kept, pull], f"x_guided{suffix}")


def unroll_denoise(
    step: Model,
    time_biases: NDArray[np.float32],
    flow_times: Sequence[float],
    action_scale: NDArray[np.float32],
    action_offset: NDArray[np.float32],
    *,
    guided: bool = True,
) -> Model:
    """Return the graph of all Euler steps, and of the un-normalisation after them.

    Args:
        step: model with the inputs ``x`` (H, D), ``time_bias`` (width,) and others, and the output
            ``velocity`` (H, D); its weights may be references to an external file.
        time_biases: (num_steps, width) float32: the time half of the embedding at each flow time.
        flow_times: num_steps + 1 times from 1 down to 0.
        action_scale: (A,) standard deviation of each action column.
        action_offset: (A,) mean of each action column.
        guided: with the soft mask of real-time chunking; without it, the plain sampler that the
            mask is measured against.

    Returns:
        A model with the inputs ``noise`` (H, D), ``prev_actions`` (H, A) and ``prev_weight`` (H,)
        where guided, and the others, and the output ``actions`` (H, A).
    """
    from onnx import helper, numpy_helper

    graph = step.graph
    varying = varying_values(graph.node, {"x", "time_bias"})
    nodes = [node for node in graph.node if not varying.intersection(node.output)]
    in_step = [node for node in graph.node if varying.intersection(node.output)]
    by_name = {value.name: value for value in graph.input}
    (rows, width), columns = _shape(by_name["x"]), len(action_scale)
    written = Nodes(
        nodes,
        {
            "step_size": np.array(1.0 / len(time_biases), np.float32),
            "action_columns": np.arange(columns, dtype=np.int64),
            "action_scale": action_scale,
            "action_offset": action_offset,
        },
    )
    guide = Guide(written, columns, width) if guided else None

    x = "noise"
    for index, (bias, next_time) in enumerate(zip(time_biases, flow_times[1:], strict=True)):
        suffix = f"_step{index}"
        written.constants[f"time_bias{suffix}"] = bias
        names = {"x": x, "time_bias": f"time_bias{suffix}"}
        nodes.extend(renamed_copies(in_step, names, suffix, varying))
        moved = written.add("Mul", [f"velocity{suffix}", "step_size"], f"displacement{suffix}")
        x = written.add("Sub", [x, moved], f"x{suffix}")
        if guide is not None:
            x = guide.apply(x, next_time, suffix)

    written.add("Gather", [x, "action_columns"], "normalised", axis=1)
    written.add("Mul", ["normalised", "action_scale"], "scaled")
    written.add("Add", ["scaled", "action_offset"], "actions")

    kept = [value for name, value in by_name.items() if name not in ("x", "time_bias")]
    shapes = {"noise": [rows, width]}
    if guided:
        shapes |= {"prev_actions": [rows, columns], "prev_weight": [rows]}
    own = [helper.make_tensor_value_info(name, 1, shape) for name, shape in shapes.items()]
    actions = helper.make_tensor_value_info("actions", 1, [rows, columns])
    baked = [numpy_helper.from_array(value, name) for name, value in written.constants.items()]
    unrolled = helper.make_graph(
        nodes, "denoise", [*kept, *own], [actions], [*graph.initializer, *baked]
    )
    return helper.make_model(
        unrolled, opset_imports=step.opset_import, ir_version=step.ir_version, producer_name="dvla"
    )


def _shape(value: Any) -> list[int]:
    return [dim.dim_value for dim in value.type.tensor_type.shape.dim]
