"""What a path of setpoints makes of an arm's joints: solved and judged apart from the gate.

The joints are those of an arm that follows the path as well as the acceleration of its joints lets
it, at any speed, in plain numpy, one step per setpoint. A path that asks for more acceleration is
one that such an arm misses. As with the TCP, divided differences of a path within its bounds are
within them too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dvla.benchmarks.faults.differences import count_over, differences
from dvla.benchmarks.faults.kinematics import PlainArm, PlainPace
from dvla.runtime.limits import JointLimits
from dvla.runtime.seam import mix

Float64 = NDArray[np.float64]
SETTLE_STEPS, SETTLED_RAD = 60, 1e-9
"""Until the elbow rests, as it does before a run."""
LATE_NS, MOST_STEPS = 6_000_000, 8
TOLERANCE = 1.05
"""The gate judges the knots of a command and this the path between them; the curve through the
knots is smooth in space, and in the joints only nearly so."""
CLEARANCE_TOLERANCE_M = 0.002
BODY_EVERY = 5
"""Turns between two looks at distances: 20 ms, which are 2 cm at 1 m/s."""


def joints_of(t_ns: NDArray[Any], setpoints: Float64, q: Float64, limits: JointLimits) -> Float64:
    """Return the joints (n, j) [rad] of a path.

    Args:
        t_ns: (n,) times of the setpoints.
        setpoints: (n, 8), finite.
        q: (j,) measured where the path begins; where the arm reports none, any posture of it.
        limits: of the joints.
    """
    arm = PlainArm(limits)
    joints = np.empty((len(setpoints), len(q)))
    for _ in range(SETTLE_STEPS):
        before, q = q, arm.step(q, setpoints[0])
        if np.abs(q - before).max() < SETTLED_RAD:
            break
    joints[0] = q
    pace: PlainPace | None = None  # the path may begin in the middle of a motion
    for row in range(1, len(setpoints)):
        gap_ns = int(t_ns[row] - t_ns[row - 1])
        # A turn that came late has the way of several to go: one step would fall behind.
        steps = min(MOST_STEPS, 1 + gap_ns // LATE_NS)
        before, after = np.repeat(setpoints[row - 1 : row + 1, None], steps, axis=1)
        for towards in mix(before, after, np.arange(1, steps + 1) / steps):
            q, pace = arm.track(q, towards, gap_ns * 1e-9 / steps, pace)
        joints[row] = q
    return joints


def judge_joints(
    t_ns: NDArray[Any], setpoints: Float64, q: Float64, limits: JointLimits
) -> tuple[dict[str, int], dict[str, float]]:
    """Count what is outside of the joints' limits, and tell the worst share of each bound.

    Args:
        t_ns: (n,) times of the setpoints.
        setpoints: (n, 8), finite.
        q: (j,) measured where the path begins.
        limits: of the joints.
    """
    joints = joints_of(t_ns, setpoints, q, limits)
    counts, worst = _body(joints, setpoints, limits)
    rate, change = differences(t_ns, joints)
    speeds = (np.abs(rate) / np.array(limits.velocity)).max(axis=1, initial=0.0)
    counts["joint_velocity"], worst["joint_velocity"] = count_over(speeds, TOLERANCE)
    shares = (np.abs(change) / np.array(limits.acceleration)).max(axis=1, initial=0.0)
    # The judge's arm keeps it: where that is not enough, it misses the path, which is counted.
    worst["joint_acceleration"] = count_over(shares, TOLERANCE)[1]
    return counts, worst


def _body(
    joints: Float64, setpoints: Float64, limits: JointLimits
) -> tuple[dict[str, int], dict[str, float]]:
    """Judge reach, singularities and distances."""
    arm = PlainArm(limits)
    missed: list[float] = []
    near: dict[str, list[float]] = {"singularity": [], "self_collision": [], "plane": []}
    last: Float64 | None = None
    for q, setpoint in zip(joints[::BODY_EVERY], setpoints[::BODY_EVERY], strict=True):
        if last is not None and np.array_equal(q, last):
            continue
        last = q
        frames = arm.frames(q)
        away = arm.miss(frames, setpoint)
        missed.append(float(np.linalg.norm(away[:3])) / limits.max_miss_m)
        near["singularity"].append(arm.manipulability(frames) - limits.min_manipulability)
        near["self_collision"].append(arm.self_clearance(frames, 12) - limits.self_clearance_m)
        near["plane"].append(arm.plane_clearance(frames) - limits.plane_clearance_m)
    counts = {
        name: int((np.array(room) < -CLEARANCE_TOLERANCE_M).sum()) for name, room in near.items()
    }
    counts["joint_position"], share = count_over(np.array(missed), TOLERANCE)
    return counts, {"joint_position": share}
