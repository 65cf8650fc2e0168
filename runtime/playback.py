"""What the arm plays between two commands: setpoints as knots of a uniform cubic B-spline.

Upsampling must not undo what the gate has checked. Linear interpolation does: at 1 kHz it turns a
smooth 250 Hz row into velocity steps. A uniform cubic B-spline with the setpoints as its control
points does not: its position, velocity, acceleration and jerk are convex combinations of the rows
and of their first, second and third differences. So what holds for the differences holds for the
motion at every instant and at every driver rate; it costs no lag, and it leaves the setpoints by
a T^2 / 6, which is 21 um at 8 m/s2 and 250 Hz.

At time t in [t_k, t_k+1) the spline uses knots k - 1 to k + 2. A later command may only replace
knots after those, which is why commands are planned a few periods ahead.
"""

from __future__ import annotations

import msgspec
import numpy as np

from dvla.runtime.pose import SETPOINT_WIDTH, Float64
from dvla.runtime.rotation import rotation_between

SUPPORT = 4
"""Knots in use at any time."""


class Joint(msgspec.Struct, frozen=True):
    """Where a command meets what is being played.

    Attributes:
        kept: (>= 4, 8) knots that stay, the last at one period before the first new one.
        kept_start_ns: time of the first kept knot.
        first_row: the first row of the command that is used; those before are already in use.
        problem: empty, or why the command meets nothing: late, gap, period or grid.
    """

    kept: Float64
    kept_start_ns: int
    first_row: int
    problem: str = ""


class KnotTrack:
    """The knots of the motion in progress; at rest it is empty and every knot is the rest pose.

    Args:
        setpoint: (8,) pose of rest.
    """

    def __init__(self, setpoint: Float64) -> None:
        self._rest = setpoint.copy()
        self._knots = np.empty((0, SETPOINT_WIDTH))
        self._start_ns = 0
        self._period_ns = 1

    def rest(self, setpoint: Float64) -> None:
        """Forget all knots; stay at ``setpoint`` (8,)."""
        self._rest = setpoint.copy()
        self._knots = np.empty((0, SETPOINT_WIDTH))

    @property
    def end_ns(self) -> int:
        """Until when the knots suffice [ns]."""
        return self._start_ns + (len(self._knots) - 2) * self._period_ns

    def joint(self, t_due_ns: int, period_ns: int, rows: int, now_ns: int) -> Joint:
        """Find where a command with ``rows`` setpoints, due from ``t_due_ns``, meets the motion."""
        if len(self._knots):
            if period_ns != self._period_ns:
                return Joint(self._knots, self._start_ns, 0, "period")
            if (t_due_ns - self._start_ns) % period_ns:
                return Joint(self._knots, self._start_ns, 0, "grid")
        # The newest knot in use at ``now`` has t <= now + 2 T.
        reference = self._start_ns if len(self._knots) else t_due_ns
        segment = (now_ns - reference) // period_ns
        free_ns = reference + (segment + SUPPORT - 1) * period_ns
        first_row = max(0, -((t_due_ns - free_ns) // period_ns))
        if first_row > rows - SUPPORT:
            return Joint(self._knots, self._start_ns, first_row, "late")
        first_ns = t_due_ns + first_row * period_ns
        kept_start_ns = free_ns - SUPPORT * period_ns
        count = (first_ns - kept_start_ns) // period_ns
        if not len(self._knots):
            kept = np.repeat(self._rest[None], count, axis=0)
            return Joint(kept, kept_start_ns, first_row)
        index = (kept_start_ns - self._start_ns) // period_ns
        if index < 0 or index + count > len(self._knots):
            return Joint(self._knots, self._start_ns, first_row, "gap")
        return Joint(self._knots[index : index + count], kept_start_ns, first_row)

    def splice(self, joint: Joint, rows: Float64, period_ns: int) -> None:
        """Replace everything after the joint by the command's rows (n, 8) from its first row on."""
        self._knots = np.concatenate([joint.kept, rows[joint.first_row :]])
        quaternion = self._knots[:, 3:7]
        # Signs must agree before quaternions can be averaged.
        flips = np.sum(quaternion[1:] * quaternion[:-1], axis=-1) < 0.0
        if flips.any():
            quaternion[1:] *= np.cumprod(np.where(flips, -1.0, 1.0))[:, None]
        self._start_ns = joint.kept_start_ns
        self._period_ns = period_ns

    def _support(self, now_ns: int) -> tuple[Float64, float]:
        """Return the four knots in use and the phase in [0, 1]; clamped to what is known."""
        index, rest_ns = divmod(now_ns - self._start_ns, self._period_ns)
        last = len(self._knots) - SUPPORT
        if index - 1 > last:
            return self._knots[last:], 1.0
        first = max(0, index - 1)
        return self._knots[first : first + SUPPORT], rest_ns / self._period_ns

    def evaluate(self, now_ns: int, setpoint_out: Float64) -> None:
        """Write the setpoint (8,) played at ``now_ns``."""
        if not len(self._knots):
            setpoint_out[:] = self._rest
            return
        knots, u = self._support(now_ns)
        np.dot(_weights(u), knots, out=setpoint_out)
        quaternion = setpoint_out[3:7]
        # Neighbours are less than 0.02 rad apart: the chord and the arc agree to 1e-4 of a step.
        quaternion /= np.sqrt(quaternion @ quaternion)

    def motion(self, now_ns: int) -> tuple[Float64, Float64, Float64]:
        """Return setpoint (8,), twist (6,) and acceleration (6,) played at ``now_ns``."""
        setpoint = np.empty(SETPOINT_WIDTH)
        self.evaluate(now_ns, setpoint)
        if not len(self._knots):
            return setpoint, np.zeros(6), np.zeros(6)
        knots, u = self._support(now_ns)
        period_s = self._period_ns * 1e-9
        turned = rotation_between(setpoint[None, 3:7], knots[:, 3:7])
        local = np.concatenate([knots[:, :3], turned], axis=1)
        first = np.array([-((1 - u) ** 2), 3 * u * u - 4 * u, 1 + 2 * u - 3 * u * u, u * u]) / 2.0
        second = np.array([1 - u, 3 * u - 2, 1 - 3 * u, u])
        return setpoint, first @ local / period_s, second @ local / period_s**2


def _weights(u: float) -> Float64:
    """Return the (4,) weights of the uniform cubic B-spline at phase ``u``."""
    cube, square = u * u * u, u * u
    return np.array(
        [
            (1.0 - 3.0 * u + 3.0 * square - cube) / 6.0,
            (4.0 - 6.0 * square + 3.0 * cube) / 6.0,
            (1.0 + 3.0 * u + 3.0 * square - 3.0 * cube) / 6.0,
            cube / 6.0,
        ]
    )
