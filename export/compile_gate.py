"""Whether the typed graphs compile, on a machine without a GPU.

    python -m dvla.export.compile_gate BUNDLE
    python -m dvla.export.compile_gate --synthetic full --precision bf16

TensorRT-RTX parses and builds the strongly typed graphs on the CPU. Nothing is executed: what
passes is compiled, not run.
"""

from __future__ import annotations

import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import tyro

from dvla.engines.bundle import read_bundle
from dvla.engines.cli_errors import run_main
from dvla.engines.errors import MissingDependency, UsageError

GRAPHS = ("prefix", "denoise")
_CANDIDATES = ("tensorrt", "tensorrt_rtx")


class Compiled(msgspec.Struct, frozen=True, kw_only=True):
    """One graph that the compiler took.

    Attributes:
        graph, precision: what was compiled.
        compiler: library and version.
        layers: of the parsed network.
        plan_bytes: size of the compiled graph.
        seconds: for typing, parsing and building.
        status: always ``compiled, not run``.
    """

    graph: str
    precision: str
    compiler: str
    layers: int
    plan_bytes: int
    seconds: float
    status: Literal["compiled, not run"] = "compiled, not run"


def compile_graph(onnx_path: Path, precision: str) -> Compiled:
    """Type a float32 graph, compile it, and throw the result away.

    For fp8 any scale compiles alike, so that none is calibrated here.

    Raises:
        BundleError: the compiler refuses the graph.
        UsageError: the precision is unknown.
        MissingDependency: there is no compiler, or not enough memory.
    """
    from dvla.export.typed import typing_of, write_typed

    quantized = typing_of(precision).quantized
    _require_compiler()
    from dvla.engines.compile_process import compile_in_child
    from dvla.engines.tensorrt_library import library
    from dvla.engines.tensorrt_process import COMMAND

    started_s = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="dvla-typed-") as folder:
        typed = Path(folder) / onnx_path.name
        write_typed(onnx_path, typed, precision, _any_scale(onnx_path) if quantized else None)
        plan = compile_in_child(typed, typed.with_suffix(".plan"), command=COMMAND)
        return Compiled(
            graph=onnx_path.stem,
            precision=precision,
            compiler=f"{library().__name__} {library().__version__}",
            layers=plan.layers,
            plan_bytes=plan.size_bytes,
            seconds=time.perf_counter() - started_s,
        )


def write_synthetic_graphs(size: Literal["tiny", "full"], folder: Path) -> None:
    """Write the graphs of a policy with synthetic weights, without a checkpoint on the disk."""
    from dvla.export.checkpoint import empty_policy
    from dvla.export.facts import default_camera_size
    from dvla.export.fold import fold_policy
    from dvla.export.onnx_export import write_graphs
    from dvla.export.synthetic import ARCHS, synthetic_policy_config, synthetic_state_dict
    from dvla.export.torch_ import torch

    config = synthetic_policy_config(size)
    policy = empty_policy(config, ARCHS[size])
    weights = {name: torch.from_numpy(tensor) for name, tensor in synthetic_state_dict(size)}
    policy.load_state_dict(weights, assign=True)
    folded = fold_policy(policy.eval().requires_grad_(False))
    units = ("-",) * config.action_dim
    write_graphs(folded, default_camera_size(config), units, folder, lambda _: nullcontext())


def _require_compiler() -> None:
    from dvla.engines.registry import engine_class

    try:
        engine_class("tensorrt")
    except MissingDependency as error:
        raise MissingDependency(
            "The compile gate needs TensorRT or TensorRT-RTX",
            got=str(error),
            expected=" or ".join(_CANDIDATES),
            next_command="pip install tensorrt-rtx-cu13-libs tensorrt-rtx-cu13-bindings",
        ) from error


def _any_scale(onnx_path: Path) -> dict[str, float]:
    import onnx

    graph = onnx.load(str(onnx_path), load_external_data=False).graph
    return {node.output[0]: 8.0 for node in graph.node if node.op_type == "MatMul"}


def command(
    bundle: Annotated[Path | None, tyro.conf.Positional] = None,
    synthetic: Literal["tiny", "full"] | None = None,
    precision: tuple[str, ...] = ("fp16", "bf16"),
    graph: tuple[str, ...] = GRAPHS,
    json: tyro.conf.FlagCreatePairsOff[bool] = False,
    debug: tyro.conf.FlagCreatePairsOff[bool] = False,
) -> None:
    """Compile the typed graphs of a bundle without a GPU; nothing is executed.

    Exit codes: 0 all compile, 2 a graph is refused or wrong input, 3 no compiler.

    Args:
        bundle: a bundle.
        synthetic: graphs of synthetic weights instead of a bundle.
        precision: fp32, fp16, bf16, fp8.
        graph: prefix, denoise, or step: one of the denoising's equal steps.
        json: print the result as JSON.
        debug: print a traceback with an error.
    """
    del debug  # Read by run_main, before arguments are parsed.
    known = (*GRAPHS, "step")
    if (bundle is None) == (synthetic is None):
        raise UsageError("Name a bundle, or --synthetic, and not both")
    for name in graph:
        if name not in known:
            raise UsageError("Unknown graph", got=repr(name), choices=known)
    with tempfile.TemporaryDirectory(prefix="dvla-gate-") as folder:
        onnx = Path(folder)
        if bundle is not None:
            read_bundle(bundle).check_files()
            onnx = bundle / "onnx"
        elif synthetic is not None:
            write_synthetic_graphs(synthetic, onnx)
        found = []
        for each in precision:
            for name in graph:
                found.append(compile_graph(onnx / f"{name}.onnx", each))
                if not json:
                    print(_line(found[-1]), flush=True)
    if json:
        print(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())


def _line(compiled: Compiled) -> str:
    return (
        f"{compiled.graph} {compiled.precision}: {compiled.status} ({compiled.compiler}, "
        f"{compiled.layers} layers, {compiled.plan_bytes / 1e6:.1f} MB, {compiled.seconds:.1f} s)"
    )


def main() -> None:
    """Run the command line."""
    sys.exit(run_main(lambda: tyro.cli(command, prog="compile_gate")))


if __name__ == "__main__":
    main()
