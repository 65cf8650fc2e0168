"""Backends by name: unknown ones list the valid, missing libraries say what to install."""

from __future__ import annotations

import platform
import sys

import pytest

from dvla.engines import registry
from dvla.engines.errors import MissingDependency, UsageError


def test_an_unknown_backend_lists_the_valid_ones() -> None:
    with pytest.raises(UsageError, match=r"'tensorflow'.*Valid: .*onnxruntime"):
        registry.engine_class("tensorflow")


def test_a_missing_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = registry.BACKENDS["onnxruntime"]
    monkeypatch.delitem(sys.modules, backend.module, raising=False)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingDependency, match="pip install 'onnxruntime'") as caught:
        registry.engine_class("onnxruntime")
    assert caught.value.exit_code == 3


def test_every_backend_names_itself() -> None:
    for name in registry.BACKENDS:
        if name == "tensorrt" and platform.machine() != "x86_64":
            continue  # Without JetPack nothing brings it there.
        assert registry.engine_class(name).backend == name
