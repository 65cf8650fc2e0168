"""A stream and a servo planner over it."""

from __future__ import annotations

import numpy as np
from twins.rotations import exponential
from twins.shaper import Bounds
from twins.stream import TwinTimeline

from dvla.bindings import ActionStream, PoseShaper, ServoPlanner, ShaperLimits

T = 40_000_000
PERIOD_NS = 4_000_000
HORIZON = 25
REST = np.array([0.0, 0, 0, 1, 0, 0, 0, 0])
LINEAR, ANGULAR = Bounds(1.1, 7.0, 250.0), Bounds(1.8, 10.0, 400.0)


class PlannerRig:
    """A stream and a planner over it."""

    def __init__(self, horizon=HORIZON):
        self.stream = ActionStream.create()
        limits = ShaperLimits(
            linear_velocity=LINEAR.v, linear_acceleration=LINEAR.a, linear_jerk=LINEAR.j,
            angular_velocity=ANGULAR.v, angular_acceleration=ANGULAR.a, angular_jerk=ANGULAR.j,
        )  # fmt: skip
        self.shaper = PoseShaper(limits, PERIOD_NS * 1e-9)
        self.planner = ServoPlanner(self.stream, self.shaper, horizon)
        self.planner.reset(REST)
        self.rows = np.full((horizon, 8), np.nan)

    def publish(self, line):
        return self.stream.publish(
            line.t_ns, line.setpoints, line.chunk_ids, line.t_obs_ns, start_ns=line.start_ns,
            end_ns=line.end_ns, generation=line.generation, hold=line.hold,
        )  # fmt: skip

    def plan(self, now_ns):
        return self.planner.plan(now_ns, self.rows)


def make_timeline(start_ns, count=5, *, seed=0, hold=False, speed=0.25):
    """Return ``count`` actions that move on at about ``speed`` m/s."""
    rng = np.random.default_rng(seed)
    t_ns = start_ns + T // 2 + T * np.arange(count, dtype=np.int64)
    rows = np.zeros((count, 8))
    rows[:, :3] = np.cumsum(rng.normal(0, speed * T * 1e-9, (count, 3)), 0)
    for i in range(count):
        rows[i, 3:7] = exponential(rng.normal(0, 0.05, 3))
    rows[:, 7] = 1
    ids = np.arange(count, dtype=np.int64) + 7
    return TwinTimeline(0, start_ns, start_ns + count * T, 3, hold, t_ns, rows, ids, t_ns - 2 * T)
