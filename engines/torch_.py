"""PyTorch's ahead-of-time compiler: packages that ``dvla-export`` compiled, on a GPU or a CPU.

On a GPU, prefix and denoising are captured into one CUDA graph (``dvla.engines.graph_chain``).
On a CPU the same packages, compiled for it, run one after the other. A package is a shared library:
only one that this user compiled on this machine is loaded (``dvla.engines.built_here``).
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from dvla.engines.base import Engine
from dvla.engines.built_here import was_built_here
from dvla.engines.cache import FP32, BackendIdentity
from dvla.engines.chain import Chain
from dvla.engines.errors import EngineMismatch
from dvla.engines.graph_chain import GraphChain
from dvla.engines.isa import cpu_capability
from dvla.engines.tensors import Arrays
from dvla.engines.torch_device import TorchBuffer, no_memory, torch_device
from dvla.engines.torch_library import Program, library, load_program, on_gpu

# The typed graphs and the modules follow from the float32 graphs; other rules make other engines.
BUILD_VERSION = "1"
ONCE = "denoise_once"
_BF16_FROM = (8, 0)


class TorchEngine(Engine):
    """One graph as AOTInductor compiled it; the denoise graph is two programs and a loop."""

    backend: ClassVar[str] = "torch"
    compiled_by_export: ClassVar[bool] = True

    @classmethod
    def identity(cls) -> BackendIdentity:
        """Return torch's version, the GPU and its capability, or the CPU's instruction sets."""
        torch, gpu = library(), on_gpu()
        return BackendIdentity(
            backend=cls.backend,
            version=str(torch.__version__),
            device=torch.cuda.get_device_name(0) if gpu else "cpu",
            capability="{}.{}".format(*torch.cuda.get_device_capability(0))
            if gpu
            else cpu_capability(),
            options={"aotinductor": BUILD_VERSION, "tf32": "0"},
        )

    @classmethod
    def precisions(cls) -> tuple[str, ...]:
        """Return what the GPU has; a CPU has float32 here (OpenVINO is its engine for less)."""
        if not on_gpu():
            return (FP32,)
        has_bf16 = library().cuda.get_device_capability(0) >= _BF16_FROM
        return (FP32, "fp16", "bf16") if has_bf16 else (FP32, "fp16")

    @classmethod
    def packages_of(cls, graph: str) -> tuple[str, ...]:
        """Return the names under which the programs of a graph are stored."""
        return (ONCE, graph) if graph == "denoise" else (graph,)

    def _load_impl(self) -> None:
        torch = library()
        if self.options.threads is not None and not on_gpu():
            torch.set_num_threads(self.options.threads)
        self._buffers: dict[str, TorchBuffer] = {}
        self._programs = [self._load_program(name) for name in self.packages_of(self.graph.name)]

    def _load_program(self, name: str) -> Program:
        found = self.compiled.find_program(name) if self.compiled else None
        if found is None:
            raise EngineMismatch(
                f"The bundle holds no torch engine of {name} for this machine",
                got=f"{self.identity().device}, torch {self.identity().version}",
                next_command=self._rebuild_command(),
            )
        stored, sha256 = found
        if not was_built_here(sha256):
            raise EngineMismatch(
                f"The torch engine of {name} was not compiled by you on this machine, and a "
                "compiled program of somebody else is not started",
                next_command=self._rebuild_command(),
            )
        torch = library()
        try:
            return load_program(stored, single_threaded=on_gpu())
        except torch.OutOfMemoryError as error:
            raise no_memory(f"the engine of {name}", error) from error
        except RuntimeError as error:
            raise EngineMismatch(
                f"Torch refuses the engine of {name}",
                got=(str(error).strip().splitlines() or ["no reason"])[0][:300],
                next_command=self._rebuild_command(),
            ) from error

    def _rebuild_command(self) -> str:
        bundle = self.onnx_path.parent.parent
        return (
            f"dvla-export {bundle} --verify --backend {self.backend} --precision {self.precision}"
        )

    def forward(self, inputs: list[Any]) -> list[Any]:
        """Run on tensors of the device, in the order of the declared inputs."""
        if len(self._programs) == 1:
            return self._programs[0].run(inputs)
        once, step = self._programs
        x = inputs[[spec.name for spec in self.graph.inputs].index("noise")]
        table, *shared = once.run(inputs)
        actions = None
        for row in table:
            x, actions = step.run([x, row, *shared])
        return [actions]

    def bind(self, name: str, buffer: TorchBuffer) -> None:
        """Give a tensor its place on the device."""
        self._buffers[name] = buffer

    def bound(self, name: str) -> int:
        """Return the device address of a tensor."""
        return int(self._buffers[name].tensor.data_ptr())

    def enqueue(self) -> None:
        """Put one run into the current stream; results are copied to where they are bound."""
        found = self.forward([self._buffers[spec.name].tensor for spec in self.graph.inputs])
        for spec, tensor in zip(self.graph.outputs, found, strict=True):
            self._buffers[spec.name].tensor.copy_(tensor)

    def chained(self, following: Engine) -> Chain | None:
        """Return this engine and the following one as one CUDA graph, on a GPU."""
        if not isinstance(following, TorchEngine) or not on_gpu():
            return None
        return GraphChain((self, following), torch_device())

    def _run_impl(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        torch, place = library(), "cuda" if on_gpu() else "cpu"
        with torch.inference_mode():
            tensors = [
                torch.from_numpy(np.require(inputs[spec.name], None, ("C", "W"))).to(place)
                for spec in self.graph.inputs
            ]
            found = self.forward(tensors)
            return {
                spec.name: tensor.cpu().numpy()
                for spec, tensor in zip(self.graph.outputs, found, strict=True)
            }

    def forget_compiled(self) -> None:
        """Remove from the bundle the programs of this graph."""
        for name in self.packages_of(self.graph.name):
            if self.compiled is not None:
                self.compiled.remove(name)

    def _close_impl(self) -> None:
        self._buffers = {}
        del self._programs
