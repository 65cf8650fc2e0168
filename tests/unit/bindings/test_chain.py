"""The compiled kinematics against its plain twin, against the maker's tables, and against mink."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twins.allocations import assert_allocation_free

from dvla.benchmarks.faults.kinematics import PlainArm
from dvla.bindings import FACTS, Chain
from dvla.runtime.joint_gate import make_chain
from dvla.runtime.limits import JointLimits
from dvla.runtime.pose import Float64
from dvla.runtime.robots.franka_geometry import FRANKA_JOINTS
from dvla.runtime.robots.piper.joints import PIPER_JOINTS
from dvla.runtime.robots.piper.kinematics import LINK6_TCP, link_poses
from dvla.runtime.rotation import rotate
from dvla.runtime.twin.arm_model import forward_kinematics

ARMS = {"franka": FRANKA_JOINTS, "piper": PIPER_JOINTS}
SHARES = st.lists(st.floats(0.0, 1.0), min_size=7, max_size=7)


def joints_at(limits: JointLimits, shares: list[float]) -> Float64:
    """Return joints inside the range that the solver keeps."""
    low, high = np.array(limits.lower), np.array(limits.upper)
    inner = low + limits.margin_rad, high - limits.margin_rad
    return inner[0] + np.array(shares[: len(low)]) * (inner[1] - inner[0])


def pose_of(chain: Chain, q: Float64) -> Float64:
    pose = np.zeros(8)
    chain.tcp(q, pose[:7])
    return pose


def follow(chain: Chain, q: Float64, rows: Float64, turns: int = 1) -> tuple[Float64, Float64]:
    out, facts = np.empty((len(rows), chain.joints)), np.empty((len(rows), FACTS))
    chain.follow(q, np.ascontiguousarray(rows), out, facts, turns)
    return out, facts


@pytest.mark.parametrize("arm", ARMS)
@settings(max_examples=60, deadline=None)
@given(
    shares=SHARES,
    move=st.lists(st.floats(-0.02, 0.02), min_size=6, max_size=6),
)
def test_it_agrees_with_its_twin(arm: str, shares: list[float], move: list[float]) -> None:
    limits = ARMS[arm]
    chain, twin = make_chain(limits), PlainArm(limits)
    q = joints_at(limits, shares)
    setpoint = pose_of(chain, q)
    setpoint[:3] += move[:3]
    setpoint[3:7] = rotate(np.array(move[3:]), setpoint[3:7])
    out, facts = follow(chain, q, setpoint[None])
    expected = twin.step(q, setpoint)
    # Near a singularity the step is large and so is what rounding makes of it.
    scale = max(1.0, float(np.abs(expected - q).max()) / 0.1)
    np.testing.assert_allclose(out[0], expected, atol=1e-6 * scale**2)
    frames = twin.frames(out[0])
    miss = twin.miss(frames, setpoint)
    np.testing.assert_allclose(facts[0, 0], np.linalg.norm(miss[:3]), atol=1e-9)
    np.testing.assert_allclose(facts[0, 1], np.linalg.norm(miss[3:]), atol=1e-7)
    np.testing.assert_allclose(facts[0, 2], twin.manipulability(frames), atol=1e-6)
    np.testing.assert_allclose(facts[0, 4], twin.plane_clearance(frames), atol=1e-12)
    sampled = twin.self_clearance(frames)
    assert facts[0, 3] - 1e-12 <= sampled <= facts[0, 3] + 0.012
    assert (out[0] >= twin.lower - 1e-12).all() and (out[0] <= twin.upper + 1e-12).all()


@settings(max_examples=30, deadline=None)
@given(shares=SHARES)
def test_frames_are_those_of_the_makers_tables(shares: list[float]) -> None:
    q = joints_at(FRANKA_JOINTS, shares)
    pose = pose_of(make_chain(FRANKA_JOINTS), q)
    np.testing.assert_allclose(pose[:3], forward_kinematics(q)[:3, 3], atol=1e-12)
    q = joints_at(PIPER_JOINTS, shares)
    pose = pose_of(make_chain(PIPER_JOINTS), q)
    np.testing.assert_allclose(pose[:3], (link_poses(q)[5] @ LINK6_TCP)[:3, 3], atol=1e-12)


def circle(start: Float64, rows: int = 250, radius_m: float = 0.08) -> Float64:
    path = np.repeat(start[None], rows, axis=0)
    angle = np.linspace(0.0, 2.0 * np.pi, rows)
    path[:, 0] += radius_m * (np.cos(angle) - 1.0)
    path[:, 1] += radius_m * np.sin(angle)
    return path


def test_a_path_is_followed_to_a_tenth_of_a_millimetre_and_back() -> None:
    chain = make_chain(FRANKA_JOINTS)
    q = np.array(FRANKA_JOINTS.geometry.posture)
    out, facts = follow(chain, q, circle(pose_of(chain, q)))
    assert facts[:, 0].max() < 1e-4
    np.testing.assert_allclose(out[-1], q, atol=2e-3)


def test_it_finds_the_joints_that_the_drivers_solver_finds() -> None:
    pytest.importorskip("mink")
    from dvla.runtime.twin.ik import DifferentialIk

    chain = make_chain(FRANKA_JOINTS)
    q = np.array(FRANKA_JOINTS.geometry.posture)
    path = circle(pose_of(chain, q))
    out, _ = follow(chain, q, path)
    ik = DifferentialIk(0.004)
    ik.reset(q)
    theirs = np.array([ik.step(row)[0] for row in path])
    np.testing.assert_allclose(out, theirs, atol=1e-6)


def test_following_allocates_nothing() -> None:
    chain = make_chain(FRANKA_JOINTS)
    q = np.array(FRANKA_JOINTS.geometry.posture)
    rows = circle(pose_of(chain, q), 28)
    out, facts = np.empty((28, 7)), np.empty((28, FACTS))
    assert_allocation_free(lambda: chain.follow(q, rows, out, facts))


@pytest.mark.parametrize("what", ["q", "setpoints", "q_out", "facts"])
def test_arrays_of_a_wrong_shape_are_refused(what: str) -> None:
    chain = make_chain(FRANKA_JOINTS)
    arrays = {
        "q": np.zeros(7),
        "setpoints": np.zeros((3, 8)),
        "q_out": np.zeros((3, 7)),
        "facts": np.zeros((3, FACTS)),
    }
    arrays[what] = np.zeros(4) if what == "q" else np.zeros((2, 4))
    with pytest.raises(ValueError, match="follow: expected"):
        chain.follow(*arrays.values())
