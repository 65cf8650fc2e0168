"""The driver of the replaying arm: it reports what a recorded arm measured, and moves nothing."""

from __future__ import annotations

import numpy as np

from dvla.runtime.pose import Float64
from dvla.runtime.recordings.episode import RecordedEpisode
from dvla.runtime.robots.base import ArmReading
from dvla.runtime.state_buffer import slerp


class ReplayingDriver:
    """An ``ArmDriver`` that plays the states of an episode; commands go nowhere.

    Args:
        episode: as recorded.
    """

    def __init__(self, episode: RecordedEpisode) -> None:
        self._t_ns = np.round(episode.t_s * 1e9).astype(np.int64)
        self._states = episode.states
        self._start_ns = 0

    def start(self, now_ns: int) -> None:
        """Begin: until now the arm stood where the episode begins."""
        self._start_ns = now_ns

    def read(self, now_ns: int) -> ArmReading:
        """Return what the recorded arm measured at this moment of the episode."""
        at_ns = now_ns - self._start_ns if self._start_ns else 0
        before, after, share = self._between(at_ns)
        setpoint = before + share * (after - before)
        setpoint[3:7] = slerp(before[3:7], after[3:7], share)
        span_s = float(np.diff(self._t_ns).mean()) * 1e-9 if len(self._t_ns) > 1 else 1.0
        twist = np.zeros(6)
        if 0.0 < share < 1.0:
            twist[:3] = (after[:3] - before[:3]) / span_s
        return ArmReading(
            t_ns=now_ns, setpoint=setpoint, twist=twist, q=np.zeros(0), dq=np.zeros(0)
        )

    def command(self, setpoint: Float64, now_ns: int) -> None:
        """Move nothing."""

    def close(self) -> None:
        """Let go of nothing."""

    def _between(self, at_ns: int) -> tuple[Float64, Float64, float]:
        """Return the states around a moment, and how far between them it lies."""
        after = int(np.searchsorted(self._t_ns, at_ns, side="right"))
        if after == 0 or after == len(self._t_ns):
            row = self._states[min(after, len(self._t_ns) - 1)]
            return row, row, 0.0
        begin_ns, end_ns = int(self._t_ns[after - 1]), int(self._t_ns[after])
        share = (at_ns - begin_ns) / (end_ns - begin_ns)
        return self._states[after - 1], self._states[after], share
