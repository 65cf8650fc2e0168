"""Whether the parts of a run's configuration go together; asked before anything starts."""

from __future__ import annotations

import numpy as np

from dvla.engines.errors import UsageError
from dvla.engines.registry import check_backend_name
from dvla.runtime.bounds import MAX_THREADS, check_bounds, check_seed
from dvla.runtime.errors import ConfigError
from dvla.runtime.overrides import parse_override
from dvla.runtime.policy_checks import check_noise_scale
from dvla.runtime.policy_entry import find_policy
from dvla.runtime.robots import Robot, robot_by_name, robot_with_twin
from dvla.runtime.run_arm import check_connection, check_real_arm
from dvla.runtime.run_config import BUNDLE, ORACLE, RunConfig
from dvla.runtime.run_inputs import REPLAY, check_inputs
from dvla.runtime.twin.bodies import twin_body
from dvla.runtime.twin.objects import parse_task

MAX_DURATION_S = 24 * 3600.0
MAX_INJECTED_MS = 10_000.0
MAX_TWIN_DELAY_MS = 400.0
"""Of a twin's camera or arm: what dvla-calibrate looks for."""


def check(config: RunConfig) -> Robot:
    """Return the robot, or say what is wrong with the configuration.

    Raises:
        ConfigError: a value is out of its bounds, or the robot is unknown.
        UsageError: its parts do not go together.
    """
    check_inputs(config)
    replays = config.robot == REPLAY
    robot = robot_with_twin(config.robot) if config.sim else robot_by_name(config.robot)
    check_connection(config, robot)
    if config.sim:
        twin_body(robot.name).refuse_look(config.arm_model)
    elif not replays:
        check_real_arm(config, robot)
    _check_policy(config)
    check_seed(config.seed)
    for name, value, high in (
        ("--duration", config.duration, MAX_DURATION_S),
        ("--inject-latency-ms", config.inject_latency_ms, MAX_INJECTED_MS),
        ("--inject-camera-ms", config.inject_camera_ms, MAX_TWIN_DELAY_MS),
        ("--inject-arm-ms", config.inject_arm_ms, MAX_TWIN_DELAY_MS),
        ("--engine-threads", config.engine_threads, MAX_THREADS),
    ):
        check_bounds(name, value, 0, high)
    twins = config.sim and not config.arm_address
    for flag, given, meant in (
        ("--inject-camera-ms", config.inject_camera_ms, config.sim),
        ("--inject-arm-ms", config.inject_arm_ms, twins),
    ):
        if given and not meant:
            raise UsageError(
                f"{flag} delays the digital twin that a run starts", expected="it with --sim"
            )
    if config.keys and not config.arm_address:
        raise UsageError(
            "--keys has a meaning only with --arm-address",
            expected="--arm-address tcp://HOST:PORT, where dvla-arm run listens",
        )
    config.arm_link(robot.name).check()
    _check_modes(config)
    if config.task and config.policy == ORACLE:
        parse_task(config.task)
    config.scheduler()
    config.servo()
    for text in config.override:
        parse_override(text)
    return robot


def _check_modes(config: RunConfig) -> None:
    if config.shadow and config.execute:
        raise UsageError("--shadow and --execute exclude each other", next_command="leave one out")
    for flag, given in (("--yes", config.yes), ("--return-to-start", config.return_to_start)):
        if given and not config.execute:
            raise UsageError(
                f"{flag} has no meaning without --execute", next_command="leave it out"
            )
    if config.execute and not config.may_execute:
        raise UsageError(
            "--execute needs a set-up that may move its arm",
            got="no --config file that says so",
            expected="--config FILE with may_execute: true in it",
        )
    if config.start_pose is not None:
        x, y, z, *angles = config.start_pose
        bounds = ((x, 2.0), (y, 2.0), (z, 2.0), *((angle, 2.0 * np.pi) for angle in angles))
        if not all(abs(value) <= bound for value, bound in bounds):
            raise ConfigError(
                "--start-pose is out of bounds",
                got=config.start_pose,
                expected="x y z within 2 m, angles within 2 pi rad",
            )


def _check_policy(config: RunConfig) -> None:
    check_noise_scale(config.noise_scale)
    check_backend_name(config.backend)
    if config.policy == BUNDLE:
        if config.bundle is None:
            raise UsageError(
                "nothing to run: --bundle is missing",
                expected="--bundle BUNDLE, made by dvla-export, or --policy oracle",
                next_command="dvla-export MODEL -o BUNDLE",
            )
        return
    if config.bundle is not None:
        raise UsageError(
            f"--policy {config.policy} runs no bundle, so --bundle has no meaning with it",
            next_command="leave one of the two out",
        )
    if config.noise_scale is not None:
        raise UsageError(
            "--noise-scale is of the sampling of a bundle's network",
            got=f"--policy {config.policy}",
            next_command="leave one of the two out",
        )
    if config.policy != ORACLE:
        find_policy(config.policy, (BUNDLE, ORACLE))
    elif config.seam == "rtc":
        raise UsageError(
            "--seam rtc guides the sampling of a network; the oracle samples nothing",
            expected="--seam switch, blend or ensemble with --policy oracle",
        )
