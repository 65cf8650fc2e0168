"""The torch engine: its programs, their one CUDA graph, and every program that it refuses."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import numpy as np
import pytest
from bundle_tools import copy_of_tiny_bundle
from numpy.typing import NDArray
from torch_programs import Programs, RecordingDevice

from dvla.engines import integrity, torch_
from dvla.engines.built_here import note_built, notes_path, was_built_here
from dvla.engines.bundle import REFERENCE_NAME, Bundle, read_bundle
from dvla.engines.compiled import ENGINES_FOLDER
from dvla.engines.errors import EngineMismatch, UsageError
from dvla.engines.graph_chain import GraphChain
from dvla.engines.pipeline import ActionPipeline
from dvla.engines.selection import chosen_engine
from dvla.engines.torch_ import TorchEngine
from dvla.export.build import verify_bundle
from dvla.export.progress import Progress
from dvla.export.reference import load_reference

INPUTS = ("frames", "token_ids", "token_mask", "state", "noise", "prev_actions", "prev_weight")


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> Programs:
    return Programs(monkeypatch)


@pytest.fixture
def bundle(tmp_path: Path, programs: Programs) -> Bundle:
    """Return a bundle that was verified on the torch engine."""
    path = copy_of_tiny_bundle(tmp_path)
    verify_bundle(path, "torch", Progress())
    return read_bundle(path)


def pipeline_of(bundle: Bundle) -> ActionPipeline:
    choice = chosen_engine(bundle, "torch")
    return ActionPipeline.of_bundle(bundle, choice.engine, precision=choice.precision)


def errors(bundle: Bundle, pipeline: ActionPipeline) -> NDArray[np.float32]:
    """Return the largest error of every case of the reference, relative to its actions."""
    reference, found = load_reference(bundle.path / REFERENCE_NAME), []
    for case in range(len(reference)):
        actions = pipeline.run(**{name: getattr(reference, name)[case] for name in INPUTS})
        wanted = reference.actions[case]
        found.append(np.abs(actions - wanted).max() / np.abs(wanted).max())
    return np.array(found, np.float32)


def test_it_is_the_model_and_one_step_serves_all(bundle: Bundle, programs: Programs) -> None:
    assert programs.compiled == ["prefix", "denoise_once", "denoise"]
    (record,) = [r for r in bundle.manifest.engines if r.key.backend == "torch"]
    assert record.status == "verified" and record.key.device == "cpu"
    pipeline = pipeline_of(bundle)
    pipeline.load()
    assert errors(bundle, pipeline).max() < 1e-5
    pipeline.close()
    with pytest.raises(UsageError, match="not loaded"):
        pipeline.prefix.warm_up()


def test_inputs_may_be_read_only_and_results_outlive_the_next_run(bundle: Bundle) -> None:
    reference, pipeline = load_reference(bundle.path / REFERENCE_NAME), pipeline_of(bundle)
    names = [spec.name for spec in pipeline.prefix.graph.inputs]
    given = {name: getattr(reference, name)[1] for name in names}
    for array in given.values():
        array.flags.writeable = False
    strided = {name: np.repeat(array, 2, axis=-1)[..., ::2] for name, array in given.items()}
    with pipeline.prefix as engine:
        first = engine.run(given)
        kept = {name: array.copy() for name, array in first.items()}
        engine.run({name: getattr(reference, name)[2] for name in names})
        again = engine.run(strided)
    for name, array in kept.items():
        np.testing.assert_array_equal(first[name], array)
        np.testing.assert_array_equal(again[name], array)


def test_what_was_compiled_here_is_not_compiled_again(bundle: Bundle, programs: Programs) -> None:
    verify_bundle(bundle.path, "torch", Progress())
    assert len(programs.compiled) == 3


def test_on_a_gpu_all_is_one_graph_captured_once(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline, device = pipeline_of(bundle), RecordingDevice()
    pipeline.load()
    chain = GraphChain((pipeline.prefix, pipeline.denoise), device)  # type: ignore[arg-type]
    pipeline._chain = chain
    assert (chain.captures, device.captures) == (1, 1)
    launched = device.launches
    found = errors(bundle, pipeline)
    assert found.max() < 1e-5
    assert (device.captures, device.launches - launched) == (1, len(found))
    assert {spec.name for spec in chain.inputs} == set(INPUTS)
    pipeline.prefix._buffers["keys"].tensor = device.torch.zeros(3)  # type: ignore[attr-defined]
    with pytest.raises(EngineMismatch, match="moved after the CUDA graph was captured"):
        errors(bundle, pipeline)
    pipeline.close()


def test_reduced_precisions_need_a_gpu(bundle: Bundle) -> None:
    assert TorchEngine.precisions() == ("fp32",)
    with pytest.raises(UsageError, match=r"'bf16'.*Valid: fp32"):
        verify_bundle(bundle.path, "torch", Progress(), "bf16")


def test_bfloat16_is_typed_as_for_tensorrt(
    bundle: Bundle, programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TorchEngine, "precisions", classmethod(lambda cls: ("fp32", "bf16")))
    programs.compiled.clear()
    try:
        verify_bundle(bundle.path, "torch", Progress(), "bf16")
    except Exception as error:  # These synthetic weights may be just over the limit of 3 %.
        assert "standard deviation" in str(error)
    assert programs.compiled == ["prefix", "denoise_once", "denoise"]
    (record,) = [
        r for r in read_bundle(bundle.path).manifest.engines
        if r.key.backend == "torch" and r.key.precision["denoise"] == "bf16"
    ]  # fmt: skip
    assert record.verification is not None
    assert 1e-4 < record.verification.relative_error < 0.05


def test_the_program_of_another_user_or_machine_is_refused(
    bundle: Bundle, programs: Programs
) -> None:
    notes_path().unlink()
    programs.loaded.clear()
    with pytest.raises(EngineMismatch, match=r"not compiled by you.*--verify --backend torch"):
        pipeline_of(bundle).load()
    assert programs.loaded == []
    verify_bundle(bundle.path, "torch", Progress())
    assert programs.compiled[3:] == ["prefix", "denoise_once", "denoise"]
    pipeline_of(bundle).load()


def test_a_forged_stamp_brings_no_foreign_program_in(
    bundle: Bundle, programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever can write the bundle leaves the record, and puts a file and its stamp there."""
    monkeypatch.setattr(integrity, "ALWAYS_HASHED_BELOW_BYTES", 0)
    store = pipeline_of(bundle).prefix.compiled
    assert store is not None
    stored = store.path("prefix")
    known = integrity.sha256_file(stored)
    stored.write_text("foreign-".ljust(stored.stat().st_size, "x")[: stored.stat().st_size])
    status = stored.stat()
    stamp = integrity.Stamp(
        sha256=known,
        size_bytes=status.st_size,
        inode=status.st_ino,
        mtime_ns=status.st_mtime_ns,
        ctime_ns=status.st_ctime_ns,
    )
    stamps = stored.parent / integrity.STAMPS_NAME
    stamps.write_bytes(msgspec.json.encode({stored.name: stamp}))
    programs.loaded.clear()
    with pytest.raises(EngineMismatch, match=r"holds no torch engine of prefix"):
        pipeline_of(bundle).load()
    assert "prefix" not in programs.loaded
    verify_bundle(bundle.path, "torch", Progress())
    assert programs.compiled[3:] == ["prefix"]


