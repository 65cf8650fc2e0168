"""What evidence is about: everything of a run that changes what its arm does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from dvla.runtime.preflight.report import Fingerprint
from dvla.runtime.preflight.setup import fingerprint_of
from dvla.runtime.robots import robot_by_name
from dvla.runtime.run_config import RunConfig

PIPER = RunConfig(
    robot="piper",
    can="can0",
    policy="some:weights",
    task="put the can into the bowl",
    camera=("opst=v4l2:/dev/video0", "wrist=video:film.mp4"),
)
FRANKA = msgspec.structs.replace(PIPER, robot="franka", can="", host="172.16.0.2")
BASES = {
    **dict.fromkeys(("host", "load_kg", "realtime"), FRANKA),
    "robot": msgspec.structs.replace(PIPER, can="", arm_address="local"),
    "guide": msgspec.structs.replace(PIPER, seam="rtc"),
}
"""Where the first arm's own run does not take another value."""

CHANGED: dict[str, Any] = {
    "robot": "franka",
    "sim": True,
    "start_pose": (0.3, 0.0, 0.2, 3.1, 0.0, 0.0),
    "camera": ("opst=v4l2:/dev/video2",),
    "camera_tolerance_ms": 90.0,
    "latency": None,  # a file: written by the test
    "policy": "some:other",
    "noise_scale": 0.0,
    "ci": False,
    "laas": False,
    "bootstrap": "discard",
    "resume": "anchor",
    "seam": "rtc",
    "blend_steps": 7,
    "guide": "aged",
    "inject_latency_ms": 40.0,
    "inject_camera_ms": 40.0,
    "inject_arm_ms": 40.0,
    "servo_hz": 1000,
    "engine_threads": 1,
    "engine_cpus": (0,),
    "arm_name": "left",
    "arm_address": "tcp://127.0.0.1:7700",
    "can": "can1",
    "speed_percent": 50,
    "host": "172.16.0.3",
    "load_kg": 0.5,
    "realtime": False,
    "override": ("max_command_age_s=0.2:60:try",),
}
"""Another value of each field that evidence depends on."""
OTHERS = {
    "shadow", "execute", "yes", "may_execute", "return_to_start",  # what evidence is for
    "bundle", "backend",  # of a bundle: below
    "task", "seed", "duration", "episode",  # what is done with the set-up
    "keys", "arm_key",  # who knows whom
    "arm_model", "out", "mcap", "viz", "mcap_mb", "require_recording", "plain", "json", "debug",
}  # fmt: skip


def fingerprint(base: RunConfig, **changes: Any) -> Fingerprint:
    config = msgspec.structs.replace(base, **changes)
    return fingerprint_of(config, robot_by_name(config.robot), {})


def test_every_field_of_a_run_is_evidence_or_known_to_be_none() -> None:
    fields = {field.name for field in msgspec.structs.fields(RunConfig)}
    assert fields == CHANGED.keys() | OTHERS and not CHANGED.keys() & OTHERS


@pytest.mark.parametrize("name", CHANGED)
def test_another_set_up_has_evidence_of_its_own(name: str, tmp_path: Path) -> None:
    base = BASES.get(name, PIPER)
    (tmp_path / "delays.json").write_text("{}")
    changed = tmp_path / "delays.json" if name == "latency" else CHANGED[name]
    found = fingerprint(base).differences(fingerprint(base, **{name: changed}))
    assert found, name


def test_a_bundle_and_its_backend_are_evidence() -> None:
    shipped = Path("policies/nano.bundle")
    own = fingerprint(PIPER, policy="bundle", bundle=shipped)
    assert own.differences(fingerprint(PIPER))
    other = fingerprint(PIPER, policy="bundle", bundle=shipped, backend="openvino")
    assert own.differences(other) and not own.differences(own)


def test_a_fingerprint_tells_its_arm() -> None:
    found = fingerprint(PIPER)
    assert not found.sim and "can0" in found.hardware and found.policy == "some:weights"
    assert not found.differences(fingerprint(PIPER, task="pick up the ball", seed=4))
