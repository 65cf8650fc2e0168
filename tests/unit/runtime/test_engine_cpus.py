"""The engine stays on the CPUs that it is told, with one thread for each."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import pytest

from dvla.runtime.errors import ConfigError
from dvla.runtime.processes import policy
from dvla.runtime.run_check import check
from dvla.runtime.run_config import RunConfig


@pytest.mark.parametrize(
    ("threads", "cpus", "given"),
    [(0, (), None), (0, (1, 3), 2), (1, (1, 3), 1), (4, (), 4)],
)
def test_it_is_pinned_before_it_is_loaded(
    monkeypatch: pytest.MonkeyPatch, threads: int, cpus: tuple[int, ...], given: int | None
) -> None:
    done: list[Any] = []
    monkeypatch.setattr(policy, "stay_on", done.append)
    monkeypatch.setattr(policy.Policy, "load", lambda *_, **named: done.append(named["threads"]))
    settings: Any = SimpleNamespace(
        noise_scale=None,
        policy="bundle",
        bundle="b",
        backend="onnxruntime",
        engine_threads=threads,
        engine_cpus=cpus,
    )
    policy.make_policy(settings)
    assert done == [cpus, given]


def test_a_cpu_that_may_not_be_used_is_refused() -> None:
    mine = sorted(os.sched_getaffinity(0))
    right = RunConfig(sim=True, policy="oracle", engine_cpus=tuple(mine))
    check(right)
    with pytest.raises(ConfigError, match=rf"--engine-cpus.*Got {mine[0]} 4096.*of {mine[0]}"):
        check(RunConfig(sim=True, policy="oracle", engine_cpus=(mine[0], 4096)))
