"""A bundle before it runs: its files, its engine, its tokenizer, its statistics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from bundle_tools import copy_of_tiny_bundle, edit_manifest

from dvla.engines.bundle import TOKENIZER_NAME
from dvla.engines.errors import BundleError
from dvla.runtime.preflight.bundle_checks import check_bundle
from dvla.runtime.preflight.finding import Finding

pytest.importorskip("torch", reason="the export that makes the bundle needs PyTorch")


def checks(path: Path) -> dict[str, Finding]:
    return {finding.check: finding for finding in check_bundle(path, "onnxruntime")}


def test_a_bundle_that_was_verified_here_may_run(tmp_path: Path) -> None:
    found = checks(copy_of_tiny_bundle(tmp_path))
    assert found["bundle"].level == found["tokenizer"].level == "ok"
    assert found["engine"].level == "warn" and "synthetic" in found["engine"].got
    assert "normalize_inputs" in found["normalisation"].got


def test_an_engine_that_was_compiled_and_never_ran_is_refused(tmp_path: Path) -> None:
    bundle = copy_of_tiny_bundle(tmp_path)

    def edit(manifest: dict[str, Any]) -> None:
        for engine in manifest["engines"]:
            engine["status"], engine["verification"] = "compiled, not run", None

    edit_manifest(bundle, edit)
    found = checks(bundle)["engine"]
    assert found.level == "fail" and "compiled, not run" in found.got
    assert "--verify" in found.got


def test_another_tokenizer_and_a_changed_file_are_refused(tmp_path: Path) -> None:
    bundle = copy_of_tiny_bundle(tmp_path)
    with (bundle / TOKENIZER_NAME).open("a") as file:
        file.write(" ")
    found = checks(bundle)
    assert found["tokenizer"].level == "fail" and found["bundle"].level == "fail"


def test_what_is_no_bundle_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="is not a bundle"):
        check_bundle(tmp_path / "nowhere", "onnxruntime")
