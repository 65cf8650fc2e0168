"""The backends by name, each imported when it is asked for and not before."""

from __future__ import annotations

from importlib import import_module

import msgspec

from dvla.engines.base import Engine
from dvla.engines.errors import MissingDependency, UsageError


class Backend(msgspec.Struct, frozen=True, kw_only=True):
    """Where a backend's engine class lives, its library, and the pip requirement that brings it.

    Another library, where there is one, is imported when the first is not installed.
    """

    module: str
    engine: str
    library: str
    requirement: str
    other_library: str | None = None


BACKENDS: dict[str, Backend] = {
    "onnxruntime": Backend(
        module="dvla.engines.onnxruntime_",
        engine="OnnxRuntimeEngine",
        library="onnxruntime",
        requirement="onnxruntime",
    ),
    "openvino": Backend(
        module="dvla.engines.openvino_",
        engine="OpenVinoEngine",
        library="openvino",
        requirement="dvla[openvino]",
    ),
    "tensorrt": Backend(
        module="dvla.engines.tensorrt_",
        engine="TensorRtEngine",
        library="tensorrt",
        requirement="dvla[tensorrt]",
        other_library="tensorrt_rtx",
    ),
    "torch": Backend(
        module="dvla.engines.torch_",
        engine="TorchEngine",
        library="torch",
        requirement="dvla[export]",
    ),
}


def check_backend_name(name: str) -> None:
    """Raise a UsageError that lists the backends, unless ``name`` is one of them."""
    if name not in BACKENDS:
        raise UsageError("Unknown backend", got=repr(name), choices=sorted(BACKENDS))


def engine_class(name: str) -> type[Engine]:
    """Import and return the engine class of a backend.

    Raises:
        UsageError: the name is unknown.
        MissingDependency: the backend's library is not installed.
    """
    check_backend_name(name)
    backend = BACKENDS[name]
    try:
        _import_library(backend)
        module = import_module(backend.module)
    except ImportError as error:
        raise MissingDependency(
            f"Backend {name} cannot be imported",
            got=str(error),
            next_command=f"pip install '{backend.requirement}'",
        ) from error
    found: type[Engine] = getattr(module, backend.engine)
    return found


def _import_library(backend: Backend) -> None:
    """Import a backend's library, or the one that takes its place."""
    try:
        import_module(backend.library)
    except ModuleNotFoundError:
        if backend.other_library is None:
            raise
        import_module(backend.other_library)
