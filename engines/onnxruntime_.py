"""ONNX Runtime on the CPU: the backend that every installation has."""

from __future__ import annotations

import platform
from typing import Any, ClassVar

import onnxruntime as ort
from numpy.typing import NDArray

from dvla.engines.base import Engine
from dvla.engines.cache import BackendIdentity
from dvla.engines.errors import BundleError
from dvla.engines.tensors import Arrays, TensorSpec

# ONNX Runtime names element types in its own words.
_DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(uint8)": "uint8",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(bool)": "bool",
}
_ERRORS_ONLY = 3


class OnnxRuntimeEngine(Engine):
    """One ONNX graph in one CPU session; weights are memory-mapped from their external file."""

    backend: ClassVar[str] = "onnxruntime"

    @classmethod
    def identity(cls) -> BackendIdentity:
        """Return the version of ONNX Runtime and this machine's architecture."""
        return BackendIdentity(
            backend=cls.backend,
            version=ort.__version__,
            device="cpu",
            capability=platform.machine(),
            options={"graph_optimization": "all"},
        )

    def _load_impl(self) -> None:
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.use_deterministic_compute = True
        options.log_severity_level = _ERRORS_ONLY
        if self.options.threads is not None:
            options.intra_op_num_threads = self.options.threads
        spinning = "1" if self.options.spinning else "0"
        options.add_session_config_entry("session.intra_op.allow_spinning", spinning)
        options.add_session_config_entry("session.inter_op.allow_spinning", spinning)
        try:
            self._session = ort.InferenceSession(
                str(self.onnx_path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime has no common error class of its own.
            raise BundleError(
                f"ONNX Runtime cannot load {self.onnx_path}",
                got=str(error).strip().splitlines()[0][:300],
                next_command="export the bundle again: dvla-export MODEL -o BUNDLE --overwrite",
            ) from error
        self._check_declaration(self._session.get_inputs(), self.graph.inputs)
        self._check_declaration(self._session.get_outputs(), self.graph.outputs)
        self._output_names = [spec.name for spec in self.graph.outputs]

    def _check_declaration(self, found: list[Any], declared: tuple[TensorSpec, ...]) -> None:
        """Raise a BundleError when the file declares other tensors than the manifest does."""
        in_file = {(t.name, tuple(t.shape), _DTYPES.get(t.type, t.type)) for t in found}
        in_manifest = {(spec.name, spec.shape, spec.dtype) for spec in declared}
        if in_file != in_manifest:
            raise BundleError(
                f"{self.onnx_path} does not declare the tensors that the manifest declares",
                got=sorted(in_file - in_manifest),
                expected=str(sorted(in_manifest - in_file)),
                next_command="export the bundle again: dvla-export MODEL -o BUNDLE --overwrite",
            )

    def _run_impl(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        outputs = self._session.run(self._output_names, dict(inputs))
        return dict(zip(self._output_names, outputs, strict=True))

    def _close_impl(self) -> None:
        del self._session
