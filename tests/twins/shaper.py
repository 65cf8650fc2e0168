"""Plain twin of dvla.bindings.PoseShaper, in numpy, one triple of axes at a time."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from twins.profiles import AxisLimits, Segments, duration, follow, reach, stop
from twins.rotations import rotate_by, rotation_between

Float64 = NDArray[np.float64]
AXES = range(3)


class Bounds(NamedTuple):
    """Norm bounds."""

    v: float
    a: float
    j: float


def needed_share(v: Float64, a: Float64, bounds: Bounds) -> Float64:
    """Return the least share of the bounds that each axis can keep for ever."""
    swing = a * np.abs(a) / (2 * bounds.j)
    along = np.where(v * swing >= 0, np.abs(v), -np.abs(v))
    later = (along + np.sqrt(v * v + 4 * bounds.v * np.abs(swing))) / (2 * bounds.v)
    return np.maximum(np.maximum(np.abs(a) / bounds.a, np.abs(v) / bounds.v), later)


class Goal(NamedTuple):
    """Where the target is and how it moves; None is a stop."""

    distance: Float64
    v: Float64
    a: Float64


class Plan(NamedTuple):
    """One plan of three axes."""

    share: Float64
    axes: list[Segments]
    v: Float64
    a: Float64
    time_s: Float64
    comfortable: bool


class Motion:
    """Velocity, acceleration and shares of three axes."""

    def __init__(self, bounds: Bounds, period_s: float) -> None:
        self.bounds, self.h = bounds, period_s
        self.v, self.a = np.zeros(3), np.zeros(3)
        self.share = np.full(3, 1 / np.sqrt(3))
        self.target_v: Float64 | None = None

    def goal(self, offset: Float64, twist: Float64) -> Goal:
        """Return the goal at this tick's end."""
        v = twist * min(1.0, self.bounds.v / max(float(np.linalg.norm(twist)), 1e-300))
        a = np.zeros(3) if self.target_v is None else (v - self.target_v) / self.h
        if np.linalg.norm(a) > self.bounds.a:
            a = np.zeros(3)
        self.target_v = v
        return Goal(offset - v * self.h, v, a)

    def plan(self, goal: Goal | None, share: Float64) -> Plan:
        """Plan every axis within its share."""
        b, h = self.bounds, self.h
        wanted_v = goal.v if goal else np.zeros(3)
        wanted_a = goal.a if goal else np.zeros(3)
        v = np.clip(wanted_v, -share * b.v, share * b.v)
        excess = np.abs(wanted_v - v) / b.v
        a = np.clip(np.where(excess == 0, wanted_a, 0.0), -0.9 * share * b.a, 0.9 * share * b.a)
        axes = []
        for i in AXES:
            limits = AxisLimits(
                max(share[i] * b.v - v[i], 0.0), max(share[i] * b.v + v[i], 0.0),
                share[i] * b.a - a[i], share[i] * b.a + a[i], share[i] * b.j,
            )  # fmt: skip
            if goal is None:
                axes.append(stop(self.v[i], self.a[i], limits))
                continue
            distance = goal.distance[i] + 0.5 * a[i] * h * h
            axes.append(reach(distance, self.v[i] - v[i] + a[i] * h, self.a[i] - a[i], limits))
        crowding = np.maximum(needed_share(wanted_v, wanted_a, b) / share - 0.9, 0.0)
        time_s = np.array([duration(axis) for axis in axes]) + 10 * excess + crowding * h
        return Plan(share, axes, v, a, time_s, not crowding.any() and time_s.max() <= h)

    def moved(self, share: Float64) -> Float64:
        """Pull wanted shares back towards the present ones until every axis fits."""
        share = np.maximum(share / (share.max() if share.max() > 0 else 1.0), 0.05)
        want = (share / np.linalg.norm(share)) ** 2
        have, need = self.share**2, needed_share(self.v, self.a, self.bounds)
        most = 1.0
        for i in AXES:
            if np.sqrt(want[i]) < need[i]:
                part = (have[i] - need[i] ** 2) / max(have[i] - want[i], 1e-12)
                most = min(most, max(part, 0.0))
        return np.sqrt(have + most * (want - have))

    def choose(self, goal: Goal | None) -> Plan:
        """Plan with the present shares, and with better ones when there is time to win."""
        present = best = self.plan(goal, self.share)
        if present.comfortable:
            return present
        patience_s = max(min(present.time_s.max(), 10.0), self.h)
        taken = np.zeros(3)
        way = self.v
        if goal:
            taken = (1.1 * needed_share(goal.v, goal.a, self.bounds)) ** 2
            way = goal.v + goal.distance / patience_s
        square = float(way @ way)
        scale = max(1 - taken.sum(), 0.0) / square if square > 0 else 0.0
        for wanted in (np.sqrt(taken + scale * way**2), self.share * present.time_s):
            other = self.plan(goal, self.moved(wanted))
            if other.time_s.max() < best.time_s.max() - 1e-9:
                best = other
        return best

    def advance(self, goal: Goal | None) -> Float64:
        """Advance by one period; return what was moved (3,)."""
        h = self.h
        for attempt in (goal, goal._replace(a=np.zeros(3)) if goal else None):
            plan = self.choose(attempt)
            v, a, moved = np.zeros(3), np.zeros(3), np.zeros(3)
            for i in AXES:
                relative = self.v[i] - plan.v[i] + plan.a[i] * h, self.a[i] - plan.a[i]
                moved[i], v[i], a[i] = follow(plan.axes[i], h, 0.0, *relative)
                if duration(plan.axes[i]) <= h:
                    v[i] = a[i] = 0.0
            v, a = v + plan.v, a + plan.a
            if (needed_share(v, a, self.bounds) <= plan.share * (1 + 1e-12)).all():
                break
        self.v, self.a, self.share = v, a, plan.share
        return moved + (plan.v - 0.5 * plan.a * h) * h


class ShaperTwin:
    """The shaper's state and steps."""

    def __init__(self, linear: Bounds, angular: Bounds, period_s: float) -> None:
        self.linear, self.angular = Motion(linear, period_s), Motion(angular, period_s)
        self.setpoint = np.array([0.0, 0, 0, 1, 0, 0, 0, 0])

    def step(self, target: Float64, twist: Float64) -> Float64:
        """Advance towards a moving target; return the setpoint (8,)."""
        now = self.setpoint
        goal = self.linear.goal(target[:3] - now[:3], twist[:3])
        moved = self.linear.advance(goal)
        goal = self.angular.goal(rotation_between(now[3:7], target[3:7]), twist[3:])
        turned = rotate_by(self.angular.advance(goal), now[3:7])
        self.setpoint = np.concatenate([now[:3] + moved, turned, target[7:]])
        return self.setpoint

    def stop_step(self) -> Float64:
        """Advance the fastest stop; return the setpoint (8,)."""
        now = self.setpoint
        moved, turned = self.linear.advance(None), self.angular.advance(None)
        self.setpoint = np.concatenate([now[:3] + moved, rotate_by(turned, now[3:7]), now[7:]])
        self.linear.target_v = self.angular.target_v = None
        return self.setpoint
