"""The gate's part for joints: a case per reason, what stops add, and what the arm makes of it."""

from __future__ import annotations

import itertools
from types import ModuleType
from typing import Any

import msgspec
import numpy as np
import pytest
from arm_doubles import HOME, LIMITS, MS
from mutants import mutant

from dvla.bindings import FACTS
from dvla.runtime import joint_gate, safety
from dvla.runtime.errors import ConfigError
from dvla.runtime.geometry import KeepOutPlane
from dvla.runtime.ik import make_chain
from dvla.runtime.joint_gate import JointGate
from dvla.runtime.limit_bounds import check_limits
from dvla.runtime.limits import ArmLimits
from dvla.runtime.playback import Joint
from dvla.runtime.pose import Float64
from dvla.runtime.robots.franka import FRANKA_TWIN_LIMITS
from dvla.runtime.robots.franka_geometry import FRANKA_JOINTS
from dvla.runtime.robots.piper.limits import PIPER_LIMITS
from dvla.runtime.rotation import rotate
from dvla.runtime.twin.layout import FRANKA_LAYOUT, PIPER_LAYOUT, TableLayout

PERIOD_NS = 4 * MS
NOT_MEASURED = np.zeros(0)


def limits(**changes: Any) -> ArmLimits:
    joints = msgspec.structs.replace(FRANKA_JOINTS, **changes)
    return msgspec.structs.replace(LIMITS, joints=joints)


def path(
    start: Float64 = HOME,
    offset: tuple[float, float, float] = (0.05, 0.05, 0.0),
    turn: tuple[float, float, float] = (0.0, 0.0, 0.0),
    duration_s: float = 0.6,
) -> Float64:
    """Return rows (n, 8) of a minimum-jerk move."""
    s = np.linspace(0.0, 1.0, round(duration_s / 0.004))
    share = 10 * s**3 - 15 * s**4 + 6 * s**5
    rows = np.repeat(start[None], len(s), axis=0)
    rows[:, :3] += share[:, None] * np.asarray(offset)
    for row, part in zip(rows, share, strict=True):
        row[3:7] = rotate(part * np.asarray(turn), start[3:7])
    return rows


def judge(
    bounds: ArmLimits, rows: Float64, batch: int = 28, module: ModuleType = joint_gate
) -> safety.Verdict:
    """Pass rows through the gate as commands of ``batch`` rows that follow one another."""
    gate = module.JointGate(bounds, rows[0], NOT_MEASURED)
    kept = np.repeat(rows[:1], 4, axis=0)
    for at in range(0, len(rows), batch):
        joint = Joint(kept, (at - 4) * PERIOD_NS, 0)
        part = rows[at : at + batch]
        verdict: safety.Verdict = gate.check(joint, part, PERIOD_NS)
        if not verdict.ok:
            return verdict
        gate.splice(joint, PERIOD_NS)
        kept = np.concatenate([kept, part])[-4:]
    return safety.ACCEPTED


