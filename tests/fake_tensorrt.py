"""TensorRT, pycuda and the CUDA driver as one small machine that records what it is asked to do.

Device memory is a dictionary from addresses to arrays. A stream runs its work at once, except while
a graph is being captured: then it is recorded, and runs when the graph is launched.
"""

from __future__ import annotations

import enum
import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

Compute = Callable[[dict[str, NDArray[Any]]], dict[str, NDArray[Any]]]


class Machine:
    """One fake GPU.

    Args:
        capability: of the device.
        version: of TensorRT.
    """

    def __init__(self, capability: tuple[int, int] = (8, 9), version: str = "10.3.0") -> None:
        self.capability, self.version = capability, version
        self.calls: list[str] = []
        self.memory: dict[int, NDArray[Any]] = {}
        self.free_allocations = 1000
        self.refuses: set[str] = set()
        self.errors: list[str] = []
        self.computes: dict[str, Compute] = {}
        self.wrong_replay = False
        self.contexts: list[Any] = []
        self.depth = 0
        self._recorded: list[Callable[[], None]] | None = None

    def enqueue(self, name: str, work: Callable[[], None]) -> None:
        assert self.depth == 1, f"{name} without a current context"
        self.calls.append(name)
        if self._recorded is None:
            work()
        else:
            self._recorded.append(work)

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Put the fakes where the real libraries would be."""
        for name, module in (
            ("tensorrt", self._tensorrt()),
            ("pycuda", ModuleType("pycuda")),
            ("pycuda.driver", self._pycuda()),
            ("cuda", ModuleType("cuda")),
            ("cuda.bindings", ModuleType("cuda.bindings")),
            ("cuda.bindings.driver", self._bindings()),
        ):
            monkeypatch.setitem(sys.modules, name, module)

    def _pycuda(self) -> ModuleType:
        machine, module = self, ModuleType("pycuda.driver")

        class OutOfMemory(Exception):
            pass

        class Allocation:
            def __init__(self, size: int) -> None:
                if machine.free_allocations == 0:
                    raise OutOfMemory("cuMemAlloc failed: out of memory")
                machine.free_allocations -= 1
                self.address = 4096 * (len(machine.memory) + 1)
                machine.memory[self.address] = np.zeros(size, np.uint8)

            def __int__(self) -> int:
                return self.address

            def free(self) -> None:
                machine.calls.append("free")

        def upload(target: Allocation, host: NDArray[Any], stream: Any) -> None:
            def work() -> None:
                machine.memory[int(target)][...] = host.reshape(-1).view(np.uint8)

            machine.enqueue("upload", work)

        def download(host: NDArray[Any], source: Allocation, stream: Any) -> None:
            def work() -> None:
                host.reshape(-1).view(np.uint8)[...] = machine.memory[int(source)]

            machine.enqueue("download", work)

        class Context:
            def push(self) -> None:
                machine.depth += 1

            def pop(self) -> None:
                machine.depth -= 1

        module.__dict__.update(
            init=lambda: None,
            Device=lambda _: SimpleNamespace(retain_primary_context=Context),
            Stream=lambda: SimpleNamespace(
                handle=7, synchronize=lambda: machine.calls.append("synchronize")
            ),
            MemoryError=OutOfMemory,
            mem_alloc=Allocation,
            pagelocked_empty=np.empty,
            memcpy_htod_async=upload,
            memcpy_dtoh_async=download,
        )
        return module

    def _bindings(self) -> ModuleType:
        machine, module = self, ModuleType("cuda.bindings.driver")

        def begin(stream: int, mode: str) -> tuple[int]:
            assert mode == "thread local"
            machine.calls.append("begin capture")
            machine._recorded = []
            return (0,)

        def end(stream: int) -> tuple[int, Any]:
            machine.calls.append("end capture")
            recorded, machine._recorded = machine._recorded, None
            return 0, recorded

        def launch(graph: list[Callable[[], None]], stream: int) -> tuple[int]:
            machine.calls.append("launch")
            for work in graph:
                work()
            if machine.wrong_replay:
                for array in machine.memory.values():
                    array[...] = 0
                graph[-1]()
            return (0,)

        attribute = {75: machine.capability[0], 76: machine.capability[1]}
        module.__dict__.update(
            cuInit=lambda _: (0,),
            cuDeviceGet=lambda _: (0, 0),
            cuDeviceGetName=lambda size, _: (0, b"Fake GPU\0\0"),
            cuDeviceGetAttribute=lambda which, _: (0, attribute[which]),
            CUdevice_attribute=int,
            CUstreamCaptureMode=SimpleNamespace(CU_STREAM_CAPTURE_MODE_THREAD_LOCAL="thread local"),
            cuStreamBeginCapture=begin,
            cuStreamEndCapture=end,
            cuGraphInstantiate=lambda graph, flags: (0, graph),
            cuGraphDestroy=lambda graph: (0,),
            cuGraphLaunch=launch,
            cuGraphExecDestroy=lambda graph: machine.calls.append("destroy") or (0,),
        )
        return module

    def _tensorrt(self) -> ModuleType:
        machine, module = self, ModuleType("tensorrt")
        types = {
            "float32": "FLOAT", "int64": "INT64", "bool": "BOOL", "uint8": "UINT8",
        }  # fmt: skip

        class Context:
            def __init__(self, plan: dict[str, Any]) -> None:
                self.plan = plan
                self.addresses: dict[str, int] = {}
                machine.contexts.append(self)

            def set_tensor_address(self, name: str, address: int) -> bool:
                self.addresses[name] = address
                return "address" not in machine.refuses

            def get_tensor_address(self, name: str) -> int:
                return self.addresses[name]

            def execute_async_v3(self, stream: int) -> bool:
                assert stream == 7

                def work() -> None:
                    tensors = {
                        t["name"]: machine.memory[self.addresses[t["name"]]]
                        .view(t["dtype"])
                        .reshape(t["shape"])
                        for t in self.plan["tensors"]
                    }
                    for name, array in machine.computes[self.plan["name"]](tensors).items():
                        tensors[name][...] = array

                machine.enqueue(f"execute {self.plan['name']}", work)
                return "execute" not in machine.refuses

        class Engine:
            device_memory_size_v2 = 12_000_000

            def __init__(self, plan: dict[str, Any]) -> None:
                self.plan, self.num_io_tensors = plan, len(plan["tensors"])

            def get_tensor_name(self, index: int) -> str:
                return str(self.plan["tensors"][index]["name"])

            def _tensor(self, name: str) -> dict[str, Any]:
                return next(t for t in self.plan["tensors"] if t["name"] == name)

            def get_tensor_shape(self, name: str) -> tuple[int, ...]:
                return tuple(self._tensor(name)["shape"])

            def get_tensor_dtype(self, name: str) -> Any:
                return SimpleNamespace(name=types[self._tensor(name)["dtype"]])

            def create_execution_context(self) -> Context | None:
                return None if "context" in machine.refuses else Context(self.plan)

        class Runtime:
            def __init__(self, logger: Any) -> None:
                assert machine.depth == 1

            def deserialize_cuda_engine(self, plan: Any) -> Engine | None:
                if "plan" in machine.refuses:
                    return None
                return Engine(msgspec.json.decode(bytes(plan)))

        class Logger:
            ERROR = 1

            def __init__(self, level: int) -> None:
                self.level = level

        module.__dict__.update(
            __version__=machine.version, Runtime=Runtime, Logger=Logger, **self._compiler()
        )
        return module

    def _compiler(self) -> dict[str, Any]:
        machine = self

        class ILogger:
            Severity = enum.Enum("Severity", "INTERNAL_ERROR ERROR WARNING")

        class Cache:
            def __init__(self, content: bytes) -> None:
                self.content = content

            def serialize(self) -> bytes:
                return self.content + b"+measured"

        class Config:
            max_aux_streams = 4

            def clear_flag(self, flag: str) -> None:
                machine.calls.append(f"clear {flag}")

            def create_timing_cache(self, content: bytes) -> Cache:
                return Cache(content)

            def set_timing_cache(self, cache: Cache, ignore: bool) -> bool:
                machine.calls.append(f"timing cache {cache.content!r}")
                return not cache.content.startswith(b"foreign")

        class Builder:
            def __init__(self, logger: Any) -> None:
                self.logger = logger

            def create_network(self, flags: int) -> Any:
                assert flags == 2, "strongly typed, and nothing else"
                return SimpleNamespace(num_layers=3)

            def create_builder_config(self) -> Config:
                return Config()

            def build_serialized_network(self, network: Any, config: Config) -> bytes | None:
                assert config.max_aux_streams == 0
                for message in machine.errors:
                    self.logger.log(ILogger.Severity.ERROR, message)
                return None if machine.errors else bytes(machine.plan)

        class OnnxParser:
            num_errors = 1

            def __init__(self, network: Any, logger: Any) -> None:
                pass

            def parse_from_file(self, path: str) -> bool:
                machine.calls.append("parse")
                return "parse" not in machine.refuses

            def get_error(self, index: int) -> Any:
                return SimpleNamespace(desc=lambda: "no such operator")

        return {
            "ILogger": ILogger,
            "Builder": Builder,
            "OnnxParser": OnnxParser,
            "BuilderFlag": SimpleNamespace(TF32="TF32"),
            "NetworkDefinitionCreationFlag": SimpleNamespace(STRONGLY_TYPED=1),
        }

    plan: bytes = b"a plan"


def plan_of(graph: Any) -> bytes:
    """Return what the fake runtime reads as the plan of a graph."""
    tensors = [
        {"name": spec.name, "shape": spec.shape, "dtype": spec.dtype}
        for spec in (*graph.inputs, *graph.outputs)
    ]
    return msgspec.json.encode({"name": graph.name, "tensors": tensors})
