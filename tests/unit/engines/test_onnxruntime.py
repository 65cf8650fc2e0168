"""ONNX Runtime: what is kept compiled gives the very same actions, or is compiled again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from bundle_tools import copy_of_tiny_bundle, tiny_bundle
from numpy.typing import NDArray

from dvla.engines import compiled, onnxruntime_
from dvla.engines.base import EngineOptions
from dvla.engines.bundle import REFERENCE_NAME, read_bundle
from dvla.engines.cache import RUNNING_GRAPHS
from dvla.engines.compiled import CompiledStore
from dvla.engines.errors import BundleError
from dvla.engines.onnxruntime_ import OnnxRuntimeEngine
from dvla.engines.pipeline import ActionPipeline
from dvla.engines.selection import chosen_engine, compiled_store, key_here
from dvla.export.reference import load_reference


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """Return a copy of the exported bundle that a test may damage."""
    return copy_of_tiny_bundle(tmp_path)


def store_of(bundle: Path) -> CompiledStore:
    return compiled_store(read_bundle(bundle), OnnxRuntimeEngine)


def run(bundle: Path) -> tuple[tuple[bool, bool], NDArray[np.float32]]:
    """Return whether prefix and denoise were loaded as they were stored, and the actions."""
    pipeline = ActionPipeline.of_bundle(
        read_bundle(bundle), OnnxRuntimeEngine, EngineOptions(threads=1)
    )
    r = load_reference(bundle / REFERENCE_NAME)
    pipeline.load()
    stored = tuple(engine._is_stored for engine in (pipeline.prefix, pipeline.denoise))
    actions = pipeline.run(
        r.frames[1], r.token_ids[1], r.token_mask[1], r.state[1], r.noise[1],
        r.prev_actions[1], r.prev_weight[1],
    )  # fmt: skip
    pipeline.close()
    return stored, actions


def test_the_export_keeps_both_graphs_and_they_give_the_same_bits(bundle: Path) -> None:
    store = store_of(bundle)
    for graph in RUNNING_GRAPHS:
        assert store.find(graph) == store.path(graph)
        assert store.weights_path(graph).stat().st_size > store.path(graph).stat().st_size
    stored, actions = run(bundle)
    shutil.rmtree(bundle / compiled.ENGINES_FOLDER)
    compiled_now, wanted = run(bundle)
    assert (stored, compiled_now) == ((True, True), (False, False))
    np.testing.assert_array_equal(actions, wanted)


def test_another_processor_compiles_anew_and_needs_no_verification(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Packed weights suit one set of instructions; the engine suits every one of them."""
    monkeypatch.setattr(onnxruntime_, "cpu_capability", lambda: "x86_64 of another world")
    assert chosen_engine(read_bundle(bundle), "onnxruntime").engine is OnnxRuntimeEngine
    assert store_of(bundle).find("prefix") is None
    assert run(bundle)[0] == (False, False)


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def lose(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("damage", [flip_a_bit, truncate, lose])
@pytest.mark.parametrize("name", ["prefix.compiled", "prefix.weights"])
def test_a_damaged_file_is_not_believed(
    bundle: Path, name: str, damage: Callable[[Path], None]
) -> None:
    store = store_of(bundle)
    damage(store.folder / name)
    assert store.find("prefix") is None
    assert store.find("denoise") is not None


def test_what_onnx_runtime_refuses_is_compiled_again(bundle: Path) -> None:
    _, wanted = run(bundle)
    store = store_of(bundle)
    store.save("prefix", b"whole, of this key, and no graph")
    assert store.find("prefix") is not None
    assert not store.weights_path("prefix").exists()
    stored, actions = run(bundle)
    assert stored == (False, True)
    np.testing.assert_array_equal(actions, wanted)


def engine_of(bundle: Path) -> OnnxRuntimeEngine:
    opened = read_bundle(bundle)
    path = opened.onnx_path("prefix")
    return OnnxRuntimeEngine(opened.graph("prefix"), path, compiled=store_of(bundle))


def test_a_write_that_fails_leaves_nothing_to_be_believed(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_of(bundle)
    store.remove("prefix")
    session_of = OnnxRuntimeEngine._session_of

    def dying(self: OnnxRuntimeEngine, path: Path, options: Any) -> Any:
        session_of(self, path, options)
        raise BundleError("the disk is full")

    engine = engine_of(bundle)
    engine.load()
    monkeypatch.setattr(OnnxRuntimeEngine, "_session_of", dying)
    with pytest.raises(BundleError, match="the disk is full"):
        engine.save_compiled()
    engine.close()
    assert store.find("prefix") is None
    assert sorted(p.name for p in store.folder.iterdir() if "prefix" in p.name) == []


def test_what_a_killed_process_left_is_removed_by_the_next_write(bundle: Path) -> None:
    store = store_of(bundle)
    left = store.folder / ".prefix.partial-4194399"  # Above the largest process id.
    left.mkdir()
    (left / "prefix.weights").write_bytes(b"half")
    store.remove("prefix")
    with engine_of(bundle) as engine:
        assert engine.save_compiled()
        assert engine.save_compiled()
    assert not left.exists()
    assert store.find("prefix") is not None


def test_records_without_weights_of_their_own_are_still_read() -> None:
    key = key_here(read_bundle(tiny_bundle()), OnnxRuntimeEngine)
    older = {"key": msgspec.to_builtins(key), "graph": "prefix", "size_bytes": 1, "sha256": "0"}
    record = msgspec.convert(older, compiled.CompiledRecord)
    assert record.weights is None
