"""Evidence from a recorded run: the numbers that the checks judge by."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from arm_doubles import LIMITS
from synthetic_run import make_run

from dvla.runtime.preflight.checks import check_all
from dvla.runtime.preflight.collect import gather
from dvla.runtime.preflight.evidence import Evidence
from dvla.runtime.run_data import load_run
from dvla.runtime.summary import summarise_data


def gathered(tmp_path: Path) -> Evidence:
    data = load_run(make_run(tmp_path, video=False).path)
    return gather(
        data,
        summarise_data(data),
        limits=LIMITS,
        start_pose=(),
        realtime={"servo": "ordinary scheduler"},
        cameras=(),
        duration_s=7200.0,
    )


def test_a_run_becomes_evidence(tmp_path: Path) -> None:
    found = gathered(tmp_path)
    assert found.states.shape[1] == 6 and len(found.states) == len(found.quaternions) > 100
    assert ((found.states[:, [3, 5]] >= 0) & (found.states[:, [3, 5]] < 2 * np.pi)).all()
    assert found.accepted > 0 and not {"epoch", "hold", "stopping"} & set(found.rejected)
    assert found.chunk_s == 20 * 0.04 and found.servo_period_s == 1 / 250
    assert found.ticks > 1000 and found.lateness_s is not None
    assert found.wanted_bytes == 7200 * 400_000
    assert {finding.check for finding in check_all(found)} >= {"latency", "servo", "commands"}
