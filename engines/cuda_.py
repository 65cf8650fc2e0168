"""CUDA for engines: pycuda owns context, stream and buffers; cuda-bindings captures graphs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dvla.engines.errors import EngineMismatch, MissingDependency
from dvla.engines.tensors import TensorSpec


class Buffer:
    """One tensor at a fixed device address, with pinned host memory where it travels.

    Args:
        device: owns the memory.
        spec: shape and dtype.
        travels: whether it has a host side.
    """

    def __init__(self, device: CudaDevice, spec: TensorSpec, travels: bool) -> None:
        self._device = device
        dtype = np.dtype(spec.dtype)
        self._memory = device.driver.mem_alloc(max(int(np.prod(spec.shape)) * dtype.itemsize, 1))
        self.address = int(self._memory)
        self.host: NDArray[Any] | None = (
            device.driver.pagelocked_empty(spec.shape, dtype) if travels else None
        )

    def upload(self) -> None:
        """Copy host to device, in the stream's order."""
        self._device.driver.memcpy_htod_async(self._memory, self.host, self._device.stream)

    def download(self) -> None:
        """Copy device to host, in the stream's order."""
        self._device.driver.memcpy_dtoh_async(self.host, self._memory, self._device.stream)

    def free(self) -> None:
        """Give the device's memory back."""
        self._memory.free()


class CudaDevice:
    """The first GPU: its primary context and one stream."""

    def __init__(self) -> None:
        try:
            self.driver = import_module("pycuda.driver")
            self._bindings = import_module("cuda.bindings.driver")
        except ModuleNotFoundError as error:
            raise MissingDependency(
                "Engines on a GPU need pycuda and cuda-bindings",
                got=str(error),
                next_command="pip install 'dvla[tensorrt]'",
            ) from error
        self.driver.init()
        self._context = self.driver.Device(0).retain_primary_context()
        with self.current():
            self.stream = self.driver.Stream()

    @contextmanager
    def current(self) -> Iterator[None]:
        """Make the context current on this thread for a while."""
        self._context.push()
        try:
            yield
        finally:
            self._context.pop()

    def buffer(self, spec: TensorSpec, travels: bool = True) -> Buffer:
        """Return memory for a tensor; raise a MissingDependency when the device has none left."""
        try:
            return Buffer(self, spec, travels)
        except self.driver.MemoryError as error:
            raise MissingDependency(
                f"The GPU has no memory left for {spec}",
                got=str(error),
                next_command="end other programs on the GPU (nvidia-smi lists them)",
            ) from error

    def capture(self, work: Callable[[], None]) -> CudaGraph:
        """Record what ``work`` puts into the stream, run nothing, and return it as a graph."""
        bindings, handle = self._bindings, self.stream.handle
        mode = bindings.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        self._call("cuStreamBeginCapture", handle, mode)
        try:
            work()
        finally:
            (graph,) = self._call("cuStreamEndCapture", handle)
        (instance,) = self._call("cuGraphInstantiate", graph, 0)
        self._call("cuGraphDestroy", graph)
        return CudaGraph(
            lambda: self._call("cuGraphLaunch", instance, handle),
            lambda: self._call("cuGraphExecDestroy", instance),
        )

    def _call(self, name: str, *arguments: Any) -> list[Any]:
        status, *values = list(getattr(self._bindings, name)(*arguments))
        if int(status) != 0:
            raise EngineMismatch(
                f"{name} failed", got=f"CUDA status {status}", next_command="run again with --debug"
            )
        return values


class CudaGraph:
    """Recorded work of a stream; ``launches`` counts how often it was started."""

    def __init__(self, launch: Callable[[], object], destroy: Callable[[], object]) -> None:
        self._launch, self._destroy = launch, destroy
        self.launches = 0

    def launch(self) -> None:
        """Put the recorded work into the stream again."""
        self._launch()
        self.launches += 1

    def destroy(self) -> None:
        """Free the graph."""
        self._destroy()


@cache
def cuda_device() -> CudaDevice:
    """Return the GPU of this process, taken on first use."""
    return CudaDevice()
