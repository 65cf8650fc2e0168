"""What a pair of graphs is made of: the dims, and a graph of one input that is being written."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from dvla.export.unroll import Nodes

EPS = 1e-5
Array = NDArray[Any]


class Sizes(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The dims that the pairs need; the defaults are the full size.

    Attributes:
        hidden, mlp: of the language model; expert_hidden, expert_mlp: of the action expert.
        heads, kv_heads, head_dim: of both.
        image_tokens: of all cameras; prefix: tokens of images, padded instruction and state.
        layers, joint_layers, cross_layers: all of the expert, and its two kinds.
        chunk, action_dim, steps: actions, their padded width, Euler steps.
        cameras: seen at once.
        stage: channels, height and width of the vision's largest stage; stage_blocks: its blocks.
    """

    hidden: int = 960
    mlp: int = 2560
    expert_hidden: int = 720
    expert_mlp: int = 2048
    heads: int = 15
    kv_heads: int = 5
    head_dim: int = 64
    image_tokens: int = 72
    prefix: int = 121
    layers: int = 16
    joint_layers: int = 8
    cross_layers: int = 8
    chunk: int = 20
    action_dim: int = 32
    steps: int = 10
    cameras: int = 2
    stage: tuple[int, int, int] = (384, 24, 24)
    stage_blocks: int = 24


class Half(msgspec.Struct, frozen=True):
    """One side of a pair: a graph from ``x`` to ``y``, and how often it runs in a chunk."""

    nodes: list[Any]
    constants: dict[str, Array]
    times: int


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """One rewrite.

    Attributes:
        name: of the rewrite.
        done: whether the export does it.
        shape: of the input.
        before, after: the same function of it; nothing is left where ``after`` is absent.
    """

    name: str
    done: bool
    shape: tuple[int, ...]
    before: Half
    after: Half | None


class Draft(Nodes):
    """A graph of one input and one output that is being written."""

    def __init__(self) -> None:
        super().__init__([], {})

    def op(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Append an operator and return the name of what it gives."""
        return self.add(operator, inputs, f"v{len(self.nodes)}", **attributes)

    def constant(self, value: Array) -> str:
        """Return the name of a constant."""
        name = f"c{len(self.constants)}"
        self.constants[name] = value
        return name

    def ints(self, *values: int) -> str:
        """Return the name of a constant of integers."""
        return self.constant(np.array(values, np.int64))

    def number(self, value: float) -> str:
        """Return the name of a float32 number."""
        return self.constant(np.array(value, np.float32))

    def product(self, x: str, weight: Array) -> str:
        """Multiply with a weight (in, out)."""
        return self.op("MatMul", x, self.constant(weight))

    def norm(self, x: str, weight: Array | None) -> str:
        """Append an RMSNorm, with its weight or without."""
        squared = self.op("Pow", x, self.number(2.0))
        mean = self.op("ReduceMean", squared, self.ints(-1), keepdims=1)
        root = self.op("Sqrt", self.op("Add", mean, self.number(EPS)))
        y = self.op("Div", x, root)
        return y if weight is None else self.op("Mul", y, self.constant(weight))

    def end(self, y: str, times: int = 1) -> Half:
        """Name the output and return the graph."""
        self.add("Identity", [y], "y")
        return Half(self.nodes, self.constants, times)


def seeded_weight(*shape: int) -> Array:
    """Return a weight that neither grows nor shrinks what it multiplies."""
    rng = np.random.default_rng(shape)
    weight: Array = rng.standard_normal(shape, np.float32)
    return weight / np.float32(math.sqrt(shape[0]))
