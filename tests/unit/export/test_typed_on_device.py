"""An export to TensorRT on a fake device: compiled, stored, compared, chosen; or not kept."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from bundle_tools import copy_of_tiny_bundle
from fake_tensorrt import Compute, Machine, plan_of

from dvla.engines import compile_process, cuda_, tensorrt_library
from dvla.engines.bundle import REFERENCE_NAME, Bundle, read_bundle
from dvla.engines.compiled import ENGINES_FOLDER
from dvla.engines.errors import EngineMismatch, ExportMismatch
from dvla.engines.onnxruntime_ import OnnxRuntimeEngine
from dvla.engines.pipeline import ActionPipeline
from dvla.engines.selection import chosen_engine, key_here
from dvla.engines.tensorrt_ import TensorRtEngine
from dvla.export import tensorrt_plans
from dvla.export.build import verify_bundle
from dvla.export.progress import Progress
from dvla.export.reference import load_reference


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """Return a bundle that keeps nothing compiled for another backend."""
    copy = copy_of_tiny_bundle(tmp_path)
    shutil.rmtree(copy / ENGINES_FOLDER)
    return read_bundle(copy)


@pytest.fixture
def machine(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    """Return a device that computes with ONNX Runtime what it is given as plans."""
    made = Machine()
    made.install(monkeypatch)
    caches = (tensorrt_library.library, tensorrt_library.gpu, cuda_.cuda_device)
    for cached in caches:
        cached.cache_clear()

    def compute(name: str) -> Compute:
        engine = OnnxRuntimeEngine(bundle.graph(name), bundle.onnx_path(name))
        engine.load()
        names = [spec.name for spec in engine.graph.inputs]
        return lambda tensors: engine.run({each: tensors[each] for each in names})

    made.computes = {name: compute(name) for name in ("prefix", "denoise")}

    def compiled(onnx_path: Path, plan: Path, timing_cache: Path | None, **_: object) -> None:
        assert onnx_path.is_file() and (onnx_path.parent / f"{onnx_path.name}.data").is_file()
        made.calls.append(f"compile {onnx_path.stem}")
        plan.write_bytes(plan_of(bundle.graph(onnx_path.stem)))

    monkeypatch.setattr(compile_process, "compile_in_child", compiled)
    yield made
    for cached in caches:
        cached.cache_clear()


def compilations(machine: Machine) -> list[str]:
    return [call for call in machine.calls if call.startswith("compile")]


def test_what_passes_is_kept_chosen_and_not_compiled_again(
    bundle: Bundle, machine: Machine
) -> None:
    report = verify_bundle(bundle.path, "tensorrt", Progress(), "bf16")
    assert report.verification is not None and report.verification.passed
    assert compilations(machine) == ["compile prefix", "compile denoise"]
    again = verify_bundle(bundle.path, "tensorrt", Progress())
    assert again.precision == {"prefix": "bf16", "denoise": "bf16"}
    assert len(compilations(machine)) == 2
    choice = chosen_engine(read_bundle(bundle.path), "tensorrt")
    pipeline = ActionPipeline.of_bundle(bundle, choice.engine, precision=choice.precision)
    pipeline.load()
    case = load_reference(bundle.path / REFERENCE_NAME)
    names = ("frames", "token_ids", "token_mask", "state", "noise")
    actions = pipeline.run(**{name: getattr(case, name)[0] for name in names})
    pipeline.close()
    np.testing.assert_allclose(actions, case.actions[0], rtol=1e-3, atol=1e-4)
    assert not list(bundle.path.glob(".typed*"))


def test_auto_tries_the_ladder_and_keeps_one_engine(bundle: Bundle, machine: Machine) -> None:
    report = verify_bundle(bundle.path, "tensorrt", Progress(), "auto")
    assert len(report.tried) >= 1 + 2 * 3
    assert {name for r in report.tried for name in r.key.precision.values()} == {
        "fp32", "fp16", "bf16", "fp8",
    }  # fmt: skip
    kept = [folder.name for folder in (bundle.path / ENGINES_FOLDER).iterdir()]
    assert kept == [key_here(bundle, TensorRtEngine, report.precision).digest]


def test_what_fails_is_not_kept_and_does_not_run(bundle: Bundle, machine: Machine) -> None:
    right = machine.computes["denoise"]
    machine.computes["denoise"] = lambda t: {"actions": 1.2 * right(t)["actions"] + 0.5}
    with pytest.raises(ExportMismatch, match="tensorrt engine are not the model's"):
        verify_bundle(bundle.path, "tensorrt", Progress(), "fp16")
    assert not (bundle.path / ENGINES_FOLDER).exists() or not any(
        (bundle.path / ENGINES_FOLDER).iterdir()
    )
    with pytest.raises(EngineMismatch, match="status 'failed'"):
        chosen_engine(read_bundle(bundle.path), "tensorrt")


def test_an_engine_of_another_device_or_version_is_refused(
    bundle: Bundle, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    verify_bundle(bundle.path, "tensorrt", Progress(), "fp16")
    machine.version, machine.capability = "11.0.0", (9, 0)
    machine.install(monkeypatch)
    for cached in (tensorrt_library.library, tensorrt_library.gpu):
        cached.cache_clear()
    with pytest.raises(
        EngineMismatch,
        match=r"not made for this machine.*10\.3\.0.*11\.0\.0.*--verify --backend tensorrt",
    ):
        chosen_engine(read_bundle(bundle.path), "tensorrt")


def test_an_interrupt_while_compiling_leaves_no_engine(
    bundle: Bundle, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(compile_process, "compile_in_child", interrupted)
    before = {file.name for file in bundle.path.iterdir()}
    with pytest.raises(KeyboardInterrupt):
        tensorrt_plans.compile_plans(bundle, TensorRtEngine, {"prefix": "fp16"}, Progress())
    assert {file.name for file in bundle.path.iterdir()} == before
