"""ONNX Runtime on the CPU: the backend that every installation has.

Loading an ONNX file optimises the graph and copies every weight into the order in which the
processor multiplies it. Both are kept in the bundle, where the export has put them: the weights,
packed, in a file of their own, which is mapped and which processes share.
"""

from __future__ import annotations

import logging
import platform
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import onnxruntime as ort
from numpy.typing import NDArray

from dvla.engines.base import Engine
from dvla.engines.cache import BackendIdentity
from dvla.engines.compiled import weights_name
from dvla.engines.errors import BundleError
from dvla.engines.isa import cpu_capability
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
# Smaller weights stay in the graph's own file.
_APART_FROM_BYTES = "1024"
_REBUILD = "export the bundle again: dvla-export MODEL -o BUNDLE --overwrite"
_log = logging.getLogger(__name__)


class OnnxRuntimeEngine(Engine):
    """One ONNX graph in one CPU session."""

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

    @classmethod
    def compiled_identity(cls) -> BackendIdentity:
        """Return the identity with the instruction sets: packed weights suit no others.

        The engine itself is not bound to them, because ONNX Runtime packs anew where they differ.
        """
        return msgspec.structs.replace(cls.identity(), capability=cpu_capability())

    def _load_impl(self) -> None:
        stored = self.compiled.find(self.graph.name) if self.compiled else None
        session = self._stored_session(stored) if stored else None
        self._is_stored = session is not None
        self._session = session or self._session_of(self.onnx_path, self._session_options())
        self._check_declaration(self._session.get_inputs(), self.graph.inputs)
        self._check_declaration(self._session.get_outputs(), self.graph.outputs)
        self._output_names = [spec.name for spec in self.graph.outputs]

    def _session_options(self) -> ort.SessionOptions:
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
        return options

    def _session_of(self, path: Path, options: ort.SessionOptions) -> ort.InferenceSession:
        try:
            return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime has no common error class of its own.
            raise BundleError(
                f"ONNX Runtime cannot load {path}",
                got=str(error).strip().splitlines()[0][:300],
                next_command=_REBUILD,
            ) from error

    def _stored_session(self, stored: Path) -> ort.InferenceSession | None:
        """Return a session of a stored graph; nothing if ONNX Runtime refuses it."""
        options = self._session_options()
        # It was optimised when it was stored.
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            return self._session_of(stored, options)
        except BundleError as error:
            _log.warning("The compiled graph %s is not used: %s", stored, error)
            return None

    def save_compiled(self) -> bool:
        """Keep the optimised graph and its packed weights, and return whether it could be kept."""
        if self.compiled is None:
            return False
        if not self._is_stored:
            del self._session  # Two sessions at once would hold the weights twice.
            self.compiled.save_written(self.graph.name, self._write)
        return True

    def _write(self, folder: Path) -> None:
        """Make the session again, which writes itself into a folder while it is made."""
        options, name = self._session_options(), self.graph.name
        options.optimized_model_filepath = str(folder / f"{name}.compiled")
        for entry, value in {
            "session.optimized_model_external_initializers_file_name": weights_name(name),
            "session.optimized_model_external_initializers_min_size_in_bytes": _APART_FROM_BYTES,
            "session.save_external_prepacked_constant_initializers": "1",
        }.items():
            options.add_session_config_entry(entry, value)
        self._session = self._session_of(self.onnx_path, options)

    def _check_declaration(self, found: list[Any], declared: tuple[TensorSpec, ...]) -> None:
        """Raise a BundleError when the file declares other tensors than the manifest does."""
        in_file = {(t.name, tuple(t.shape), _DTYPES.get(t.type, t.type)) for t in found}
        in_manifest = {(spec.name, spec.shape, spec.dtype) for spec in declared}
        if in_file != in_manifest:
            raise BundleError(
                f"{self.onnx_path} does not declare the tensors that the manifest declares",
                got=sorted(in_file - in_manifest),
                expected=str(sorted(in_manifest - in_file)),
                next_command=_REBUILD,
            )

    def _run_impl(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        outputs = self._session.run(self._output_names, dict(inputs))
        return dict(zip(self._output_names, outputs, strict=True))

    def _close_impl(self) -> None:
        self.__dict__.pop("_session", None)  # It is gone where storing it failed.