LOW = HOME.copy()
LOW[2] = 0.05
FAR = HOME.copy()
FAR[:3] = 0.72, 0.0, 0.45
ANY = {"velocity": (1e3,) * 7, "acceleration": (1e6,) * 7, "jerk": (1e9,) * 7}
CASES: dict[str, tuple[str, ArmLimits, Float64]] = {
    "velocity": ("joint_velocity", limits(velocity=(0.05,) * 7), path()),
    "acceleration": ("joint_acceleration", limits(acceleration=(0.5,) * 7), path()),
    "jerk": ("joint_jerk", limits(jerk=(10.0,) * 7), path(duration_s=0.3)),
    "margin": ("joint_position", limits(margin_rad=0.5), path(offset=(-0.1, 0.0, 0.0))),
    "reach": ("unreachable", limits(min_manipulability=0.0, **ANY), path(FAR, (0.25, 0.0, 0.2))),
    "singularity": ("singularity", limits(min_manipulability=0.06), path(FAR, (0.05, 0.0, 0.0))),
    "self": ("self_collision", limits(self_clearance_m=0.3), path()),
    "table": ("plane", limits(), path(LOW, (0.0, 0.0, 0.0), (1.5, 0.0, 0.0), 2.0)),
    "wall": (
        "plane",
        limits(planes=(KeepOutPlane(name="wall", normal=(0.0, -1.0, 0.0), offset_m=-0.15),)),
        path(offset=(0.0, 0.12, 0.0)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_gate_refuses(name: str) -> None:
    reason, bounds, rows = CASES[name]
    verdict = judge(bounds, rows)
    assert verdict.reason == reason, verdict
    assert reason in safety.REASONS
    assert verdict.detail


@pytest.mark.parametrize("name", ["velocity", "acceleration", "jerk", "margin", "self", "wall"])
def test_the_same_motion_passes_within_the_shipped_limits(name: str) -> None:
    assert judge(limits(), CASES[name][2]).ok


def test_a_joint_at_its_full_speed_leaves_nothing_for_a_stop() -> None:
    """Its pose lags by little, and yet: from there a stop could not always be followed."""
    verdict = judge(limits(velocity=(0.3,) * 7), path())
    assert verdict.reason == "joint_velocity" and "for a stop" in verdict.detail
    freed = mutant(joint_gate, "elif held[:1] == [0] and verdict.ok:", "elif False:")
    assert judge(limits(velocity=(0.3,) * 7), path(), module=freed).ok


def test_a_stop_that_would_pass_a_wall_is_refused_before_the_motion_gets_there() -> None:
    wall = KeepOutPlane(name="wall", normal=(0.0, -1.0, 0.0), offset_m=-0.14)
    walled, rows = limits(planes=(wall,)), path(offset=(0.0, 0.2, 0.0), duration_s=0.7)[:56]
    verdict = judge(walled, rows)
    assert verdict.reason == "plane"
    assert "in the stop" in verdict.detail
    assert judge(walled, rows, module=mutant(joint_gate, "STOPS = 4", "STOPS = 0")).ok


def test_rest_finds_the_joints_of_a_pose_from_wherever_the_arm_says_it_is() -> None:
    chain = make_chain(FRANKA_JOINTS)
    pose = np.zeros(7)
    rng = np.random.default_rng(3)
    for q in (NOT_MEASURED, np.zeros(7), np.full(7, np.nan), rng.uniform(-3.0, 3.0, 7)):
        gate = JointGate(limits(), HOME, q)
        chain.tcp(gate.q, pose)
        np.testing.assert_allclose(pose[:3], HOME[:3], atol=1e-4)


def test_what_was_refused_leaves_the_joints_as_they_were() -> None:
    gate = JointGate(limits(velocity=(0.05,) * 7), HOME, NOT_MEASURED)
    before = gate.q.copy()
    joint = Joint(np.repeat(HOME[None], 4, axis=0), 0, 0)
    assert not gate.check(joint, path()[:120], PERIOD_NS).ok
    np.testing.assert_array_equal(gate.q, before)


def test_every_joint_reason_has_a_case() -> None:
    tested = {reason for reason, _, _ in CASES.values()}
    assert tested == set(safety.REASONS[safety.REASONS.index("joint_position") :])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"velocity": (100.0,) * 7}, "joints.velocity of joint 1"),
        ({"velocity": (1.0,) * 6}, "another length"),
        ({"jerk": (float("nan"),) * 7}, "joints.jerk of joint 1"),
        ({"margin_rad": 2.0}, "joint 2 is empty"),
        ({"max_miss_m": 1.0}, "joints.max_miss_m"),
        ({"planes": (KeepOutPlane(name="wall", normal=(0.0, 2.0, 0.0), offset_m=0.0),)}, "wall"),
    ],
)
def test_limits_of_joints_have_bounds_themselves(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        check_limits(limits(**change))


@pytest.mark.parametrize(
    ("bounds", "layout"),
    [(FRANKA_TWIN_LIMITS, FRANKA_LAYOUT), (PIPER_LIMITS, PIPER_LAYOUT)],
    ids=["franka", "piper"],
)
def test_what_lies_on_the_table_of_the_benchmark_is_far_enough_from_singularities(
    bounds: ArmLimits, layout: TableLayout
) -> None:
    """An arm that is led where its limit forbids stops there, again and again."""
    joints = bounds.joints
    assert joints is not None
    chain, facts = make_chain(joints), np.empty((1, FACTS))
    home = np.empty(7)
    chain.tcp(np.array(joints.geometry.posture), home)
    nearest = min(layout.rest_x[0], *layout.lanes_x)
    places = itertools.product((nearest, layout.middle_x), (-0.1, 0.0, 0.1), (0.02, 0.1))
    for x, y, z in places:
        row = np.array([[x, y, z, *home[3:7], 1.0]])
        way = np.repeat(row, 200, axis=0)
        way[:, :3] = home[:3] + np.linspace(0.0, 1.0, 200)[:, None] * (row[0, :3] - home[:3])
        q = np.empty((200, chain.joints))
        chain.follow(np.array(joints.geometry.posture), way, q, np.empty((200, FACTS)))
        chain.follow(q[-1], row, q[:1], facts, 200)
        assert facts[0, 2] > 1.3 * joints.min_manipulability, (x, y, z)


def test_an_arm_is_let_out_of_where_a_stop_has_ended() -> None:
    """Too near to a singularity: commands that come no nearer pass, whatever the limit says."""
    strict = limits(min_manipulability=0.06)
    inwards = path(FAR, (-0.1, 0.0, -0.1), duration_s=2.0)
    outwards = path(FAR, (0.05, 0.0, 0.0), duration_s=2.0)
    assert judge(strict, inwards).ok
    assert judge(strict, outwards).reason == "singularity"
    old, new = "min(least, report[16])", "least"
    assert judge(strict, inwards, module=mutant(joint_gate, old, new)).reason == "singularity"


def test_a_command_begins_at_the_motion_that_the_elbow_has() -> None:
    """After a stop the TCP rests, and the elbow goes on: the gate's joints are the driver's."""

    def apart_rad(module: ModuleType) -> float:
        gate = module.JointGate(limits(), HOME, NOT_MEASURED)
        away = gate.q + np.array([0.8, 0.0, -0.8, 0.0, 0.0, 0.0, 0.0])
        at = np.empty((1, 7))  # the same pose, with the elbow elsewhere
        make_chain(FRANKA_JOINTS).follow(away, HOME[None], at, np.empty((1, FACTS)), 4)
        gate._ik.reset(at[0])
        for tick in range(6):
            gate.play(HOME, tick * PERIOD_NS)
        gate.rest()
        assert np.abs(gate._ik.velocity).max() > 0.1
        joint = Joint(np.repeat(HOME[None], 4, axis=0), 0, 0)
        rows = np.repeat(HOME[None], 28, axis=0)
        assert gate.check(joint, rows, PERIOD_NS).ok
        expected = gate._q_rows[5].copy()
        for tick in range(6, 12):
            gate.play(HOME, tick * PERIOD_NS)
        return float(np.abs(gate.q - expected).max())

    assert apart_rad(joint_gate) < 1e-4
    repeated = mutant(joint_gate, "past_s[:, None] * self._ik.velocity", "0.0 * past_s[:, None]")
    assert apart_rad(repeated) > 1e-3
