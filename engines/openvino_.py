"""OpenVINO on the CPU: float32, or bfloat16 where the processor multiplies it.

OpenVINO picks bfloat16 by itself on processors that have it, so the precision is always stated.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from dvla.engines.base import Engine
from dvla.engines.cache import BackendIdentity
from dvla.engines.errors import BundleError
from dvla.engines.isa import cpu_capability
from dvla.engines.tensors import Arrays, TensorSpec

if TYPE_CHECKING:
    import openvino as ov

_DEVICE = "CPU"
_HINTS = {"fp32": "f32", "bf16": "bf16"}
_WITHOUT_WEIGHTS = {"CACHE_MODE": "OPTIMIZE_SIZE"}
_REBUILD = "export the bundle again: dvla-export MODEL -o BUNDLE --overwrite"


def openvino() -> ModuleType:
    """Return the library, loaded on first use: this module imports without it."""
    return import_module("openvino")


@cache
def core() -> ov.Core:
    """Return the library's core, the only one of this process.

    A core's CPU plugin sets the thread's alternate signal stack and frees it with itself. Where a
    second core was made in between, that stack is left set when its memory is gone, and the next
    signal that Python handles ends the process (seen with OpenVINO 2026.4).
    """
    return openvino().Core()


class OpenVinoEngine(Engine):
    """One ONNX graph, compiled for this CPU and one stream of inferences."""

    backend: ClassVar[str] = "openvino"

    @classmethod
    def identity(cls) -> BackendIdentity:
        """Return the version of OpenVINO, and the instruction sets that its code depends on."""
        return BackendIdentity(
            backend=cls.backend,
            version=openvino().get_version(),
            device="cpu",
            capability=cpu_capability(),
            options={"performance_hint": "latency", "streams": "1", "snippets": "disabled"},
        )

    @classmethod
    def compiled_identity(cls) -> BackendIdentity:
        """Return that, and that its compiled graphs read their weights from the ONNX's file."""
        here = cls.identity()
        return msgspec.structs.replace(here, options=here.options | {"weights": "of the ONNX"})

    @classmethod
    def precisions(cls) -> tuple[str, ...]:
        """Return fp32, and bf16 where this processor has it: emulated it would only be slower."""
        has_bf16 = "BF16" in core().get_property(_DEVICE, "OPTIMIZATION_CAPABILITIES")
        return ("fp32", "bf16") if has_bf16 else ("fp32",)

    def _load_impl(self) -> None:
        self._weights = external_weights(self.onnx_path)
        stored = self.compiled.find(self.graph.name) if self.compiled else None
        compiled = self._import(stored) if stored else None
        self._is_stored = compiled is not None
        try:
            self._compiled = compiled or core().compile_model(
                core().read_model(self.onnx_path), _DEVICE, self._properties()
            )
        except Exception as error:  # OpenVINO raises RuntimeError for everything.
            raise BundleError(
                f"OpenVINO cannot load {self.onnx_path}",
                got=_first_line(error),
                next_command=_REBUILD,
            ) from error
        self._check_declaration(self._compiled.inputs, self.graph.inputs)
        self._check_declaration(self._compiled.outputs, self.graph.outputs)
        self._request = self._compiled.create_infer_request()

    def _properties(self) -> dict[str, Any]:
        """Return what the compiler is told.

        Threads are not pinned: a pinned thread waits behind whatever else runs on its core, the
        servo loop included, while another core is idle. They sleep when there is nothing to do.
        Snippets, which fuse attention, are off: in 2026.4 they drop the transposition after an
        attention of as many heads as tokens, and its result is wrong by as much as its size.
        """
        properties: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": _HINTS[self.precision],
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": "1",
            "ENABLE_CPU_PINNING": False,
            "ENABLE_MMAP": True,
            "SNIPPETS_MODE": "DISABLE",
        }
        if self.options.threads is not None:
            properties["INFERENCE_NUM_THREADS"] = self.options.threads
        if self._weights is not None:
            properties |= _WITHOUT_WEIGHTS
        return properties

    def _import(self, stored: Path) -> ov.CompiledModel | None:
        """Return a stored compiled model, its weights mapped; nothing if OpenVINO refuses it."""
        properties = self._properties()
        if self._weights is not None:
            properties["WEIGHTS_PATH"] = str(self._weights)
        try:
            self._mapped = np.memmap(stored, np.uint8, "r")
            tensor = openvino().Tensor(self._mapped)
            return core().import_model(tensor, _DEVICE, properties)
        except RuntimeError:
            return None

    def _check_declaration(self, found: list[Any], declared: tuple[TensorSpec, ...]) -> None:
        """Raise a BundleError when the file declares other tensors than the manifest does."""
        in_file = {
            (port.get_any_name(), tuple(port.shape), np.dtype(port.element_type.to_dtype()).name)
            for port in found
        }
        in_manifest = {(spec.name, spec.shape, spec.dtype) for spec in declared}
        if in_file != in_manifest:
            raise BundleError(
                f"{self.onnx_path} does not declare the tensors that the manifest declares",
                got=sorted(in_file - in_manifest),
                expected=str(sorted(in_manifest - in_file)),
                next_command=_REBUILD,
            )

    def _run_impl(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        outputs = self._request.infer(dict(inputs), share_inputs=True, share_outputs=False)
        return {port.get_any_name(): array for port, array in outputs.items()}

    def save_compiled(self) -> bool:
        """Keep the compiled graph in the bundle, and return whether it could be kept."""
        if self.compiled is None:
            return False
        if self._is_stored:
            return True
        with self._compiled.export_model() as exported:
            self.compiled.save(self.graph.name, exported.getbuffer())
        return True

    def _close_impl(self) -> None:
        del self._request, self._compiled
        self.__dict__.pop("_mapped", None)


def external_weights(onnx_path: Path) -> Path | None:
    """Return the one file beside an ONNX graph that holds its weights; None if they are in it.

    The graph names the file in plain text. A compiled graph without weights of its own is a two
    hundredth of its size, and is loaded without a second copy of them in memory.
    """
    content = onnx_path.read_bytes()
    named = [p for p in onnx_path.parent.glob("*.data") if p.name.encode() in content]
    return named[0] if len(named) == 1 else None


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
