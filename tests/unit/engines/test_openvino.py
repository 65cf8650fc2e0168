"""OpenVINO: the model's own actions in float32, a stated precision, and a store that is right."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from bundle_tools import copy_of_tiny_bundle, golden_noise, golden_observation, tiny_bundle
from golden_model import TINY, TINY2, TINY_CHECKPOINT, Golden

from dvla.engines import compiled, registry
from dvla.engines.bundle import read_bundle
from dvla.engines.compiled import CompiledStore
from dvla.engines.errors import EngineMismatch, MissingDependency, UsageError
from dvla.engines.selection import chosen_engine, compiled_store, key_here
from dvla.export.build import verify_bundle
from dvla.export.checkpoint import load_checkpoint
from dvla.export.progress import Progress
from dvla.runtime.policy import Policy

pytest.importorskip("openvino", reason="the extra 'openvino' is not installed")

LIMIT = 1e-4


@pytest.fixture(scope="module")
def verified(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a bundle that was verified on OpenVINO in float32; it is shared."""
    bundle = copy_of_tiny_bundle(tmp_path_factory.mktemp("openvino"))
    verify_bundle(bundle, "openvino", Progress())
    return bundle


@pytest.fixture
def bundle(verified: Path, tmp_path: Path) -> Path:
    """Return a copy of the verified bundle that a test may damage."""
    return Path(shutil.copytree(verified, tmp_path / "copy.bundle"))


def store_of(bundle: Path) -> CompiledStore:
    opened = read_bundle(bundle)
    return compiled_store(opened, chosen_engine(opened, "openvino").engine)


def actions_of(bundle: Path, golden: Golden = TINY) -> Any:
    policy = Policy.load(bundle, backend="openvino", threads=1)
    try:
        observation = golden_observation(
            golden, policy.facts.cameras, load_checkpoint(TINY_CHECKPOINT).config
        )
        return policy.predict(observation, noise=golden_noise(golden)).actions
    finally:
        policy.close()


@pytest.mark.parametrize("golden", [TINY, TINY2], ids=["9 tokens", "5 tokens"])
def test_float32_actions_are_the_references(golden: Golden, verified: Path) -> None:
    expected = golden["actions_absolute"][0]
    difference = actions_of(verified, golden) - expected
    difference[:, [3, 5]] -= 2 * np.pi * np.round(difference[:, [3, 5]] / (2 * np.pi))
    assert np.abs(difference).max() / np.abs(expected).max() <= LIMIT


def test_a_bundle_holds_several_engines_and_each_runs(verified: Path) -> None:
    manifest = read_bundle(verified).manifest
    assert [record.key.backend for record in manifest.engines] == ["onnxruntime", "openvino"]
    assert len({record.key.digest for record in manifest.engines}) == 2
    Policy.load(verified, backend="onnxruntime").close()


def test_a_signal_after_engines_came_and_went_reaches_its_handler(verified: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from dvla.runtime.policy import Policy\n"
        "def load(): return Policy.load(Path(sys.argv[1]), backend='openvino', threads=1)\n"
        "first = load(); second = load(); first.close(); del first; second.close(); del second\n"
        "signal.signal(signal.SIGTERM, lambda *_: print('heard', flush=True))\n"
        "os.kill(os.getpid(), signal.SIGTERM)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(verified)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "heard\n"), done.stderr


def test_an_engine_that_never_ran_here_is_refused() -> None:
    with pytest.raises(EngineMismatch, match=r"never verified.*--verify --backend openvino"):
        Policy.load(tiny_bundle(), backend="openvino")


def test_precision_is_part_of_the_key() -> None:
    opened, engine = read_bundle(tiny_bundle()), registry.engine_class("openvino")
    exact = key_here(opened, engine)
    mixed = key_here(opened, engine, {"denoise": "bf16"})
    assert exact.precision == {"prefix": "fp32", "denoise": "fp32"}
    assert mixed.precision == {"prefix": "fp32", "denoise": "bf16"}
    assert exact.digest != mixed.digest
    assert msgspec.structs.replace(mixed, precision=exact.precision) == exact


@pytest.mark.parametrize("precision", ["int4", "FP32", ""])
def test_an_unknown_precision_lists_the_valid(bundle: Path, precision: str) -> None:
    before = (bundle / "manifest.json").read_bytes()
    with pytest.raises(UsageError, match=r"no such precision on this machine.*fp32.*auto"):
        verify_bundle(bundle, "openvino", Progress(), precision)
    assert (bundle / "manifest.json").read_bytes() == before


def test_a_precision_that_the_processor_lacks_is_refused(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = registry.engine_class("openvino")
    monkeypatch.setattr(engine, "precisions", classmethod(lambda cls: ("fp32",)))
    with pytest.raises(UsageError, match=r"'bf16'.*Valid: fp32, auto"):
        verify_bundle(bundle, "openvino", Progress(), "bf16")
    with pytest.raises(UsageError, match="'bf16'"):
        verify_bundle(bundle, "onnxruntime", Progress(), "bf16")


def test_a_missing_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "dvla.engines.openvino_", raising=False)
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingDependency, match=r"pip install 'dvla\[openvino\]'") as caught:
        registry.engine_class("openvino")
    assert caught.value.exit_code == 3


