"""Arm states of the last seconds, interpolated to any time between them."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from dvla.runtime.errors import StaleObservation
from dvla.runtime.pose import state_from_setpoint

Float64 = NDArray[np.float64]


def slerp(a: Float64, b: Float64, share: float) -> Float64:
    """Interpolate between unit quaternions (4,) along the shorter arc, share in [0, 1]."""
    dot = float(np.dot(a, b))
    if dot < 0.0:
        b, dot = -b, -dot
    if dot > 1.0 - 1e-9:
        mixed = a + share * (b - a)
    else:
        angle = np.arccos(dot)
        mixed = (np.sin((1 - share) * angle) * a + np.sin(share * angle) * b) / np.sin(angle)
    return np.asarray(mixed / np.linalg.norm(mixed), np.float64)


class StateBuffer:
    """Measured setpoints by time.

    The state of an observation is interpolated to the capture time of its frames: under delta
    actions an error of state is an error of position.

    Args:
        capacity: states kept; at 100 Hz the default is 2.5 s.
        max_gap_ns: how far outside the buffer, or across a gap, a state may be asked for.
    """

    def __init__(self, capacity: int = 250, max_gap_ns: int = 50_000_000) -> None:
        self._rows: deque[tuple[int, Float64]] = deque(maxlen=capacity)
        self._max_gap_ns = max_gap_ns

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, t_ns: int, setpoint: NDArray[np.floating]) -> None:
        """Add a measured setpoint (8,); one that is not newer than the last is ignored."""
        if not self._rows or t_ns > self._rows[-1][0]:
            self._rows.append((t_ns, np.asarray(setpoint, np.float64)))

    def setpoint_at(self, t_ns: int) -> Float64:
        """Return the setpoint (8,) at a time.

        Raises:
            StaleObservation: no states near enough to that time.
        """
        if not self._rows:
            raise StaleObservation("the arm has not reported a state yet")
        later = next((i for i, row in enumerate(self._rows) if row[0] >= t_ns), len(self._rows))
        after = self._rows[min(later, len(self._rows) - 1)]
        before = self._rows[max(0, later - 1)]
        if max(t_ns - before[0], before[0] - t_ns, after[0] - before[0]) > self._max_gap_ns:
            raise StaleObservation(
                "the arm's states do not cover the frame's capture time",
                got=f"a distance of {abs(t_ns - before[0]) / 1e6:.0f} ms",
                expected=f"at most {self._max_gap_ns / 1e6:.0f} ms",
            )
        if t_ns <= before[0]:
            return before[1].copy()
        if t_ns >= after[0]:
            return after[1].copy()
        share = (t_ns - before[0]) / (after[0] - before[0])
        mixed = before[1] + share * (after[1] - before[1])
        mixed[3:7] = slerp(before[1][3:7], after[1][3:7], share)
        return mixed

    def state_at(self, t_ns: int, width: int = 6) -> NDArray[np.float32]:
        """Return the policy's state (width,) [m, rad] at a time; a 7th column is the gripper."""
        setpoint = self.setpoint_at(t_ns)
        state = state_from_setpoint(setpoint)
        if width == 7:
            state = np.append(state, setpoint[7])
        return state.astype(np.float32)
