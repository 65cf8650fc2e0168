"""What a run tells its processes and its folder before anything moves."""

from __future__ import annotations

import errno
from pathlib import Path
from types import SimpleNamespace

import pytest

from dvla.runtime.robots import robot_by_name
from dvla.runtime.run import Run
from dvla.runtime.run_config import RunConfig
from dvla.runtime.run_folder import RunFolder
from dvla.runtime.run_settings import make_settings, policy_facts
from dvla.runtime.supervisor import SharedMemory
from dvla.runtime.twin.snapshot import SNAPSHOT_BYTES


@pytest.mark.parametrize("sim", [True, False])
def test_the_processes_know_whether_the_arm_is_a_twin(tmp_path: Path, sim: bool) -> None:
    config, robot = RunConfig(sim=sim, policy="oracle"), robot_by_name("franka")
    shared = SharedMemory({}, SNAPSHOT_BYTES)
    made = make_settings(config, robot, RunFolder(tmp_path), shared, policy_facts(config))
    assert made.limits is (robot.twin_limits if sim else robot.limits)


def test_a_disk_that_fills_up_during_the_start_ends_no_run(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def full(_ending: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    Run._record_again(SimpleNamespace(_record=full))  # type: ignore[arg-type]
    assert "the run goes on: No space left on device" in capsys.readouterr().err
