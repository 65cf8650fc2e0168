"""A bundle runs only on an engine that was verified on just this backend, version and device."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import pytest
from bundle_tools import copy_of_tiny_bundle, edit_manifest, tiny_bundle

from dvla.engines.bundle import read_bundle
from dvla.engines.errors import EngineMismatch, UsageError
from dvla.engines.selection import runnable_engine


def refusal(bundle: Path) -> str:
    with pytest.raises(EngineMismatch) as caught:
        runnable_engine(read_bundle(bundle), "onnxruntime")
    message = str(caught.value)
    assert f"dvla-export {bundle} --verify --backend onnxruntime" in message
    return message


def test_the_verified_engine_runs() -> None:
    assert runnable_engine(read_bundle(tiny_bundle()), "onnxruntime").backend == "onnxruntime"
    with pytest.raises(UsageError, match="Valid: onnxruntime"):
        runnable_engine(read_bundle(tiny_bundle()), "abacus")


@pytest.mark.parametrize(
    ("field", "value"), [("version", "0.9"), ("capability", "mips"), ("device", "toaster")]
)
def test_an_engine_of_another_machine_is_refused(tmp_path: Path, field: str, value: str) -> None:
    bundle = copy_of_tiny_bundle(tmp_path)
    edit_manifest(bundle, lambda m: m["engines"][0]["key"].update({field: value}))
    message = refusal(bundle)
    assert f"{field}: {value} here: " in message
    assert field != "capability" or platform.machine() in message


def test_an_engine_of_another_export_is_refused(tmp_path: Path) -> None:
    def edit(manifest: dict[str, Any]) -> None:
        manifest["engines"][0]["key"]["onnx"]["onnx/prefix.onnx"] = "0" * 64

    bundle = copy_of_tiny_bundle(tmp_path)
    edit_manifest(bundle, edit)
    assert "onnx: of another export" in refusal(bundle)


@pytest.mark.parametrize("status", ["compiled, not run", "failed"])
def test_an_engine_that_was_not_verified_is_refused(tmp_path: Path, status: str) -> None:
    bundle = copy_of_tiny_bundle(tmp_path)
    edit_manifest(bundle, lambda m: m["engines"][0].update(status=status, verification=None))
    assert f"status '{status}'" in refusal(bundle)


def test_a_bundle_without_engines_is_refused(tmp_path: Path) -> None:
    bundle = copy_of_tiny_bundle(tmp_path)
    edit_manifest(bundle, lambda m: m.update(engines=[]))
    assert "never verified on backend onnxruntime" in refusal(bundle)