def test_the_stored_graphs_are_what_was_verified_and_are_loaded(bundle: Path) -> None:
    store = store_of(bundle)
    assert store.find("prefix") == store.path("prefix")
    assert store.find("denoise") == store.path("denoise")
    wanted = actions_of(bundle)
    for name in ("prefix.onnx", "denoise.onnx"):  # Loading compiled graphs reads no ONNX file.
        assert (bundle / "onnx" / name).is_file()
    policy = Policy.load(bundle, backend="openvino", threads=1)
    assert policy.pipeline.prefix._is_stored
    assert policy.pipeline.denoise._is_stored
    policy.close()
    weights = (bundle / "onnx" / "prefix.onnx.data").stat().st_size
    assert store.path("prefix").stat().st_size < weights, "the weights are read from the ONNX's"
    np.testing.assert_array_equal(actions_of(bundle), wanted)


def flip_a_bit(store: CompiledStore) -> None:
    path = store.path("prefix")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(store: CompiledStore) -> None:
    os.truncate(store.path("prefix"), store.path("prefix").stat().st_size // 2)


def claim_another_key(store: CompiledStore) -> None:
    record = store.folder / "prefix.json"
    data = msgspec.json.decode(record.read_bytes())
    data["key"]["capability"] = "x86_64 of another world"
    record.write_bytes(msgspec.json.encode(data))


def claim_another_graph(store: CompiledStore) -> None:
    shutil.copyfile(store.folder / "denoise.json", store.folder / "prefix.json")
    shutil.copyfile(store.path("denoise"), store.path("prefix"))


def garble_the_record(store: CompiledStore) -> None:
    (store.folder / "prefix.json").write_text("{")


def lose_the_record(store: CompiledStore) -> None:
    (store.folder / "prefix.json").unlink()


@pytest.mark.parametrize(
    "damage",
    [
        flip_a_bit,
        truncate,
        claim_another_key,
        claim_another_graph,
        garble_the_record,
        lose_the_record,
    ],
)
def test_a_damaged_or_foreign_compiled_graph_is_compiled_again(
    bundle: Path, damage: Callable[[CompiledStore], None]
) -> None:
    wanted = actions_of(bundle)
    store = store_of(bundle)
    damage(store)
    assert store.find("prefix") is None
    np.testing.assert_allclose(actions_of(bundle), wanted, rtol=0, atol=1e-4)
    verify_bundle(bundle, "openvino", Progress())
    assert store.find("prefix") is not None


def test_an_interrupted_write_is_never_picked_up(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_of(bundle)
    kept = store.path("prefix").read_bytes()
    store.remove("prefix")

    def interrupted(_handle: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(compiled.os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.save("prefix", kept)
    monkeypatch.undo()
    assert store.find("prefix") is None
    assert [p for p in store.folder.iterdir() if "partial" in p.name] == []


def test_a_write_that_dies_before_its_record_is_never_picked_up(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The graph has its name already, but nothing vouches for it yet, not even an old record."""
    store = store_of(bundle)
    changed = store.path("prefix").read_bytes() + b"more"
    replace = os.replace

    def dying(source: Path, target: Path) -> None:
        if Path(target).suffix == ".json":
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(compiled.os, "replace", dying)
    with pytest.raises(KeyboardInterrupt):
        store.save("prefix", changed)
    assert store.path("prefix").read_bytes() == changed
    assert store.find("prefix") is None


def test_what_a_killed_process_left_is_removed_by_the_next_write(bundle: Path) -> None:
    store = store_of(bundle)
    left = store.folder / ".prefix.compiled.partial-4194399"  # Above the largest process id.
    left.write_bytes(b"half")
    assert store.find("prefix") is not None
    store.save("prefix", store.path("prefix").read_bytes())
    assert not left.exists()
    assert store.find("prefix") is not None


def test_reduced_precision_passes_the_gate_or_says_which_columns_do_not(bundle: Path) -> None:
    engine = registry.engine_class("openvino")
    if "bf16" not in engine.precisions():
        with pytest.raises(UsageError, match="Valid: fp32, auto"):
            verify_bundle(bundle, "openvino", Progress(), "bf16")
        return
    before = actions_of(bundle)
    try:
        report = verify_bundle(bundle, "openvino", Progress(), "bf16")
        assert report.verification.findings == ()
    except Exception as error:
        assert "% of its standard deviation, limit 3%" in str(error)
        np.testing.assert_array_equal(actions_of(bundle), before)  # Float32 still runs.
    record = read_bundle(bundle).manifest.engines[-1]
    assert record.key.precision == {"prefix": "bf16", "denoise": "bf16"}
    assert record.verification is not None
    assert record.verification.gate == "reduced"
    assert [column.units for column in record.verification.columns] == ["m"] * 3 + ["rad"] * 3 + [
        "-"
    ]
    assert all(column.max_error > 0 for column in record.verification.columns)
    kept = CompiledStore(bundle, record.key).find("prefix")
    assert (kept is not None) == record.verification.passed
