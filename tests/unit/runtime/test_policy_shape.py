"""The shape of an installed policy, asked in another process: known, or said why not."""

from __future__ import annotations

from pathlib import Path

import pytest
from installed_policies import install_policies

from dvla.runtime.processes.policy_shape import ask_shape
from dvla.runtime.processes.spawn import StartFailed


def test_a_policy_says_its_shape_or_why_it_cannot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(install_policies(tmp_path / "site")), prepend=":")
    shape = ask_shape("still")
    assert (shape.chunk_size, shape.control_period_s) == (10, 0.04)
    assert shape.picture_size == (360, 480) and shape.history_steps == (-2, 0)
    assert ask_shape("seeing").history_steps == (-4, -1, 0)
    assert ask_shape("stop-and-go:80").picture_size == (180, 240)
    with pytest.raises(StartFailed, match=r"FileNotFoundError: weights") as failed:
        ask_shape("fails:weights")
    assert failed.value.exit_code == 2
