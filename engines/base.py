"""The contract of an engine: one tensor graph on one backend.

The base class checks, measures and keeps the life cycle; a backend fills in ``_load_impl``,
``_run_impl`` and ``_close_impl``, and names itself in ``identity``.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar

import msgspec
from numpy.typing import NDArray

from dvla.engines.cache import FP32, BackendIdentity
from dvla.engines.chain import Chain
from dvla.engines.compiled import CompiledStore
from dvla.engines.errors import UsageError
from dvla.engines.tensors import Arrays, GraphSpec, check_arrays


class EngineOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How an engine may use this machine; none of it changes which engine it is.

    Attributes:
        threads: threads of one run; ``None`` lets the backend choose.
        spinning: idle threads spin instead of sleeping. A spinning pool takes a core from the
            servo loop, so it is off unless a benchmark asks for it.
    """

    threads: int | None = None
    spinning: bool = False


class Engine(ABC):
    """One graph, loaded on one backend.

    Use it as a context manager, or call ``load`` and ``close``. ``run`` checks names, shapes and
    dtypes on the way in and on the way out, so that a wrong array never becomes a wrong motion.

    Args:
        graph: the declared inputs and outputs.
        onnx_path: the ONNX file; its external weights lie beside it.
        options: threads and spinning.
        precision: number format of the arithmetic, one of ``precisions()``; part of the key.
        compiled: where the backend finds, and ``save_compiled`` keeps, its compiled graph.

    Raises:
        UsageError: this backend does not have the precision, here.
    """

    backend: ClassVar[str]
    # Whether the export compiles its graphs, which takes minutes, and this class only loads them.
    compiled_by_export: ClassVar[bool] = False

    def __init__(
        self,
        graph: GraphSpec,
        onnx_path: Path,
        options: EngineOptions | None = None,
        *,
        precision: str = FP32,
        compiled: CompiledStore | None = None,
    ) -> None:
        self.check_precision(precision)
        self.precision = precision
        self.compiled = compiled
        self.graph = graph
        self.onnx_path = onnx_path
        self.options = options or EngineOptions()
        self.load_s = 0.0
        self.last_run_s = 0.0
        self._loaded = False

    @classmethod
    @abstractmethod
    def identity(cls) -> BackendIdentity:
        """Return what engines of this backend run on, on this machine."""

    @classmethod
    def compiled_identity(cls) -> BackendIdentity:
        """Return what its compiled graphs run on, which may be less than its engines run on."""
        return cls.identity()

    @classmethod
    def precisions(cls) -> tuple[str, ...]:
        """Return the precisions that this backend has on this machine, float32 first."""
        return (FP32,)

    @classmethod
    def check_precision(cls, precision: str) -> None:
        """Raise a UsageError unless this backend has a precision on this machine."""
        if precision != FP32 and precision not in cls.precisions():
            raise UsageError(
                f"Backend {cls.backend} has no such precision on this machine",
                got=repr(precision),
                choices=cls.precisions(),
            )

    @classmethod
    def can_run(cls) -> bool:
        """Return whether this machine executes the engines of this backend."""
        return True

    def chained(self, following: Engine) -> Chain | None:
        """Return this loaded engine and a loaded following one as one, where the backend can."""
        del following
        return None

    def save_compiled(self) -> bool:
        """Keep the loaded graph compiled in the bundle, and return whether the backend can."""
        return False

    def forget_compiled(self) -> None:
        """Remove from the bundle what was kept compiled of this graph."""
        if self.compiled is not None:
            self.compiled.remove(self.graph.name)

    @abstractmethod
    def _load_impl(self) -> None:
        """Load the graph; raise BundleError when the backend refuses it."""

    @abstractmethod
    def _run_impl(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Run once on checked inputs and return every declared output."""

    @abstractmethod
    def _close_impl(self) -> None:
        """Free what ``_load_impl`` took."""

    def load(self) -> None:
        """Load the graph; loading a loaded engine does nothing."""
        if self._loaded:
            return
        started_s = time.perf_counter()
        self._load_impl()
        self._loaded = True
        self.load_s = time.perf_counter() - started_s

    def warm_up(self, runs: int = 1) -> None:
        """Run on zeros, so that the first real run is as fast as any other."""
        inputs = {spec.name: spec.empty() for spec in self.graph.inputs}
        for _ in range(runs):
            self.run(inputs)

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run the graph once.

        Args:
            inputs: every declared input by name, with the declared shape and dtype.

        Returns:
            Every declared output by name.
        """
        if not self._loaded:
            raise UsageError(
                f"Engine {self.graph.name} on {self.backend} is not loaded",
                next_command="call load() first, or use the engine as a context manager",
            )
        check_arrays(self.graph.name, "input", self.graph.inputs, inputs)
        started_s = time.perf_counter()
        outputs = self._run_impl(inputs)
        self.last_run_s = time.perf_counter() - started_s
        check_arrays(self.graph.name, "output", self.graph.outputs, outputs)
        return outputs

    def close(self) -> None:
        """Free the engine; closing a closed engine does nothing."""
        if self._loaded:
            self._loaded = False
            self._close_impl()

    def __enter__(self) -> Engine:
        self.load()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
