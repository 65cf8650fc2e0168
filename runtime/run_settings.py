"""What the processes of a run are told: their settings, from the configuration and the bundle."""

from __future__ import annotations

import os
import secrets
from typing import Any

import msgspec

from dvla.engines.bundle import read_bundle
from dvla.runtime.cameras.frame_ring import FrameShape
from dvla.runtime.overrides import parse_override
from dvla.runtime.policy_checks import check_arm
from dvla.runtime.policy_entry import PICTURE_SIZE
from dvla.runtime.processes.policy_shape import ask_shape
from dvla.runtime.processes.settings import Settings
from dvla.runtime.robots import Robot
from dvla.runtime.run_arm import hardware_of_run
from dvla.runtime.run_config import ORACLE, RunConfig
from dvla.runtime.run_folder import RunFolder
from dvla.runtime.run_inputs import lead_s
from dvla.runtime.supervisor import SharedMemory

TWIN_CAMERAS = ("observation.images.opst_cam", "observation.images.wrist_cam")
TWIN_FRAME = FrameShape(height=PICTURE_SIZE[0], width=PICTURE_SIZE[1])


def policy_facts(config: RunConfig) -> dict[str, Any]:
    """Return what the processes must know of the policy.

    Raises:
        BundleError: the bundle cannot be used.
        UsageError: it is for another arm.
        StartFailed: the installed policy cannot be opened.
    """
    if config.bundle is None:
        if config.policy == ORACLE:
            return {"cameras": dict.fromkeys(TWIN_CAMERAS, TWIN_FRAME)}
        shape = ask_shape(config.policy)
        height, width = shape.picture_size
        return {
            "cameras": dict.fromkeys(TWIN_CAMERAS, FrameShape(height=height, width=width)),
            "chunk_size": shape.chunk_size,
            "control_period_s": shape.control_period_s,
            "history_steps": shape.history_steps,
        }
    facts = read_bundle(config.bundle).manifest.policy
    check_arm(facts.robot_type, config.robot)
    frame = FrameShape(height=facts.camera_height, width=facts.camera_width)
    return {
        "cameras": dict.fromkeys(facts.cameras, frame),
        "bundle": str(config.bundle.resolve()),
        "chunk_size": facts.chunk_size,
        "control_period_s": facts.control_period_s,
        "history_steps": facts.history_steps,
        "state_width": facts.state_width,
    }


def make_settings(
    config: RunConfig,
    robot: Robot,
    folder: RunFolder,
    shared: SharedMemory,
    facts: dict[str, Any],
) -> Settings:
    """Return what the processes are told."""
    return Settings(
        session=secrets.randbits(62) + 1,
        supervisor_pid=os.getpid(),
        robot=robot.name,
        arm_name=config.arm_name or robot.name,
        run_folder=str(folder.path.resolve()),
        policy=config.policy,
        scheduler=msgspec.structs.replace(config.scheduler(), lead_s=lead_s(config)),
        servo=config.servo(),
        backend=config.backend,
        noise_scale=config.noise_scale,
        task=config.task,
        inject_latency_s=config.inject_latency_ms / 1e3,
        inject_camera_s=config.inject_camera_ms / 1e3,
        inject_arm_s=config.inject_arm_ms / 1e3,
        seed=config.seed,
        must_record=config.require_recording,
        shadow=config.in_shadow,
        start_pose=config.goal(robot) if config.execute else (),
        arm_model=str(config.arm_model.resolve()) if config.arm_model else "",
        engine_threads=config.engine_threads,
        engine_cpus=config.engine_cpus,
        rings=shared.rings(),
        arm_link=config.arm_link(robot.name),
        arm_alone=bool(config.arm_address),
        hardware=hardware_of_run(config, robot),
        sim=config.sim,
        overrides=tuple(map(parse_override, config.override)),
        **facts,
    )
