"""The compiled kinematics against its plain twin, against the maker's tables, and its own laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twins.allocations import assert_allocation_free

from dvla.benchmarks.faults.kinematics import PlainArm
from dvla.bindings import FACTS, Chain
from dvla.runtime.ik import DifferentialIk, make_chain
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


def follow(
    chain: Chain,
    q: Float64,
    rows: Float64,
    turns: int = 1,
    period_s: float = np.inf,
    speeds: Float64 | None = None,
) -> tuple[Float64, Float64]:
    out, facts = np.empty((len(rows), chain.joints)), np.empty((len(rows), FACTS))
    chain.follow(q, np.ascontiguousarray(rows), out, facts, turns, period_s, speeds)
    return out, facts


@pytest.mark.parametrize("arm", ARMS)
@settings(max_examples=60, deadline=None)
@given(
    shares=SHARES,
    move=st.lists(st.floats(-0.02, 0.02), min_size=6, max_size=6),
    time_s=st.sampled_from([0.001, 0.004, 0.02, np.inf]),
    speed=st.sampled_from([0.1, 2.0, np.inf]),
)
def test_it_agrees_with_its_twin(
    arm: str, shares: list[float], move: list[float], time_s: float, speed: float
) -> None:
    limits = ARMS[arm]
    chain, twin = make_chain(limits), PlainArm(limits)
    q = joints_at(limits, shares)
    setpoint = pose_of(chain, q)
    setpoint[:3] += move[:3]
    setpoint[3:7] = rotate(np.array(move[3:]), setpoint[3:7])
    speeds = np.full(chain.joints, speed)
    out, facts = follow(chain, q, setpoint[None], 1, time_s, speeds)
    expected = twin.step(q, setpoint, time_s, speeds)
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


def circle(
    start: Float64, rows: int = 250, radius_m: float = 0.08, *, eased: bool = False
) -> Float64:
    path = np.repeat(start[None], rows, axis=0)
    share = np.linspace(0.0, 1.0, rows)
    angle = 2.0 * np.pi * (3.0 * share**2 - 2.0 * share**3 if eased else share)
    path[:, 0] += radius_m * (np.cos(angle) - 1.0)
    path[:, 1] += radius_m * np.sin(angle)
    return path


def test_a_path_is_followed_to_a_tenth_of_a_millimetre_and_back() -> None:
    chain = make_chain(FRANKA_JOINTS)
    q = np.array(FRANKA_JOINTS.geometry.posture)
    out, facts = follow(chain, q, circle(pose_of(chain, q)))
    assert facts[:, 0].max() < 1e-4
    np.testing.assert_allclose(out[-1], q, atol=2e-3)


def test_it_finds_the_same_joints_at_every_rate() -> None:
    """The elbow goes to its posture by time, not by steps: a driver's may be more than a gate's."""
    chain = make_chain(FRANKA_JOINTS)
    q = np.array(FRANKA_JOINTS.geometry.posture)
    start = pose_of(chain, q)
    chain.follow(q, start[None], q[None], np.empty((1, FACTS)), 60)
    found = []
    for rows in (250, 1000):
        path = circle(start, rows + 1)
        path[:, 3:7] = [rotate(np.array([0.0, 0.3 * s, 0.0]), start[3:7]) for s in path[:, 1]]
        out, _ = follow(chain, q, path, 1, 1.0 / rows)
        found.append(out[:: rows // 50])
    # The finer path lags its posture by 1 ms less or so; by steps it would by 4 ms.
    np.testing.assert_allclose(found[0], found[1], atol=1e-3)


@pytest.mark.parametrize("arm", ARMS)
@settings(max_examples=40, deadline=None)
@given(shares=SHARES, others=SHARES, time_s=st.sampled_from([0.001, 0.004, 0.02]))
def test_no_joint_is_faster_than_it_may_be_wherever_a_setpoint_is(
    arm: str, shares: list[float], others: list[float], time_s: float
) -> None:
    limits = ARMS[arm]
    chain, twin = make_chain(limits), PlainArm(limits)
    rows = np.repeat(pose_of(chain, joints_at(limits, others))[None], 60, axis=0)
    speeds = np.array(limits.velocity)
    out, _ = follow(chain, joints_at(limits, shares), rows, 1, time_s, speeds)
    path = np.concatenate([[joints_at(limits, shares)], out])
    rate = np.diff(path, axis=0) / time_s
    assert (np.abs(rate) <= speeds * (1.0 + 1e-9)).all()
    assert (out >= twin.lower - 1e-12).all() and (out <= twin.upper + 1e-12).all()
    # Near its end a joint only goes on at a speed from which braking stops it there.
    for left, towards in ((twin.upper - path[1:], rate), (path[1:] - twin.lower, -rate)):
        stop = np.maximum(towards, 0.0) ** 2 / (2.0 * np.array(limits.acceleration))
        assert (stop <= left + 1e-9).all()


def test_a_joint_found_beyond_its_range_comes_back_and_goes_no_further_out() -> None:
    chain, twin = make_chain(FRANKA_JOINTS), PlainArm(FRANKA_JOINTS)
    q = np.array(FRANKA_JOINTS.geometry.posture)
    q[3] = twin.upper[3] + 0.01
    out, _ = follow(chain, q, np.repeat(pose_of(chain, q)[None], 200, axis=0), 1, 0.004, q * 0 + 2)
    assert (out[:, 3] <= q[3]).all()
    inwards = q.copy()
    inwards[3] -= 0.2
    out, _ = follow(chain, q, np.repeat(pose_of(chain, inwards)[None], 200, axis=0), 1, 0.004)
    assert out[-1, 3] < twin.upper[3]


def test_a_driver_solves_what_the_gate_solves() -> None:
    chain = make_chain(FRANKA_JOINTS)
    q = np.array(FRANKA_JOINTS.geometry.posture)
    path = circle(pose_of(chain, q), 500, 0.04, eased=True)  # the gate lets no other path pass
    out, facts = follow(chain, q, path, 1, 0.004, np.array(FRANKA_JOINTS.velocity))
    ik = DifferentialIk(0.004, FRANKA_JOINTS)
    for row, joints, fact in zip(path, out, facts, strict=True):
        found, left_m = ik.step(row)
        np.testing.assert_array_equal(found, joints)
        assert left_m == fact[0]


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
