"""The stall interlock: "sent" is not "moved"."""

from __future__ import annotations

import numpy as np

from dvla.runtime.pose import Float64

WINDOW_NS = 300_000_000
MOVED_M = 0.03
SHARE = 0.1
"""Of a commanded way that an arm must have gone at least; a lag of 0.1 s leaves a third of it."""


class StallWatch:
    """Compares what was commanded with what was moved, window by window."""

    def __init__(self) -> None:
        self._since_ns = -1
        self._commanded: Float64 = np.zeros(3)
        self._measured: Float64 = np.zeros(3)
        self._farthest_m = 0.0

    def reset(self) -> None:
        """Begin a new window with the next look."""
        self._since_ns = -1

    def look(self, now_ns: int, commanded: Float64, measured: Float64) -> str:
        """Return why the arm counts as stalled, or an empty string.

        Args:
            now_ns: the time.
            commanded: (8,) setpoint sent to the driver.
            measured: (8,) setpoint that the driver read.
        """
        first = self._since_ns < 0
        if not first:
            # The farthest, not the last: an arm that lags behind a turn comes back to where it was.
            way = measured[:3] - self._measured
            self._farthest_m = max(self._farthest_m, float(np.sqrt(way @ way)))
            if now_ns - self._since_ns < WINDOW_NS:
                return ""
        sent_m = float(np.linalg.norm(commanded[:3] - self._commanded))
        gone_m, self._farthest_m = self._farthest_m, 0.0
        self._since_ns = now_ns
        self._commanded[:], self._measured[:] = commanded[:3], measured[:3]
        if first or sent_m < MOVED_M or gone_m >= SHARE * sent_m:
            return ""
        return f"the arm stalls: it went {1e3 * gone_m:.1f} mm of {1e3 * sent_m:.0f} mm commanded"
