"""Policies of other packages: found by name, opened with their argument, checked at every chunk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from installed_policies import install_policies

from dvla.engines.errors import UsageError
from dvla.runtime.observation import Observation
from dvla.runtime.policy_entry import (
    CheckedPolicy,
    PolicyError,
    installed_policies,
    open_installed,
    open_warmed_up,
    versioned,
)

SEEN = Observation(images={}, state=np.zeros((2, 6), np.float32), instruction="", t_obs_ns=5)


@pytest.fixture(autouse=True)
def _installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(install_policies(tmp_path / "site")))


def test_an_installed_policy_runs_by_name_and_takes_what_stands_behind_a_colon() -> None:
    assert "still" in installed_policies()
    policy = open_installed("still:/path/to:weights")
    assert policy._policy.argument == "/path/to:weights"  # type: ignore[attr-defined]
    chunk = policy.predict(SEEN, seed=3)
    assert chunk.actions.shape == (policy.chunk_size, 7) and chunk.t_obs_ns == 5
    assert policy._policy.seeds == [3]  # type: ignore[attr-defined]


def test_an_unknown_name_lists_what_is_installed() -> None:
    with pytest.raises(UsageError, match=r"'diffusion'.*expert, oracle.*still") as raised:
        open_installed("diffusion")
    assert raised.value.exit_code == 2


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("gone", "no_such_module"),
        ("fails:weights.bin", "FileNotFoundError: weights.bin"),
        ("half", "no chunk_size, control_period_s, predict, reset"),
    ],
)
def test_what_cannot_be_opened_is_said_at_once(name: str, words: str) -> None:
    with pytest.raises(PolicyError, match=words):
        open_installed(name)


@pytest.mark.parametrize("size", [(1, 2, 3), (48,), (0, 64), (-1, -1), (9000, 64), None, "x"])
def test_an_impossible_picture_size_is_said_when_the_policy_is_opened(size: object) -> None:
    policy = open_installed("still")._policy
    policy.picture_size = size
    with pytest.raises(PolicyError, match=r"picture_size.*1 to 8192"):
        CheckedPolicy("still", policy)


@pytest.mark.parametrize("steps", [(), (0, 0), (-1,), (0, -1), (-9, 0), (-0.5, 0), None, "now", 0])
def test_an_impossible_history_is_said_when_the_policy_is_opened(steps: object) -> None:
    policy = open_installed("still")._policy
    policy.history_steps = steps
    with pytest.raises(PolicyError, match=r"history_steps.*-8"):
        CheckedPolicy("still", policy)


def test_a_policy_says_its_history_or_has_the_usual_one() -> None:
    assert open_installed("still").history_steps == (-2, 0)
    assert open_installed("seeing").history_steps == (-4, -1, 0)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("narrow", r"shape \(10, 6\).*Expected \(10, 7\)"),
        ("broken", "not finite"),
        ("bare", r"Got ndarray.*Chunk"),
    ],
)
def test_a_chunk_of_another_form_is_refused(name: str, words: str) -> None:
    with pytest.raises(PolicyError, match=words):
        open_installed(name).predict(SEEN)


def test_a_policy_infers_once_before_an_arm_waits_for_it() -> None:
    policy = open_warmed_up("still", {"observation.images.opst_cam": (9, 12)}, 2)
    inner = policy._policy  # type: ignore[attr-defined]
    assert inner.seeds == [None] and inner.resets == 1
    with pytest.raises(PolicyError, match="not finite"):
        open_warmed_up("broken", {}, 2)
    assert versioned("still:weights") == "still:weights (1.0)" and versioned("bundle") == "bundle"
