import numpy as np
from numpy.typing import NDArray

from dvla.bindings.follower import FACTS, Follower

__all__ = ["FACTS", "REPORT", "Chain"]

REPORT: int

class Chain(Follower):
    """The kinematics of one serial arm, and what a path asks of its joints."""

    def judge(
        self,
        kept_q: NDArray[np.float64],  # (k >= 3, n) joints of the knots before the rows
        kept: NDArray[np.float64],  # (k, 8) those knots
        rows: NDArray[np.float64],  # (m, 8) that come after them
        period_s: float,
        bounds: NDArray[np.float64],  # (3, n) velocity, acceleration, jerk
        envelope: NDArray[np.float64],  # (3, 2) of the TCP: what stops keep
        shares: NDArray[np.float64],  # (s,) instants of a stop in (0, 1], rising
        stops: int,  # rows from which the stop is judged
        q_out: NDArray[np.float64],  # (m, n)
        report_out: NDArray[np.float64],
        # (REPORT,): worst facts (5,); worst share of velocity, acceleration and jerk, each with the
        # joint's index; of the stops: worst facts (5,); manipulability where the rows begin
    ) -> None: ...
