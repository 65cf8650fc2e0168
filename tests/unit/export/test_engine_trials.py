"""``--precision auto`` keeps the fastest that passes; the limits are those of an arm."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import numpy as np
import pytest
from bundle_tools import copy_of_tiny_bundle, edit_manifest, tiny_bundle
from numpy.typing import NDArray

from dvla.engines.bundle import REFERENCE_NAME, new_bundle, read_bundle
from dvla.engines.errors import BundleError, ExportMismatch
from dvla.engines.manifest import Verification
from dvla.engines.onnxruntime_ import OnnxRuntimeEngine
from dvla.engines.selection import chosen_engine
from dvla.engines.tensors import Arrays
from dvla.export import engine_trials
from dvla.export.engine_trials import passed_verification, verify_engine
from dvla.export.gate import compare
from dvla.export.progress import Progress
from dvla.export.reduced_gate import judged_as_reduced
from dvla.export.reference import Reference, load_reference
from dvla.runtime.policy import Policy

FP32, BF16 = "fp32", "bf16"


class Reduced(OnnxRuntimeEngine):
    """ONNX Runtime with a made-up bfloat16 that is off by ``faults`` per graph."""

    faults: ClassVar[dict[str, float]] = {}

    @classmethod
    def precisions(cls) -> tuple[str, ...]:
        return (FP32, BF16)

    def _run_impl(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        fault = self.faults.get(self.graph.name, 0.0) if self.precision == BF16 else 0.0
        outputs = super()._run_impl(inputs)
        return {
            name: (array * (1 + fault)).astype(array.dtype) if array.dtype == np.float32 else array
            for name, array in outputs.items()
        }


LATENCY_S = {(FP32, FP32): 1.0, (BF16, FP32): 0.5, (FP32, BF16): 0.8, (BF16, BF16): 0.3}


def choose(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    faults: dict[str, float],
    latency_s: dict[tuple[str, str], float],
) -> dict[str, str]:
    """Let ``auto`` choose with given faults and latencies; return the precision that then runs."""
    bundle = copy_of_tiny_bundle(tmp_path)
    right = engine_trials.verify

    def timed(pipeline: Any, *arguments: Any, **options: Any) -> Verification:
        found = right(pipeline, *arguments, **options)
        key = (pipeline.prefix.precision, pipeline.denoise.precision)
        return msgspec.structs.replace(found, latency_s=latency_s[key])

    monkeypatch.setattr(Reduced, "faults", faults)
    monkeypatch.setattr(engine_trials, "verify", timed)
    record = verify_engine(read_bundle(bundle), Reduced, "auto", Progress())
    monkeypatch.setattr("dvla.engines.selection.engine_class", lambda _name: Reduced)
    choice = chosen_engine(read_bundle(bundle), "onnxruntime")
    assert choice.precision == record.key.precision
    policy = Policy.load(bundle)
    assert policy.pipeline.prefix.precision == choice.precision["prefix"]
    assert policy.pipeline.denoise.precision == choice.precision["denoise"]
    policy.close()
    return choice.precision


@pytest.mark.parametrize(
    ("faults", "latency_s", "chosen"),
    [
        ({}, LATENCY_S, (BF16, BF16)),
        ({"prefix": 0.5}, LATENCY_S, (FP32, BF16)),
        ({"denoise": 0.5}, LATENCY_S, (BF16, FP32)),
        ({"prefix": 0.5, "denoise": 0.5}, LATENCY_S, (FP32, FP32)),
        ({}, LATENCY_S | {(BF16, BF16): 0.6}, (BF16, FP32)),
        ({}, dict.fromkeys(LATENCY_S, 1.0), (FP32, FP32)),
        ({}, {**dict.fromkeys(LATENCY_S, 2.0), (FP32, FP32): 1.0}, (FP32, FP32)),
    ],
    ids=[
        "both pass",
        "the prefix fails",
        "denoising fails",
        "both fail",
        "together they are slower",
        "nothing is gained",
        "reduced precision is slower",
    ],
)
def test_auto_keeps_the_fastest_that_passes(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    faults: dict[str, float],
    latency_s: dict[tuple[str, str], float],
    chosen: tuple[str, str],
) -> None:
    precision = choose(tmp_path, monkeypatch, faults, latency_s)
    assert (precision["prefix"], precision["denoise"]) == chosen


def test_the_manifest_keeps_what_was_tried_and_how_far_it_was_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose(tmp_path, monkeypatch, {"denoise": 0.5}, LATENCY_S)
    records = read_bundle(tmp_path / "copy.bundle").manifest.engines
    by_precision = {tuple(r.key.precision.values()): r for r in records}
    assert set(by_precision) == {(FP32, FP32), (BF16, FP32), (FP32, BF16)}
    failed = by_precision[FP32, BF16]
    assert failed.status == "failed"
    assert failed.verification is not None
    assert failed.verification.findings
    assert all(column.max_error > 0.01 for column in failed.verification.columns)
    with pytest.raises(ExportMismatch, match=r"standard deviation, limit 3%.*keep fp32"):
        passed_verification(failed)


def verify_while(
    monkeypatch: pytest.MonkeyPatch, bundle: Path, meanwhile: Callable[[], object]
) -> None:
    """Verify a bundle in float32 while something else happens to it."""
    right = engine_trials.verify

    def slow(*arguments: Any, **options: Any) -> Verification:
        monkeypatch.setattr(engine_trials, "verify", right)
        meanwhile()
        return right(*arguments, **options)

    monkeypatch.setattr(engine_trials, "verify", slow)
    verify_engine(read_bundle(bundle), Reduced, FP32, Progress())


def test_an_engine_that_failed_meanwhile_stays_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = copy_of_tiny_bundle(tmp_path)
    monkeypatch.setattr(Reduced, "faults", {})
    assert verify_engine(read_bundle(bundle), Reduced, BF16, Progress()).status == "verified"
    monkeypatch.setattr(Reduced, "faults", {"denoise": 0.5})

    def fails() -> None:
        assert verify_engine(read_bundle(bundle), Reduced, BF16, Progress()).status == "failed"

    verify_while(monkeypatch, bundle, fails)
    records = read_bundle(bundle).manifest.engines
    found = [(record.key.precision["denoise"], record.status) for record in records]
    assert found == [(BF16, "failed"), (FP32, "verified")]


def test_a_verdict_is_not_written_into_the_bundle_that_came_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = copy_of_tiny_bundle(tmp_path)

    def replaced() -> None:
        with new_bundle(bundle, overwrite=True) as building:
            shutil.copytree(tiny_bundle(), building, dirs_exist_ok=True)
            edit_manifest(building, lambda manifest: manifest["source"].update(sha256="another"))

    with pytest.raises(BundleError, match=r"was replaced.*--verify") as caught:
        verify_while(monkeypatch, bundle, replaced)
    assert "\n" not in str(caught.value)
    manifest = read_bundle(bundle).manifest
    assert manifest.source.sha256 == "another"
    assert manifest.engines == read_bundle(tiny_bundle()).manifest.engines


def test_a_bundle_that_was_removed_meanwhile_is_one_paragraph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = copy_of_tiny_bundle(tmp_path)
    with pytest.raises(BundleError, match="was replaced"):
        verify_while(monkeypatch, bundle, lambda: shutil.rmtree(bundle))
    assert not bundle.exists()


def judged(
    change: NDArray[np.float64], gripper: float = 1.0, recorded: bool = True
) -> Verification:
    """Judge actions that differ from a made-up reference by ``change`` (A,) in one action of 80."""
    manifest = read_bundle(tiny_bundle()).manifest
    reference = load_reference(tiny_bundle() / REFERENCE_NAME)
    actions = np.zeros_like(reference.actions)
    actions[..., 6] = gripper
    reference = msgspec.structs.replace(
        reference, actions=actions, source="recorded" if recorded else "synthetic"
    )
    got = actions.copy()
    got[0, 0] += change
    return judged_by_hand(got, reference, manifest)


def judged_by_hand(got: Any, reference: Reference, manifest: Any) -> Verification:
    facts, statistics = manifest.policy, manifest.normalisation
    found = compare(got, reference, facts, statistics, 1e-4, 0.0)
    return judged_as_reduced(found, got, reference, facts, statistics)


def one(column: int, value: float) -> NDArray[np.float64]:
    change = np.zeros(7)
    change[column] = value
    return change


@pytest.mark.parametrize(
    ("change", "gripper", "finding"),
    [
        (one(0, 2.9e-3), 1.0, None),
        (one(0, 3.1e-3), 1.0, "position max 3.1 mm"),
        (np.array([2e-3, 2e-3, 2e-3, 0, 0, 0, 0]), 1.0, "position max 3.46 mm"),
        (one(4, np.deg2rad(0.9)), 1.0, None),
        (one(4, np.deg2rad(1.1)), 1.0, "rotation max 1.1 deg"),
        (one(5, 2 * np.pi), 1.0, None),
        (one(6, -0.9), 1.0, None),
        (one(6, -1.1), 1.0, "1 gripper decisions flipped"),
        (one(6, -0.1), 0.05, None),
        (one(2, np.nan), 1.0, "not finite"),
    ],
)
def test_recorded_observations_are_judged_as_an_arm_feels_them(
    change: NDArray[np.float64], gripper: float, finding: str | None
) -> None:
    found = judged(change, gripper)
    assert found.gate == "reduced"
    assert found.passed == (finding is None)
    assert (finding or "") in "; ".join(found.findings)


def test_many_small_errors_are_over_the_99th_percentile() -> None:
    manifest = read_bundle(tiny_bundle()).manifest
    reference = load_reference(tiny_bundle() / REFERENCE_NAME)
    reference = msgspec.structs.replace(reference, source="recorded")
    off = reference.actions.copy()
    off[0, :10, 1] += 1.5e-3
    off[1, :10, 3] += np.deg2rad(0.5)
    findings = judged_by_hand(off, reference, manifest).findings
    assert [finding.split(",")[0][:12] for finding in findings] == ["position p99", "rotation p99"]


def test_synthetic_weights_are_judged_by_the_spread_of_each_column() -> None:
    manifest = read_bundle(tiny_bundle()).manifest
    reference = load_reference(tiny_bundle() / REFERENCE_NAME)
    std = np.array(manifest.normalisation.action_std)
    for share, passes in ((0.029, True), (0.031, False)):
        off = reference.actions.copy()
        off[..., 4] += np.float32(share * std[4])
        found = judged_by_hand(off, reference, manifest)
        assert found.passed == passes
        assert passes or found.findings[0].startswith("ry p99 3.1")
