"""The slow move to the start pose: one closed-form path, planned by the servo, judged by the gate.

The path is straight, and its speed the minimum-jerk curve 10 s^3 - 15 s^4 + 6 s^5, with the
duration that keeps the envelope of a slow move (``dvla.runtime.limits.SLOW``). It begins and ends
at rest. While it runs the gate judges by that envelope, and not by the arm's own
(``PaceRequest``); a hold stops it like any motion.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dvla.runtime.config import ServoConfig
from dvla.runtime.limits import ArmLimits, CartesianLimits, slow_envelope
from dvla.runtime.pose import Float64
from dvla.runtime.rotation import rotation_between
from dvla.runtime.servo import STATUS_IDLE, Planner, compiled_planner

if TYPE_CHECKING:
    from dvla.bindings import ActionStream

SHARE = 0.95
"""Of the slow envelope that a move takes: a stop from any of its setpoints has to keep it too."""
STATUS_FOLLOWING = 1
MOVE_CHUNK = -2
"""What a tick's ``chunk_id`` says while the start move is in charge; replays go by it."""
_PEAKS = (1.875, 5.7735, 60.0)
"""Peaks of the curve's first three derivatives."""


def move_duration_s(start: Float64, goal: Float64, limits: CartesianLimits) -> float:
    """Return how long the move between two setpoints (8,) takes.

    Args:
        start: (8,) where it begins.
        goal: (8,) where it ends.
        limits: the envelope of the arm.
    """
    slow = slow_envelope(limits)
    way_m = float(np.linalg.norm(goal[:3] - start[:3]))
    turn_rad = float(np.linalg.norm(rotation_between(start[3:7], goal[3:7])))
    longest = 0.0
    for way, bounds in (
        (way_m, (slow.linear_velocity, slow.linear_acceleration, slow.linear_jerk)),
        (turn_rad, (slow.angular_velocity, slow.angular_acceleration, slow.angular_jerk)),
    ):
        for order, (peak, bound) in enumerate(zip(_PEAKS, bounds, strict=True), 1):
            longest = max(longest, (peak * way / (SHARE * bound)) ** (1.0 / order))
    return longest


class SlowMove:
    """One move from rest at a setpoint to rest at another; the gripper stays as it is.

    Args:
        start: (8,) where it begins.
        goal: (8,) where it ends.
        start_ns: when it begins.
        limits: the envelope of the arm.
    """

    def __init__(
        self, start: Float64, goal: Float64, start_ns: int, limits: CartesianLimits
    ) -> None:
        self._start = start.copy()
        self._way = goal[:3] - start[:3]
        self._turn = rotation_between(start[3:7], goal[3:7])
        self._start_ns = start_ns
        self._duration_s = move_duration_s(start, goal, limits)

    @property
    def end_ns(self) -> int:
        """When it is at rest [ns]."""
        return self._start_ns + int(self._duration_s * 1e9) + 1

    def at(self, t_ns: NDArray[np.int64], setpoints_out: Float64) -> None:
        """Write the setpoints (n, 8) at times (n,) [ns]."""
        s = np.clip((t_ns - self._start_ns) * 1e-9 / max(self._duration_s, 1e-9), 0.0, 1.0)
        share = s**3 * (10.0 - 15.0 * s + 6.0 * s * s)
        setpoints_out[:] = self._start
        setpoints_out[:, :3] += share[:, None] * self._way
        angle = float(np.sqrt(self._turn @ self._turn))
        if angle < 1e-9:
            return
        half = 0.5 * angle * share
        w0, v0 = self._start[3], self._start[4:7]
        axis = self._turn / angle
        c, k = np.cos(half), np.sin(half)
        setpoints_out[:, 3] = c * w0 - k * (axis @ v0)
        setpoints_out[:, 4:7] = c[:, None] * v0 + k[:, None] * (w0 * axis + np.cross(axis, v0))
        quaternion = setpoints_out[:, 3:7]
        quaternion /= np.sqrt(np.sum(quaternion * quaternion, axis=1, keepdims=True))


