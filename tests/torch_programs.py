"""Programs of the torch engine without their compiler: the very modules, run as they are.

What AOTInductor makes of them is tested in ``test_torch_compiled.py``, which takes minutes.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from dvla.engines import compile_process, torch_, torch_device, torch_library
from dvla.engines.compile_process import Answer, Request
from dvla.export.torch_process import module_of


class Programs:
    """A compiler that keeps the modules, and a loader that runs them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.compiled: list[str] = []
        self.loaded: list[str] = []
        self._modules: dict[str, Any] = {}
        monkeypatch.setattr(compile_process, "compile_in_child", self._compile)
        monkeypatch.setattr(torch_, "load_program", self._load)

    def _compile(self, onnx: Path, program: Path, *_: Any, command: Any) -> Answer:
        assert command[-1] == "dvla.export.torch_process"
        request = Request(onnx=str(onnx), plan=str(program))
        assert msgspec.json.decode(msgspec.json.encode(request), type=Request) == request
        module, example = module_of(program.stem, onnx)
        name = f"{program.stem}-{len(self.compiled)}"
        self._modules[name] = (module, [each.shape for each in example])
        self.compiled.append(program.stem)
        program.write_text(name)
        return Answer(size_bytes=len(name))

    def _load(self, stored: Path, single_threaded: bool) -> Any:
        module, shapes = self._modules[stored.read_text()]
        self.loaded.append(stored.stem)

        def run(inputs: list[Any]) -> list[Any]:
            assert [each.shape for each in inputs] == shapes
            return list(module(*inputs))

        return SimpleNamespace(run=run)


class RecordingDevice(torch_device.TorchDevice):
    """A GPU that is the CPU: it records what is put into its stream while it captures."""

    def __init__(self) -> None:
        self.torch = torch_library.library()
        self.stream = SimpleNamespace(synchronize=lambda: None)
        self.captures = self.launches = 0

    @contextmanager
    def current(self) -> Any:
        with self.torch.inference_mode():
            yield

    def buffer(self, spec: Any, travels: bool = True) -> torch_device.TorchBuffer:
        dtype = getattr(self.torch, spec.dtype)
        host = self.torch.zeros(spec.shape, dtype=dtype) if travels else None
        return torch_device.TorchBuffer(self.torch.zeros(spec.shape, dtype=dtype), host)

    def capture(self, work: Callable[[], None]) -> Any:
        self.captures += 1

        def replay() -> None:
            self.launches += 1
            work()

        return torch_device.TorchGraph(SimpleNamespace(replay=replay, reset=lambda: None))
