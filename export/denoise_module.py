"""The denoise graph as two torch modules: what is computed once, and one Euler step.

A CUDA graph holds every launch of every step anyway, so a compiler needs to see one step only. What
depends on neither the sample nor the time (masks, rotary tables, the cast keys and values, the
guide's terms) is computed once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from dvla.export.onnx_module import Graph, OnnxModule, tensor_of
from dvla.export.torch_ import Tensor, nn, torch
from dvla.export.typed_weights import WeightsReader
from dvla.export.unroll import varying_values

_VARYING = ("x", "time_bias")
# A row of the table of times is the bias and the flow time; four numbers more keep it aligned.
TIME_PADDING = 4


class Once(nn.Module):
    """Keys, values, mask, noise and guide to all that every step needs.

    Args:
        step: the typed step graph.
        denoise: the float32 denoise graph, which has the tables of times and of actions.
    """

    table: Tensor
    scale: Tensor
    offset: Tensor

    def __init__(self, step: Graph, denoise: WeightsReader) -> None:
        super().__init__()
        self.names = shared_values(step)
        varying = varying_values(step.nodes, set(_VARYING))
        nodes = [node for node in step.nodes if not varying.intersection(node.output)]
        inputs = ("keys", "values", "token_mask")
        self.invariant = OnnxModule(nodes, step.weights, inputs, self.names)
        self.register_buffer("table", time_table(denoise))
        self.register_buffer("scale", tensor_of(denoise.read("action_scale")))
        self.register_buffer("offset", tensor_of(denoise.read("action_offset")))

    def forward(
        self,
        keys: Tensor,
        values: Tensor,
        token_mask: Tensor,
        noise: Tensor,
        prev_actions: Tensor,
        prev_weight: Tensor,
    ) -> tuple[Tensor, ...]:
        """Return the table of times (steps, width), kept, pull and drift, and the invariants."""
        normalised = (prev_actions - self.offset) / self.scale
        rest = noise.shape[1] - normalised.shape[1]
        target = nn.functional.pad(normalised, [0, rest])
        weight = prev_weight[:, None]
        guide = (1.0 - weight, weight * target, weight * (noise - target))
        shared = self.invariant(keys, values, token_mask)
        # The step is compiled for just these strides.
        return (self.table.clone(), *guide, *(each.contiguous() for each in shared))


class EulerStep(nn.Module):
    """One step of the flow, the guide behind it, and what the actions would be by now.

    Args:
        step: the typed step graph.
        denoise: the float32 denoise graph.
    """

    columns: int
    scale: Tensor
    offset: Tensor

    def __init__(self, step: Graph, denoise: WeightsReader) -> None:
        super().__init__()
        names = shared_values(step)
        varying = varying_values(step.nodes, set(_VARYING))
        nodes = [node for node in step.nodes if varying.intersection(node.output)]
        self.velocity = OnnxModule(nodes, step.weights, (*_VARYING, *names), ("velocity",))
        self.step_size = float(denoise.read("step_size"))
        self.register_buffer("scale", tensor_of(denoise.read("action_scale")))
        self.register_buffer("offset", tensor_of(denoise.read("action_offset")))

    def forward(
        self, x: Tensor, row: Tensor, kept: Tensor, pull: Tensor, drift: Tensor, *shared: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the next sample (H, D) and its actions (H, A), in physical units."""
        bias, flow_time = row[:-TIME_PADDING], row[-TIME_PADDING]
        (velocity,) = self.velocity(x, bias, *shared)
        moved = x - velocity * self.step_size
        moved = moved * kept + (pull + drift * flow_time)
        return moved, moved[:, : self.scale.shape[0]] * self.scale + self.offset


def shared_values(step: Graph) -> tuple[str, ...]:
    """Return the names of what the steps take and none of them changes."""
    varying = varying_values(step.nodes, set(_VARYING))
    made = {name for node in step.nodes if not varying.intersection(node.output)
            for name in node.output} | set(step.inputs) - set(_VARYING)  # fmt: skip
    used = [
        name
        for node in step.nodes
        if varying.intersection(node.output)
        for name in node.input
        if name in made
    ]
    return tuple(dict.fromkeys(used))


def time_table(denoise: WeightsReader) -> Tensor:
    """Return the (steps, width + padding) table of time biases and of the times after each step."""
    rows: list[Any] = []
    while f"time_bias_step{len(rows)}" in denoise:
        index = len(rows)
        bias = denoise.read(f"time_bias_step{index}")
        after = f"flow_time_step{index}"
        flow_time = float(denoise.read(after)) if after in denoise else 0.0
        rows.append(np.concatenate([bias, np.full(TIME_PADDING, flow_time, np.float32)]))
    return torch.from_numpy(np.stack(rows))


def denoise_modules(step: Path, denoise: Path) -> tuple[Once, EulerStep]:
    """Return both modules of a typed step graph and the float32 denoise graph beside it."""
    graph, tables = Graph(step), Graph(denoise).weights
    return Once(graph, tables).eval(), EulerStep(graph, tables).eval()
