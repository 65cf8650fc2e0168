"""What a run on a real arm is refused for, before anything starts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dvla.engines.errors import DvlaError
from dvla.runtime.robots.franka import FRANKA_LIMITS
from dvla.runtime.robots.hardware import Hardware
from dvla.runtime.robots.piper.limits import PIPER_LIMITS
from dvla.runtime.run_arm import hardware_of_run
from dvla.runtime.run_check import check
from dvla.runtime.run_config import RunConfig, load_run_config

PIPER = RunConfig(
    robot="piper",
    can="can0",
    bundle=Path("any.bundle"),
    task="put the can into the bowl",
    camera=("opst=v4l2:/dev/video0", "wrist=video:film.mp4"),
)
FRANKA = msgspec.structs.replace(PIPER, robot="franka", can="", host="172.16.0.2")

WRONG: dict[str, tuple[RunConfig, dict[str, Any], str]] = {
    "no piper": (PIPER, {"can": ""}, r"where the real piper is.*--can can0.*--arm-address"),
    "no franka": (FRANKA, {"host": ""}, r"where the real franka is.*--host .*--sim for its"),
    "another's bus": (FRANKA, {"can": "can0"}, r"--can leads to another arm than a franka"),
    "another's box": (PIPER, {"host": "10.0.0.1"}, r"--host leads to another arm than a piper"),
    "a twin's bus": (FRANKA, {"sim": True, "can": "can0"}, r"--can leads to a real arm.*--sim"),
    "a twin's bus too": (PIPER, {"sim": True}, r"--can leads to a real arm.*--sim"),
    "two ways": (PIPER, {"arm_address": "local"}, r"--can starts an arm.*leave one of the two"),
    "load": (PIPER, {"load_kg": 1.0}, r"--load-kg has a meaning only with --host"),
    "speed": (FRANKA, {"speed_percent": 50}, r"--speed-percent .* only with --can"),
    "kernel": (PIPER, {"realtime": False}, r"--no-realtime .* only with --host"),
    "no task": (PIPER, {"task": " "}, r"needs its instruction"),
    "oracle": (PIPER, {"policy": "oracle", "bundle": None, "camera": ()}, r"sees the true state"),
    "no such policy": (PIPER, {"policy": "no-such", "bundle": None}, r"Valid: bundle, oracle"),
    "two policies": (PIPER, {"policy": "some"}, r"--policy some runs no bundle"),
    "twin's camera": (PIPER, {"camera": ("opst=twin:",)}, r"no twin for a camera"),
    "look of a twin": (PIPER, {"arm_model": Path("arm.xml")}, r"--arm-model is the look"),
    "a film": (PIPER, {"execute": True, "may_execute": True}, r"an arm that moves has to see"),
    "override": (
        PIPER,
        {"can": "", "arm_address": "local", "override": ("max_command_age_s=0.2:60:try",)},
        r"dvla-arm run --override",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_real_run_is_refused_in_one_paragraph(case: str) -> None:
    config, changes, words = WRONG[case]
    with pytest.raises(DvlaError) as refused:
        check(msgspec.structs.replace(config, **changes))
    assert refused.value.exit_code == 2
    assert re.search(words, str(refused.value)), refused.value


@pytest.mark.parametrize("config", [PIPER, FRANKA])
def test_a_real_arm_begins_in_shadow_under_its_own_limits(config: RunConfig) -> None:
    robot = check(config)
    assert config.in_shadow and not config.sim
    assert robot.limits_for(sim=config.sim) in (PIPER_LIMITS, FRANKA_LIMITS)
    assert hardware_of_run(config, robot) == Hardware(can=config.can, host=config.host)
    by_address = msgspec.structs.replace(config, can="", host="", arm_address="tcp://127.0.0.1:9")
    assert hardware_of_run(by_address, check(by_address)) is None


def test_a_set_up_is_one_file(tmp_path: Path) -> None:
    path = tmp_path / "setup.yaml"
    path.write_text(
        "robot: piper\ncan: can0\nbundle: any.bundle\ntask: put the can into the bowl\n"
        'camera: ["opst=v4l2:/dev/video0", "wrist=realsense:0123456789,fit=crop-resize"]\n'
        "start_pose: [0.27, 0.0, 0.2, 3.14, 0.0, 0.0]\nmay_execute: true\n"
    )
    config = load_run_config(path)
    assert check(config).name == "piper"
    assert check(msgspec.structs.replace(config, execute=True)).name == "piper"
