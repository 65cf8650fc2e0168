"""What a graph takes and gives: the declared tensors, and the check of arrays against them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from dvla.engines.errors import UsageError

Arrays = Mapping[str, NDArray[Any]]


class TensorSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One declared input or output of a graph.

    Attributes:
        name: the tensor's name in the graph.
        shape: its static shape.
        dtype: its NumPy dtype name (``float32``, ``uint8``, ``int64``, ``bool``).
        units: what its numbers mean, for people (``m, rad, -``).
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    units: str = "-"

    def empty(self) -> NDArray[Any]:
        """Return a zeroed array of this shape and dtype."""
        return np.zeros(self.shape, np.dtype(self.dtype))

    def __str__(self) -> str:
        return f"{self.name} {self.dtype}{list(self.shape)}"


class GraphSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The name and the declared tensors of one graph."""

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


def check_arrays(graph: str, side: str, specs: tuple[TensorSpec, ...], arrays: Arrays) -> None:
    """Raise a UsageError unless the arrays are exactly the declared ones.

    Args:
        graph: name of the graph, for the message.
        side: ``input`` or ``output``, for the message.
        specs: the declared tensors.
        arrays: the arrays by name.
    """
    names = [spec.name for spec in specs]
    if set(names) != set(arrays):
        missing = sorted(set(names) - set(arrays))
        unknown = sorted(set(arrays) - set(names))
        raise UsageError(
            f"Graph {graph}: its {side}s do not have the declared names",
            got=f"missing {missing}, unknown {unknown}",
            choices=names,
        )
    for spec in specs:
        array = arrays[spec.name]
        if array.shape != spec.shape or array.dtype != np.dtype(spec.dtype):
            raise UsageError(
                f"Graph {graph}: {side} {spec.name} does not have the declared shape and dtype",
                got=f"{array.dtype}{list(array.shape)}",
                expected=f"{spec.dtype}{list(spec.shape)}",
            )
