"""Whether a path of setpoints kept the envelope: its own arithmetic, not the gate's."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from dvla.benchmarks.faults.differences import count_over, differences, spaced
from dvla.benchmarks.faults.joints import judge_joints
from dvla.runtime.limits import ArmLimits
from dvla.runtime.rotation import rotation_between

Float64 = NDArray[np.float64]
TOLERANCE = 1.03
"""Stamps of turns are whole nanoseconds, and angles add up only to first order."""


class Judgement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a judge says of a path.

    Attributes:
        judged: setpoints that were looked at.
        outside: how many were over each bound of the TCP; only what was exceeded.
        joints_outside: the same for the joints and the body.
        worst: largest share of each bound of motion, 1 at the bound.
    """

    judged: int = 0
    outside: dict[str, int] = {}
    joints_outside: dict[str, int] = {}
    worst: dict[str, float] = {}


def judge(t_ns: NDArray[Any], setpoints: Float64, q: Float64, limits: ArmLimits) -> Judgement:
    """Judge a path that was sent to a driver.

    Args:
        t_ns: (n,) times of its setpoints.
        setpoints: (n, 8); rows that are all NaN were not sent.
        q: (j,) measured joints where the path begins.
        limits: of the arm.
    """
    sent = ~np.isnan(setpoints).all(axis=1)
    t_ns, setpoints = t_ns[sent], setpoints[sent]
    finite = np.isfinite(setpoints).all(axis=1)
    low = np.asarray(limits.workspace.lower) - 1e-6
    high = np.asarray(limits.workspace.upper) + 1e-6
    away = ((setpoints[:, :3] < low) | (setpoints[:, :3] > high)).any(axis=1) & finite
    counts = {"not finite": int((~finite).sum()), "workspace": int(away.sum())}
    t_ns, path = t_ns[finite], setpoints[finite]
    worst: dict[str, float] = {}
    for name, share in _shares(t_ns, path, limits):
        counts[name], worst[name] = count_over(share, TOLERANCE)
    joints: dict[str, int] = {}
    if limits.joints is not None and len(path):
        joints, shares = judge_joints(t_ns, path, q, limits.joints)
        worst |= shares
    return Judgement(
        judged=len(setpoints),
        outside={name: count for name, count in counts.items() if count},
        joints_outside={name: count for name, count in joints.items() if count},
        worst={name: round(share, 3) for name, share in worst.items()},
    )


def _shares(t_ns: NDArray[Any], path: Float64, limits: ArmLimits) -> list[tuple[str, Float64]]:
    """Return how much of each bound every difference takes."""
    bounds = limits.envelope
    linear = (bounds.linear_velocity, bounds.linear_acceleration, bounds.linear_jerk)
    names = ("linear_velocity", "linear_acceleration", "linear_jerk")
    changes = differences(t_ns, path[:, :3], orders=3)
    found = [
        (name, np.linalg.norm(change, axis=1) / bound)
        for name, bound, change in zip(names, linear, changes, strict=True)
    ]
    chosen = spaced(t_ns)
    if len(chosen) < 2:
        return found
    turned = rotation_between(path[chosen[:-1], 3:7], path[chosen[1:], 3:7])
    rate = np.linalg.norm(turned, axis=1) / (np.diff(t_ns[chosen]) / 1e9)
    return [*found, ("angular_velocity", rate / bounds.angular_velocity)]
