"""The compile gate: TensorRT-RTX takes the typed graphs on a machine without a GPU."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from bundle_tools import copy_of_tiny_bundle, full_bundle, tiny_bundle

from dvla.engines.bundle import read_bundle
from dvla.engines.errors import BundleError, EngineMismatch, MissingDependency, UsageError
from dvla.engines.selection import chosen_engine
from dvla.engines.tensorrt_library import can_run
from dvla.export.build import verify_bundle
from dvla.export.compile_gate import compile_graph
from dvla.export.engine_trials import verify_engine
from dvla.export.progress import Progress

if platform.machine() != "x86_64":
    pytest.skip("TensorRT-RTX has wheels for x86-64 only", allow_module_level=True)

# On x86-64 the compiler belongs to the development tools: its absence is a failure, not a skip.
NO_GPU = pytest.mark.skipif(can_run(), reason="this machine has a GPU with TensorRT")


def tiny(graph: str) -> Path:
    return tiny_bundle() / "onnx" / f"{graph}.onnx"


@pytest.mark.parametrize("precision", ["fp16", "bf16", "fp8"])
def test_the_tiny_prefix_and_step_compile(precision: str) -> None:
    for graph in ("prefix", "step"):
        compiled = compile_graph(tiny(graph), precision)
        assert compiled.status == "compiled, not run"
        assert compiled.layers > 100
        assert compiled.plan_bytes > 1_000_000


def test_a_graph_that_does_not_compile_fails_the_gate(tmp_path: Path) -> None:
    import onnx

    model = onnx.load(str(tiny("step")), load_external_data=False)
    product = next(node for node in model.graph.node if node.op_type == "Softmax")
    product.op_type, product.domain = "Hardmax2", "nobody"
    onnx.save(model, str(tmp_path / "step.onnx"))
    shutil.copy(tiny("step").with_name("step.onnx.data"), tmp_path)
    with pytest.raises(BundleError, match=r"does not compile step.onnx.*Hardmax2"):
        compile_graph(tmp_path / "step.onnx", "fp16")


@NO_GPU
def test_without_a_gpu_an_engine_is_compiled_and_never_run(tmp_path: Path) -> None:
    from dvla.engines.registry import engine_class

    path = copy_of_tiny_bundle(tmp_path)
    engine = engine_class("tensorrt")
    record = verify_engine(read_bundle(path), engine, "bf16", Progress())
    assert (record.status, record.verification) == ("compiled, not run", None)
    assert record in read_bundle(path).manifest.engines
    with pytest.raises(EngineMismatch, match=r"'compiled, not run'.*--verify --backend tensorrt"):
        chosen_engine(read_bundle(path), "tensorrt")
    assert {f.name for f in path.iterdir()} == {f.name for f in tiny_bundle().iterdir()}
    with pytest.raises(UsageError, match="Precision auto measures"):
        verify_engine(read_bundle(path), engine, "auto", Progress())
    with pytest.raises(MissingDependency, match="cannot run on this machine"):
        verify_bundle(path, "tensorrt", Progress())


def test_the_command_says_what_was_compiled_and_that_it_was_not_run() -> None:
    command = [sys.executable, "-m", "dvla.export.compile_gate", str(tiny_bundle())]
    options = ["--graph", "step", "--precision", "fp16"]
    ran = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("step fp16: compiled, not run (tensorrt_rtx 1.")
    options = ["--graph", "steps"]
    ran = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "Unknown graph. Got 'steps'. Valid: prefix, denoise, step." in ran.stderr


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_full_size_compiles() -> None:
    """The whole prefix, and one of the ten equal steps; the command takes all ten (a minute)."""
    for precision in ("fp16", "bf16"):
        for graph in ("prefix", "step"):
            assert compile_graph(full_bundle() / "onnx" / f"{graph}.onnx", precision).layers > 1000
