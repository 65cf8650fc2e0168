"""A strongly typed ONNX graph to a TensorRT plan: one code path for 10.3 to 11.

Nothing here needs a GPU: TensorRT-RTX compiles on a CPU what TensorRT compiles on the device. The
compiler keeps Ctrl-C until its end, and its own way to cancel aborts the process in TensorRT-RTX
1.7: use ``dvla.engines.tensorrt_process``, which gives it a process that can be ended.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from dvla.engines.errors import BundleError, MissingDependency
from dvla.engines.files import write_atomically
from dvla.engines.tensorrt_library import library

_NEXT = "build in a smaller precision, or on a machine with more memory"
_ABOUT = ("node_operator", "node_name")
_OUT_OF_MEMORY = ("out of memory", "outofmemory", "bad_alloc", "insufficient memory")


class Plan:
    """A compiled graph: its bytes, and how many layers the network had."""

    def __init__(self, content: memoryview, layers: int) -> None:
        self.content = content
        self.layers = layers


def build_plan(onnx_path: Path, timing_cache: Path | None = None) -> Plan:
    """Parse a strongly typed graph with its external weights, and compile it.

    Args:
        onnx_path: ONNX file; weights are read from beside it, so that no message exceeds 2 GB.
        timing_cache: what earlier builds on this device measured; it is used and renewed.

    Raises:
        BundleError: TensorRT does not take the graph.
        MissingDependency: the device or the machine has too little memory.
    """
    trt = library()
    heard = _heard(trt)
    try:
        builder = trt.Builder(heard)
        typed = trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED
        network = builder.create_network(1 << int(typed))
        parser = trt.OnnxParser(network, heard)
        if not parser.parse_from_file(str(onnx_path)):
            raise _refusal(
                onnx_path, [_said(parser.get_error(i)) for i in range(parser.num_errors)]
            )
        config = builder.create_builder_config()
        # What is typed as float32 is to be computed in float32.
        config.clear_flag(trt.BuilderFlag.TF32)
        # An auxiliary stream would be a second one inside the captured graph.
        if hasattr(config, "max_aux_streams"):
            config.max_aux_streams = 0
        measured = _attach_timing_cache(config, timing_cache)
        content = builder.build_serialized_network(network, config)
        layers = int(network.num_layers)
    except MemoryError as error:
        raise _out_of_memory(onnx_path, "the machine's memory is used up") from error
    if content is None:
        raise _refusal(onnx_path, heard.errors)
    if timing_cache is not None and measured is not None:
        _keep_timing_cache(timing_cache, memoryview(measured.serialize()))
    return Plan(memoryview(content), layers)


def _said(error: Any) -> str:
    """Return what a parser's error says, with the node that it is about."""
    about = [str(getattr(error, name)()) for name in _ABOUT if hasattr(error, name)]
    return " ".join((*about, error.desc()))


def _heard(trt: Any) -> Any:
    """Return a logger that keeps what TensorRT says is wrong, and prints none of it."""

    class Heard(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                self.errors.append(message)

    return Heard()


def _attach_timing_cache(config: Any, path: Path | None) -> Any:
    """Give the compiler what earlier builds measured; a cache that it refuses starts empty."""
    if path is None or not hasattr(config, "create_timing_cache"):
        return None
    known = path.read_bytes() if path.is_file() else b""
    for content in (known, b""):
        cache = config.create_timing_cache(content)
        if cache is not None and config.set_timing_cache(cache, False):
            return cache
    return None


def _keep_timing_cache(path: Path, content: memoryview) -> None:
    """Replace the timing cache in one step; where that is not allowed, none is kept."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)


def _refusal(onnx_path: Path, said: list[str]) -> Exception:
    """Return the error for what TensorRT said about a graph."""
    if any(mark in line.lower() for line in said for mark in _OUT_OF_MEMORY):
        return _out_of_memory(onnx_path, said[0][:300])
    trt = library()
    return BundleError(
        f"{trt.__name__} {trt.__version__} does not compile {onnx_path.name}",
        got="; ".join(line.strip()[:200] for line in said[:3]) or "no reason",
        next_command="export the bundle again with this version of dvla, or report it",
    )


def _out_of_memory(onnx_path: Path, said: str) -> MissingDependency:
    return MissingDependency(
        f"There is not enough memory to compile {onnx_path.name}",
        got=said,
        next_command=_NEXT,
    )
