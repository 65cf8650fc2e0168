"""Two engines as one: what the first gives to the second never leaves the device."""

from __future__ import annotations

from typing import Any, Protocol

from numpy.typing import NDArray

from dvla.engines.tensors import Arrays


class Chain(Protocol):
    """Engines that run one after the other in one call."""

    def run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Run all of them on the inputs that none of them gives; return what the last gives."""

    def close(self) -> None:
        """Free what the chain took; the engines stay."""
