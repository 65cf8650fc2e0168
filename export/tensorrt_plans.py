"""The plans of a bundle's TensorRT engine: typed from its float32 graphs, compiled, stored."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from dvla.engines.base import Engine
from dvla.engines.bundle import REFERENCE_NAME, Bundle
from dvla.engines.cache import EngineKey, complete_precision
from dvla.engines.compiled import CompiledStore
from dvla.engines.onnxruntime_ import OnnxRuntimeEngine
from dvla.engines.pipeline import DENOISE, PREFIX
from dvla.engines.selection import key_here
from dvla.engines.tensors import Arrays
from dvla.export.progress import Progress
from dvla.export.reference import load_reference
from dvla.export.typed import typing_of, write_typed
from dvla.export.typed_fp8 import largest_factors

_TYPED_FOLDER = ".typed.partial-"


def compile_plans(
    bundle: Bundle, engine: type[Engine], precision: Mapping[str, str], progress: Progress
) -> None:
    """Compile the graphs of a bundle that are not stored in it yet.

    On a machine that cannot run them they are compiled and thrown away: the plan of another device
    is of no use, but that the graphs compile is worth knowing.

    Raises:
        BundleError: the compiler refuses a graph.
        MissingDependency: the device or the machine has too little memory.
    """
    from dvla.engines.compile_process import compile_in_child
    from dvla.engines.tensorrt_process import COMMAND

    key = key_here(bundle, engine, precision)
    store = CompiledStore(bundle.path, key)
    timing_cache = _timing_cache_path(key) if engine.can_run() else None
    for graph, name in complete_precision(precision).items():
        if engine.can_run() and store.find(graph):
            continue
        with typed_folder(bundle.path) as folder, progress.stage(f"compiling {graph} in {name}"):
            typed = folder / f"{graph}.onnx"
            write_typed(bundle.onnx_path(graph), typed, name, _largest(bundle, graph, name))
            plan = folder / f"{graph}.plan"
            compile_in_child(typed, plan, timing_cache, command=COMMAND)
            if engine.can_run():
                store.save(graph, np.memmap(plan, np.uint8, "r").data)


@contextmanager
def typed_folder(bundle: Path) -> Iterator[Path]:
    """Yield a hidden folder in the bundle; those of processes that are gone are removed."""
    for folder in bundle.glob(f"{_TYPED_FOLDER}*"):
        pid = folder.name.removeprefix(_TYPED_FOLDER)
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            shutil.rmtree(folder, ignore_errors=True)
    folder = bundle / f"{_TYPED_FOLDER}{os.getpid()}"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _timing_cache_path(key: EngineKey) -> Path:
    """Return where the measurements of one device and version are kept."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    name = re.sub(r"[^A-Za-z0-9.]+", "-", f"{key.device} {key.capability} {key.version}")
    return root / "dvla" / "tensorrt" / f"{name}.timing"


def _largest(bundle: Bundle, graph: str, precision: str) -> dict[str, float] | None:
    """Return the scales of a graph from the bundle's reference observations, where needed."""
    if not typing_of(precision).quantized:
        return None
    reference = load_reference(bundle.path / REFERENCE_NAME)
    names = ("frames", "token_ids", "token_mask", "state", "noise", "prev_actions", "prev_weight")
    cases: list[Arrays] = [
        {name: getattr(reference, name)[case] for name in names} for case in range(len(reference))
    ]
    if graph == DENOISE:
        with OnnxRuntimeEngine(bundle.graph(PREFIX), bundle.onnx_path(PREFIX)) as prefix:
            taken = [spec.name for spec in prefix.graph.inputs]
            cases = [{**case, **prefix.run({n: case[n] for n in taken})} for case in cases]
    return largest_factors(bundle.onnx_path(graph), cases)
