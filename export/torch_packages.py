"""The programs of a bundle's torch engine: typed from its float32 graphs, compiled, stored."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping

import numpy as np

from dvla.engines.base import Engine
from dvla.engines.built_here import note_built
from dvla.engines.bundle import Bundle
from dvla.engines.cache import complete_precision
from dvla.engines.compiled import CompiledStore
from dvla.engines.integrity import sha256_file
from dvla.engines.pipeline import DENOISE, PREFIX, STEP
from dvla.engines.selection import key_here
from dvla.engines.torch_ import TorchEngine
from dvla.export.progress import Progress
from dvla.export.tensorrt_plans import typed_folder
from dvla.export.typed import write_typed

COMMAND = (sys.executable, "-m", "dvla.export.torch_process")


def compile_packages(
    bundle: Bundle, engine: type[Engine], precision: Mapping[str, str], progress: Progress
) -> None:
    """Compile the programs of a bundle that are not stored in it yet, or that others stored.

    Raises:
        BundleError: the compiler refuses a graph.
        MissingDependency: the machine has too little memory, or no C++ compiler.
    """
    from dvla.engines.compile_process import compile_in_child

    assert issubclass(engine, TorchEngine)
    store = CompiledStore(bundle.path, key_here(bundle, engine, precision))
    for graph, name in complete_precision(precision).items():
        if all(store.is_built_here(package) for package in engine.packages_of(graph)):
            continue
        source = STEP if graph == DENOISE else PREFIX
        with typed_folder(bundle.path) as folder:
            typed = folder / f"{source}.onnx"
            write_typed(bundle.onnx_path(source), typed, name)
            shutil.copyfile(bundle.onnx_path(DENOISE), folder / f"{DENOISE}.onnx")
            for package in engine.packages_of(graph):
                program = folder / f"{package}.pt2"
                with progress.stage(f"compiling {package} in {name}"):
                    compile_in_child(typed, program, command=COMMAND)
                note_built(sha256_file(program))
                store.save(package, np.memmap(program, np.uint8, "r").data)
