"""AOTInductor in a process of its own, which can be ended, run out of memory, or crash.

python -m dvla.export.torch_process REQUEST     (JSON; the answer is JSON on stdout)

The program's name says which: ``prefix``, ``denoise_once`` or ``denoise`` (one Euler step).
"""

from __future__ import annotations

import os
import shutil
from importlib import import_module
from pathlib import Path
from typing import Any

from dvla.engines.compile_process import Answer, Request, serve
from dvla.engines.errors import BundleError, MissingDependency
from dvla.engines.pipeline import DENOISE, PREFIX
from dvla.engines.scratch import scratch_folder
from dvla.engines.torch_ import ONCE
from dvla.engines.torch_library import library, on_gpu
from dvla.export.cuda_toolkit import prepare_to_link

_COMPILERS = ("g++", "clang++", "c++")
_OUTPUT = "\nOutput:\n"
_TELLING = ("error:", "cannot find", "fatal")
OPTIONS: dict[str, Any] = {
    "cpp.dynamic_threads": True,  # Else the number of this moment is compiled in.
    "aot_inductor.precompile_headers": False,  # That costs more than it saves for three files.
}


def build(request: Request) -> Answer:
    """Compile one program of a typed graph."""
    if not any(shutil.which(os.environ.get("CXX", name)) for name in _COMPILERS):
        raise MissingDependency(
            "AOTInductor needs a C++ compiler",
            got="no " + ", ".join(_COMPILERS),
            next_command="apt-get install g++",
        )
    torch, package = library(), Path(request.plan).absolute()
    try:
        with scratch_folder() as scratch:
            os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(scratch)
            if on_gpu():
                prepare_to_link(cuda_home(), scratch)
            nodes = _compile(Path(request.onnx), package)
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise MissingDependency(
            f"There is not enough memory to compile {package.stem}",
            got=str(error)[:300] or "the machine's memory is used up",
            next_command="build in a smaller precision, or on a machine with more memory",
        ) from error
    except RuntimeError as error:  # The compilers' own errors are such.
        raise BundleError(
            f"AOTInductor of torch {torch.__version__} does not compile {package.stem}",
            got=reason_of(str(error)),
            next_command="try another version of torch, or report it",
        ) from error
    return Answer(layers=nodes, size_bytes=package.stat().st_size)


def cuda_home() -> str | None:
    """Return the folder of the CUDA toolkit that torch found, if it found one."""
    extension = import_module("torch.utils.cpp_extension")
    found: str | None = extension.CUDA_HOME
    return found


def _compile(typed: Path, package: Path) -> int:
    """Compile the program that a package is named for; return how many weights it has."""
    torch = library()
    module, example = module_of(package.stem, typed)
    weights = len(module.state_dict())
    with torch.no_grad():
        place = "cuda" if on_gpu() else "cpu"
        module, example = module.to(place), tuple(each.to(place) for each in example)
        exported = torch.export.export(module, example, strict=False)
        options = dict(OPTIONS) if on_gpu() else {**OPTIONS, "freezing": True}
        torch._inductor.aoti_compile_and_package(
            exported, package_path=str(package), inductor_configs=options
        )
    return weights


def reason_of(said: str) -> str:
    """Return why a compilation failed, out of pages that begin with the command that failed.

    Args:
        said: the text of torch's error; a C++ compiler's own output stands behind ``Output:``.
    """
    before, _, output = said.partition(_OUTPUT)
    lines = [line.strip() for line in (output or before).splitlines() if line.strip()]
    telling = [line for line in lines if any(mark in line for mark in _TELLING)]
    chosen = telling[:3] or (lines[-3:] if output else lines[:1]) or ["no reason"]
    return "; ".join(line[:300] for line in chosen)


def module_of(name: str, typed: Path) -> tuple[Any, tuple[Any, ...]]:
    """Return a program's module and example inputs.

    Args:
        name: ``prefix``, ``denoise_once`` or ``denoise``.
        typed: the typed prefix or step graph; ``denoise.onnx`` of the bundle lies beside it.
    """
    from dvla.export.denoise_module import denoise_modules
    from dvla.export.onnx_module import Graph

    torch = library()
    if name == PREFIX:
        graph = Graph(typed)
        return graph.module().eval(), graph.zeros()
    tables = typed.parent / f"{DENOISE}.onnx"
    once, step = denoise_modules(typed, tables)
    inputs = Graph(tables).zeros()
    if name == ONCE:
        return once, inputs
    with torch.no_grad():
        table, *shared = once(*inputs)
    noise = inputs[Graph(tables).inputs.index("noise")]
    return step, (noise, table[0], *(each.clone() for each in shared))


if __name__ == "__main__":
    serve(build)