class PhasedPlanner:
    """A ``Planner`` that follows the stream, or moves to the start pose when it is told to.

    It changes from one to the other at rest alone: while the stream moves the arm, a wish to move
    to the start waits for the next stop.

    Args:
        stream: plans by the action stream.
        goal: (8,) the start pose.
        period_ns: spacing of the setpoints.
        limits: the envelope of the arm.
    """

    def __init__(
        self, stream: Planner, goal: Float64, period_ns: int, limits: CartesianLimits
    ) -> None:
        self._stream, self._limits = stream, limits
        self._goal = np.array(goal, np.float64)
        self._period_ns = period_ns
        self._rest = self._goal.copy()
        self._moving: SlowMove | None = None
        self._in_move = False
        self._status = STATUS_IDLE
        self.wants_move = False
        """Whether the phase is the one of the slow move."""
        self.seen_ns = 0
        """When the arm was last seen [ns]: what the move goes by."""

    def reset(self, setpoint: Float64) -> None:
        """Start again from rest at a setpoint (8,)."""
        self._rest = np.array(setpoint, np.float64)
        self._moving = None
        self._in_move = self.wants_move
        self._status = STATUS_IDLE
        self._stream.reset(setpoint)

    def plan(self, now_ns: int, setpoints_out: Float64) -> int:
        """Write the plan (horizon, 8) whose first row is due at ``now_ns``; return its status."""
        if self._in_move != self.wants_move and self._status == STATUS_IDLE:
            self.reset(self._rest)
        if not self._in_move:
            self._status = int(self._stream.plan(now_ns, setpoints_out))
            self._rest = setpoints_out[0].copy()
            return self._status
        if self._moving is None:
            goal = self._goal.copy()
            goal[7] = self._rest[7]
            self._moving = SlowMove(self._rest, goal, now_ns, self._limits)
        times = now_ns + self._period_ns * np.arange(len(setpoints_out), dtype=np.int64)
        self._moving.at(times, setpoints_out)
        self._rest = setpoints_out[0].copy()
        over = now_ns >= self._moving.end_ns
        self._status = STATUS_IDLE if over else STATUS_FOLLOWING
        return self._status

    @property
    def braking(self) -> bool:
        """Whether plans on the stream stop; a slow move goes on until the arm stops it."""
        return self._stream.braking

    @braking.setter
    def braking(self, braking: bool) -> None:
        self._stream.braking = braking

    @property
    def share(self) -> float:
        """Of the bounds that plans on the stream take."""
        return self._stream.share

    @share.setter
    def share(self, share: float) -> None:
        self._stream.share = share

    def remember(self, number: int) -> None:
        """Keep the newest plan under a number, unless it is of the slow move."""
        if not self._in_move:
            self._stream.remember(number)

    def take_back(self, number: int) -> int | None:
        """Go on from a remembered plan; of a slow move none is."""
        return None if self._in_move else self._stream.take_back(number)

    @property
    def t_obs_ns(self) -> int:
        """Capture time behind the setpoint [ns]; 0 when idle."""
        if self._in_move:
            return self.seen_ns if self._status != STATUS_IDLE else 0
        return self._stream.t_obs_ns

    @property
    def chunk_id(self) -> int:
        """Chunk behind the setpoint, -1 when idle, ``MOVE_CHUNK`` in the move."""
        return MOVE_CHUNK if self._in_move else self._stream.chunk_id

    @property
    def saturation(self) -> int:
        """Bits of what saturated in the last plan."""
        return 0 if self._in_move else self._stream.saturation

    @property
    def saturated_ticks(self) -> int:
        """Plans that saturated, counted."""
        return self._stream.saturated_ticks

    @property
    def underruns(self) -> int:
        """Times that the stream ran out, counted."""
        return self._stream.underruns

    @property
    def timeline_sequence(self) -> int:
        """Publication that the plan follows."""
        return self._stream.timeline_sequence

    @property
    def generation(self) -> int:
        """Episode generation of the plan."""
        return self._stream.generation


def make_planner(
    stream: ActionStream, limits: ArmLimits, config: ServoConfig, start_pose: tuple[float, ...]
) -> Planner:
    """Return the planner of a run: on the stream, with the slow move where there is a start pose.

    Args:
        stream: what the policy writes.
        limits: of the arm.
        config: of the servo.
        start_pose: (8,) setpoint, or empty.
    """
    planner = compiled_planner(stream, limits, config)
    if not start_pose:
        return planner
    return PhasedPlanner(planner, np.array(start_pose), config.period_ns, limits.envelope)
