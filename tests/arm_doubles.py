"""Doubles for the arm: a lagging driver that remembers, an event list, and motion measurements."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from dvla.runtime.events import ArmModeChanged, CommandRejected, Event
from dvla.runtime.gripper import FOUND
from dvla.runtime.limits import ArmLimits
from dvla.runtime.pose import Float64
from dvla.runtime.robots.base import ArmReading
from dvla.runtime.robots.franka import FRANKA_TWIN_LIMITS
from dvla.runtime.rotation import rotation_between

MS = 1_000_000
LIMITS = FRANKA_TWIN_LIMITS
HOME = np.array([0.45, 0.0, 0.35, 0.0, 1.0, 0.0, 0.0, 1.0])


class EventList:
    """Keeps events."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def emit(self, event: Event) -> None:
        self.events.append(event)

    def modes(self) -> list[str]:
        return [e.mode for e in self.events if isinstance(e, ArmModeChanged)]

    def rejections(self) -> list[str]:
        return [e.reason for e in self.events if isinstance(e, CommandRejected)]


class LaggingDriver:
    """An arm that follows with a first-order lag, and remembers every setpoint it was sent."""

    def __init__(self, setpoint: Float64 = HOME, lag_s: float = 0.05) -> None:
        self.setpoint = setpoint.copy()
        self.lag_s = lag_s
        self.fault = ""
        self.frozen_ns: int | None = None
        self.closed = False
        self.sent: list[tuple[int, Float64]] = []
        self._read_ns: int | None = None

    def read(self, now_ns: int) -> ArmReading:
        elapsed_s = 0.0 if self._read_ns is None else (now_ns - self._read_ns) * 1e-9
        self._read_ns = now_ns
        if self.sent:
            share = 1.0 - np.exp(-elapsed_s / self.lag_s)
            self.setpoint += share * (self.sent[-1][1] - self.setpoint)
            self.setpoint[3:7] /= np.linalg.norm(self.setpoint[3:7])
        return ArmReading(
            t_ns=now_ns if self.frozen_ns is None else self.frozen_ns,
            setpoint=self.setpoint.copy(),
            twist=np.zeros(6),
            q=np.zeros(7),
            dq=np.zeros(7),
            fault=self.fault,
        )

    def command(self, setpoint: Float64, now_ns: int) -> None:
        self.sent.append((now_ns, setpoint.copy()))

    def close(self) -> None:
        self.closed = True

    def rows(self) -> tuple[Float64, Float64]:
        """Return the times [s] and setpoints (n, 8) sent."""
        times = np.array([t for t, _ in self.sent], np.float64) * 1e-9
        return times, np.array([row for _, row in self.sent])


def motion_extremes(period_s: float, setpoints: Float64) -> Float64:
    """Return the largest norms of the first three differences, (3, 2): order by part."""
    linear = np.diff(setpoints[:, :3], axis=0) / period_s
    angular = rotation_between(setpoints[:-1, 3:7], setpoints[1:, 3:7]) / period_s
    extremes = np.zeros((3, 2))
    for order in range(3):
        for part, values in enumerate((linear, angular)):
            derived = np.diff(values, n=order, axis=0) / period_s**order
            extremes[order, part] = np.linalg.norm(derived, axis=-1).max(initial=0.0)
    return extremes


def assert_gripper_steady(times: Float64, openings: Float64, limits: ArmLimits) -> None:
    """Assert that a gripper was sent decisions, dwelling on each."""
    changed = np.flatnonzero(np.diff(openings)) + 1
    decided = np.abs(openings) == 1.0
    for before, after in pairwise(changed):
        if decided[before] and decided[after]:
            assert times[after] - times[before] >= limits.gripper.dwell_s - 1e-9
    assert (np.abs(openings[~decided]) <= FOUND).all()


def assert_inside(
    driver: LaggingDriver, limits: ArmLimits = LIMITS, tolerance: float = 1e-3
) -> None:
    """Assert that nothing over a limit ever reached the driver, at the driver's own ticks."""
    times, rows = driver.rows()
    steps = np.diff(times)
    assert np.allclose(steps, steps[0], rtol=1e-6)
    envelope = limits.envelope
    bounds = np.array(
        [
            [envelope.linear_velocity, envelope.angular_velocity],
            [envelope.linear_acceleration, envelope.angular_acceleration],
            [envelope.linear_jerk, envelope.angular_jerk],
        ]
    )
    # Jerk from third differences of 1 kHz rows amplifies rounding by 1e9; 1 % covers it, and the
    # tangent-space treatment of rotations.
    slack = 1.0 + np.array([[tolerance, 0.01], [tolerance, 0.02], [0.01, 0.05]])
    extremes = motion_extremes(float(steps[0]), rows)
    assert (extremes <= bounds * slack).all(), f"{extremes} over {bounds}"
    assert (rows[:, :3] >= np.array(limits.workspace.lower) - 1e-9).all()
    assert (rows[:, :3] <= np.array(limits.workspace.upper) + 1e-9).all()
    assert np.isfinite(rows).all()
    assert_gripper_steady(times, rows[:, 7], limits)
    assert np.abs(np.linalg.norm(rows[:, 3:7], axis=1) - 1.0).max() < 1e-9
