"""A GPU as torch sees it: one stream, buffers at fixed addresses, and graphs of what it was given.

**Not run** on a GPU yet; tests run what stands on it on a device of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from numpy.typing import NDArray

from dvla.engines.errors import MissingDependency
from dvla.engines.tensors import TensorSpec
from dvla.engines.torch_library import library


class TorchBuffer:
    """One tensor on the device, with pinned host memory where it travels.

    Args:
        tensor: on the device.
        pinned: on the host, or nothing.
    """

    def __init__(self, tensor: Any, pinned: Any | None) -> None:
        self.tensor, self._pinned = tensor, pinned
        self.address = int(tensor.data_ptr())
        self.host: NDArray[Any] | None = None if pinned is None else pinned.numpy()

    def upload(self) -> None:
        """Copy host to device, in the stream's order."""
        self.tensor.copy_(self._pinned, non_blocking=True)

    def download(self) -> None:
        """Copy device to host, in the stream's order."""
        assert self._pinned is not None  # Only what travels is downloaded.
        self._pinned.copy_(self.tensor, non_blocking=True)

    def free(self) -> None:
        """Give the memory back."""
        del self.tensor
        self._pinned = self.host = None


class TorchGraph:
    """A CUDA graph of torch."""

    def __init__(self, graph: Any) -> None:
        self._graph = graph

    def launch(self) -> None:
        """Put the recorded work into the current stream again."""
        self._graph.replay()

    def destroy(self) -> None:
        """Free the graph and its memory."""
        self._graph.reset()


class TorchDevice:
    """The first GPU."""

    def __init__(self) -> None:
        self.torch = library()
        self.stream = self.torch.cuda.Stream()

    @contextmanager
    def current(self) -> Iterator[None]:
        """Make the stream current on this thread for a while; nothing is differentiated in it."""
        with self.torch.inference_mode(), self.torch.cuda.stream(self.stream):
            yield

    def buffer(self, spec: TensorSpec, travels: bool = True) -> TorchBuffer:
        """Return memory for a tensor; raise a MissingDependency when the device has none left."""
        dtype = getattr(self.torch, spec.dtype)
        try:
            tensor = self.torch.zeros(spec.shape, dtype=dtype, device="cuda")
            pinned = self.torch.zeros(spec.shape, dtype=dtype, pin_memory=True) if travels else None
        except self.torch.OutOfMemoryError as error:
            raise no_memory(str(spec), error) from error
        return TorchBuffer(tensor, pinned)

    def capture(self, work: Callable[[], None]) -> TorchGraph:
        """Record what ``work`` puts into the stream, run nothing, and return it as a graph."""
        graph = self.torch.cuda.CUDAGraph()
        # A camera's or a recorder's thread may use the GPU meanwhile, without breaking the capture.
        with self.torch.cuda.graph(graph, stream=self.stream, capture_error_mode="thread_local"):
            work()
        return TorchGraph(graph)


def no_memory(wanted: str, error: Exception) -> MissingDependency:
    """Return the error of a GPU without memory for something."""
    return MissingDependency(
        f"The GPU has no memory left for {wanted}",
        got=str(error).split(". ", maxsplit=1)[0],
        next_command="end other programs on the GPU (nvidia-smi lists them)",
    )


@cache
def torch_device() -> TorchDevice:
    """Return the GPU of this process, taken on first use."""
    return TorchDevice()
