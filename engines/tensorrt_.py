"""TensorRT on one GPU: plans that ``dvla-export`` compiled, replayed as one CUDA graph.

An engine here never compiles: that takes minutes and belongs to the export. What it loads was
compiled for just this device and this version, by the bundle's own graphs (see ``CompiledStore``).
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from dvla.engines.base import Engine
from dvla.engines.cache import FP32, BackendIdentity
from dvla.engines.chain import Chain
from dvla.engines.cuda_ import Buffer, cuda_device
from dvla.engines.errors import EngineMismatch, MissingDependency
from dvla.engines.graph_chain import GraphChain
from dvla.engines.tensorrt_library import PROPER, can_run, gpu, library
from dvla.engines.tensors import Arrays

NO_GPU = "none"
# The typed graphs follow from the float32 ones; a change of the rules makes other engines.
TYPING_VERSION = "1"
_FP8_FROM = (8, 9)
_BF16_FROM = (8, 0)
_TYPES = {
    "float32": "FLOAT", "float16": "HALF", "int64": "INT64", "int32": "INT32", "bool": "BOOL",
    "uint8": "UINT8",
}  # fmt: skip


class TensorRtEngine(Engine):
    """One plan on one GPU."""

    backend: ClassVar[str] = "tensorrt"
    compiled_by_export: ClassVar[bool] = True

    @classmethod
    def identity(cls) -> BackendIdentity:
        """Return the version of TensorRT, the GPU's name and its compute capability."""
        trt, device = library(), gpu()
        return BackendIdentity(
            backend=cls.backend,
            version=f"{trt.__name__} {trt.__version__}",
            device=device.name if device else NO_GPU,
            capability="{}.{}".format(*device.capability) if device else NO_GPU,
            options={"strongly_typed": "1", "tf32": "0", "typing": TYPING_VERSION},
        )

    @classmethod
    def precisions(cls) -> tuple[str, ...]:
        """Return what the GPU has; without a GPU all, because all can be compiled."""
        device = gpu()
        capability = device.capability if device else _FP8_FROM
        found = [FP32, "fp16"]
        found += ["bf16"] if capability >= _BF16_FROM else []
        found += ["fp8"] if capability >= _FP8_FROM else []
        return tuple(found)

    @classmethod
    def can_run(cls) -> bool:
        """Whether this machine has TensorRT proper and a GPU."""
        return can_run()

    def _load_impl(self) -> None:
        trt = library()
        if not can_run():
            raise MissingDependency(
                "TensorRT engines run on a GPU with TensorRT",
                got=f"{trt.__name__} {trt.__version__}, GPU: {self.identity().device}",
                expected=f"{PROPER}, and a CUDA driver",
                next_command="use --backend onnxruntime or openvino here",
            )
        stored = self.compiled.find(self.graph.name) if self.compiled else None
        if stored is None:
            raise EngineMismatch(
                f"The bundle holds no TensorRT engine of {self.graph.name} for this machine",
                got=f"{self.identity().device}, {trt.__name__} {trt.__version__}",
                next_command=self._rebuild_command(),
            )
        self._device = cuda_device()
        self._specs = (*self.graph.inputs, *self.graph.outputs)
        self._buffers: dict[str, Buffer] | None = None
        with self._device.current():
            self._logger = trt.Logger(trt.Logger.ERROR)
            self._runtime = trt.Runtime(self._logger)
            engine = self._runtime.deserialize_cuda_engine(np.memmap(stored, np.uint8, "r"))
            if engine is None:
                raise EngineMismatch(
                    f"TensorRT refuses the engine of {self.graph.name}",
                    next_command=self._rebuild_command(),
                )
            self._engine = engine
            self._check_declaration()
            context = engine.create_execution_context()
            if context is None:
                raise MissingDependency(
                    f"The GPU has no memory left for the engine of {self.graph.name}",
                    got=f"{_memory_bytes(engine) / 1e6:.0f} MB wanted",
                    next_command="end other programs on the GPU (nvidia-smi lists them)",
                )
            self.context = context

    def _rebuild_command(self) -> str:
        bundle = self.onnx_path.parent.parent
        return (
            f"dvla-export {bundle} --verify --backend {self.backend} --precision {self.precision}"
        )

    def _check_declaration(self) -> None:
        """Raise an EngineMismatch unless the plan has the declared tensors."""
        engine = self._engine
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        in_plan = {
            (name, tuple(engine.get_tensor_shape(name)), engine.get_tensor_dtype(name).name)
            for name in names
        }
        declared = {(spec.name, spec.shape, _TYPES[spec.dtype]) for spec in self._specs}
        if in_plan != declared:
            raise EngineMismatch(
                f"The engine of {self.graph.name} does not have the tensors of the manifest",
                got=sorted(in_plan - declared),
                expected=str(sorted(declared - in_plan)),
                next_command=self._rebuild_command(),
            )

    def bind(self, name: str, buffer: Buffer) -> None:
        """Give a tensor its place on the device."""
        if not self.context.set_tensor_address(name, buffer.address):
            raise EngineMismatch(f"TensorRT refuses the address of {name} of {self.graph.name}")

    def bound(self, name: str) -> int:
        """Return the device address of a tensor."""
        return int(self.context.get_tensor_address(name))

    def enqueue(self) -> None:
        """Put one run into the device's stream."""
        if not self.context.execute_async_v3(self._device.stream.handle):
            raise EngineMismatch(
                f"TensorRT could not run {self.graph.name}",
                next_command=self._rebuild_command(),
            )

    def chained(self, following: Engine) -> Chain | None:
        """Return this engine and the following one as one CUDA graph."""
        if not isinstance(following, TensorRtEngine):
            return None
        return GraphChain((self, following), cuda_device())

    def _run_impl(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        with self._device.current():
            buffers = self._bound_buffers()
            for name, array in inputs.items():
                np.copyto(_host(buffers[name]), array)
                buffers[name].upload()
            self.enqueue()
            for spec in self.graph.outputs:
                buffers[spec.name].download()
            self._device.stream.synchronize()
            return {spec.name: _host(buffers[spec.name]).copy() for spec in self.graph.outputs}

    def _bound_buffers(self) -> dict[str, Buffer]:
        """Return buffers of this engine alone, made when it first runs outside a chain."""
        if self._buffers is None:
            self._buffers = {spec.name: self._device.buffer(spec) for spec in self._specs}
        for name, buffer in self._buffers.items():
            self.bind(name, buffer)
        return self._buffers

    def _close_impl(self) -> None:
        with self._device.current():
            for buffer in (self._buffers or {}).values():
                buffer.free()
            self._buffers = None
            del self.context, self._engine, self._runtime


def _host(buffer: Buffer) -> NDArray[Any]:
    assert buffer.host is not None  # Made with a host side.
    return buffer.host


def _memory_bytes(engine: Any) -> int:
    newer = getattr(engine, "device_memory_size_v2", None)
    return int(engine.device_memory_size if newer is None else newer)
