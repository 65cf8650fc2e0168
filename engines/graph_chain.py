"""Prefix and denoise as one CUDA graph: uploads, both engines, downloads, one launch per chunk.

A graph replays addresses, not names. They are fixed once and compared before every launch: what
changed an address after the capture is refused, never captured again. Prompts, states and frames
are data at those addresses, so none of them can make another graph.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dvla.engines.errors import EngineMismatch
from dvla.engines.tensors import Arrays, GraphSpec, TensorSpec, check_arrays

WARM_UPS = 2
# Kernels may add in another order from run to run; a wrong address gives other numbers altogether.
_AGREEMENT = 1e-2


class GraphBuffer(Protocol):
    """One tensor at a fixed device address, with a host side where it travels."""

    address: int
    host: NDArray[Any] | None

    def upload(self) -> None:
        """Copy host to device, in the stream's order."""

    def download(self) -> None:
        """Copy device to host, in the stream's order."""

    def free(self) -> None:
        """Give the device's memory back."""


class CapturedGraph(Protocol):
    """Recorded work of a stream."""

    def launch(self) -> None:
        """Put the recorded work into the stream again."""

    def destroy(self) -> None:
        """Free the graph."""


class GraphStream(Protocol):
    """Where work runs in its order."""

    def synchronize(self) -> object:
        """Wait until all of it was done."""


class GraphDevice(Protocol):
    """Context, memory and one stream, which can record what is put into it."""

    @property
    def stream(self) -> GraphStream:
        """The one stream."""

    def current(self) -> AbstractContextManager[None]:
        """Make the device current on this thread for a while."""

    def buffer(self, spec: TensorSpec, travels: bool = True) -> GraphBuffer:
        """Return memory for a tensor."""

    def capture(self, work: Callable[[], None]) -> CapturedGraph:
        """Record what ``work`` puts into the stream."""


class GraphEngine(Protocol):
    """A loaded engine whose runs can be recorded."""

    @property
    def graph(self) -> GraphSpec:
        """Its declared tensors."""

    def bind(self, name: str, buffer: Any) -> None:
        """Give a tensor its place on the device."""

    def bound(self, name: str) -> int:
        """Return the device address of a tensor."""

    def enqueue(self) -> None:
        """Put one run into the device's stream."""


class GraphChain:
    """Loaded engines, captured as one graph when the chain is made.

    Args:
        engines: in their order; a tensor that one gives and a later one takes stays on the device.
        device: context and stream.

    Attributes:
        captures: how often a graph was captured: once, for ever.

    Raises:
        EngineMismatch: the replayed graph does not give what the engines give.
    """

    def __init__(self, engines: tuple[GraphEngine, ...], device: GraphDevice) -> None:
        self._engines, self._device = engines, device
        given = {spec.name for engine in engines[:-1] for spec in engine.graph.outputs}
        taken = [spec for engine in engines for spec in engine.graph.inputs]
        self.inputs: tuple[TensorSpec, ...] = tuple(
            {spec.name: spec for spec in taken if spec.name not in given}.values()
        )
        self.outputs = engines[-1].graph.outputs
        self.captures = 0
        self._buffers: dict[str, GraphBuffer] = {}
        self._graph: CapturedGraph | None = None
        try:
            with device.current():
                self._allocate()
                self._addresses = self._bound()
                for _ in range(WARM_UPS):
                    self._enqueue()
                device.stream.synchronize()
                self._graph = device.capture(self._enqueue)
                self.captures += 1
                self._prove(self._graph)
        except BaseException:
            self.close()
            raise

    def _allocate(self) -> None:
        travels = {spec.name for spec in (*self.inputs, *self.outputs)}
        for engine in self._engines:
            for spec in (*engine.graph.inputs, *engine.graph.outputs):
                if spec.name not in self._buffers:
                    buffer = self._device.buffer(spec, travels=spec.name in travels)
                    self._buffers[spec.name] = buffer
                    if buffer.host is not None:
                        buffer.host[...] = 0
                engine.bind(spec.name, self._buffers[spec.name])

    def _enqueue(self) -> None:
        for spec in self.inputs:
            self._buffers[spec.name].upload()
        for engine in self._engines:
            engine.enqueue()
        for spec in self.outputs:
            self._buffers[spec.name].download()

    def _bound(self) -> list[int]:
        return [
            engine.bound(spec.name)
            for engine in self._engines
            for spec in (*engine.graph.inputs, *engine.graph.outputs)
        ]

    def _prove(self, graph: CapturedGraph) -> None:
        """Raise unless the graph gives, for two prompts and states, what the engines give."""
        for turn in range(2):
            self._fill(turn)
            self._enqueue()
            self._device.stream.synchronize()
            wanted = self._results()
            graph.launch()
            self._device.stream.synchronize()
            for name, array in self._results().items():
                limit = _AGREEMENT * float(np.abs(wanted[name]).max() or 1.0)
                if not np.abs(array - wanted[name]).max() <= limit:
                    raise EngineMismatch(
                        "The captured CUDA graph does not give what its engines give",
                        got=f"{name} differs by {np.abs(array - wanted[name]).max():.3g}",
                        expected=f"at most {limit:.3g}",
                    )
        self._refuse_moved()

    def _fill(self, turn: int) -> None:
        """Put other data into every input: token ids stay small, weights of the guide zero."""
        random = np.random.default_rng(turn)
        for spec in self.inputs:
            host = self._buffers[spec.name].host
            assert host is not None  # Inputs travel.
            if spec.name == "prev_weight":
                host[...] = 0
            elif host.dtype.kind == "f":
                host[...] = random.standard_normal(host.shape)
            elif host.dtype.kind == "b":
                host[...] = np.arange(host.size).reshape(host.shape) <= 3 + turn
            else:
                host[...] = random.integers(0, 100, host.shape)

    def _refuse_moved(self) -> None:
        """Raise unless every tensor still has the address that was captured."""
        if self._bound() != self._addresses:
            raise EngineMismatch(
                "A tensor moved after the CUDA graph was captured, so the graph is not launched",
                next_command="close the pipeline and load it again",
            )

    def run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Launch the graph once on new data.

        Args:
            inputs: every input that no engine of the chain gives.

        Returns:
            The last engine's outputs.
        """
        assert self._graph is not None  # Not closed.
        check_arrays("chain", "input", self.inputs, inputs)
        self._refuse_moved()
        for name, array in inputs.items():
            host = self._buffers[name].host
            assert host is not None  # Inputs travel.
            np.copyto(host, array)
        with self._device.current():
            self._graph.launch()
            self._device.stream.synchronize()
        return self._results()

    def _results(self) -> dict[str, NDArray[Any]]:
        return {spec.name: np.array(self._buffers[spec.name].host) for spec in self.outputs}

    def close(self) -> None:
        """Free the graph and the buffers."""
        with self._device.current():
            if self._graph is not None:
                self._graph.destroy()
                self._graph = None
            for buffer in self._buffers.values():
                buffer.free()
        self._buffers = {}