def test_notes_that_others_may_write_count_for_nothing() -> None:
    note_built("ab" * 32)
    assert was_built_here("ab" * 32) and not was_built_here("cd" * 32)
    os.chmod(notes_path(), 0o666)
    assert not was_built_here("ab" * 32)


def test_a_damaged_or_half_written_program_is_never_loaded(
    bundle: Bundle, programs: Programs
) -> None:
    (stored,) = (bundle.path / ENGINES_FOLDER).glob("*/denoise_once.compiled")
    stored.write_text("denoise_once-9")
    programs.loaded.clear()
    with pytest.raises(EngineMismatch, match=r"holds no torch engine of denoise_once"):
        pipeline_of(bundle).load()
    assert "denoise_once" not in programs.loaded


@pytest.mark.parametrize("field", ["version", "device", "capability"])
def test_an_engine_of_another_torch_or_device_is_refused(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, field: str
) -> None:
    here = TorchEngine.identity()
    there = msgspec.structs.replace(here, **{field: "another"})
    monkeypatch.setattr(TorchEngine, "identity", classmethod(lambda cls: there))
    with pytest.raises(EngineMismatch, match=f"not made for this machine.*{field}: .*another"):
        chosen_engine(bundle, "torch")


def test_a_program_that_torch_refuses_is_one_clear_error(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("Failed to open the shared library\nmore")

    monkeypatch.setattr(torch_, "load_program", refuse)
    with pytest.raises(EngineMismatch, match=r"refuses the engine of prefix\. Got Failed to open"):
        pipeline_of(bundle).load()
