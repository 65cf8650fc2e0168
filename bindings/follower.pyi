import numpy as np
from numpy.typing import NDArray

from dvla.bindings.kinematics import FACTS
from dvla.bindings.pacing import Pacing

__all__ = ["FACTS", "Follower"]

class Follower(Pacing):
    """The kinematics of one serial arm, and the joints that it goes to for a path."""

    def __init__(
        self,
        rows: NDArray[np.float64],  # (n, 4): a [m], alpha [rad], d [m], theta [rad]
        tool: NDArray[np.float64],  # (4, 4), the TCP in the last link
        lower: NDArray[np.float64],  # (n,) [rad], where the solver lets joints go
        upper: NDArray[np.float64],
        accelerations: NDArray[np.float64],  # (n,) [rad/s2]; before an end joints brake at 80 %
        jerks: NDArray[np.float64],  # (n,) [rad/s3]
        posture: NDArray[np.float64],  # (n,) [rad], weakly preferred
        turn_weight: float,  # what a radian of attitude weighs against position [m/rad]
        capsules: NDArray[np.float64],  # (c, 8): link, radius, both ends in the link [m]
        pairs: NDArray[np.int64],  # (k, 2) capsules that must not touch
        planes: NDArray[np.float64],  # (p, 4): unit normal, offset [m]; links stay in front
    ) -> None: ...
    def follow(
        self,
        q: NDArray[np.float64],  # (n,) [rad], where the path begins
        setpoints: NDArray[np.float64],  # (m, 8)
        q_out: NDArray[np.float64],  # (m, n) [rad]
        facts_out: NDArray[np.float64],  # (m, FACTS)
        turns: int = 1,  # Gauss-Newton steps per setpoint
        period_s: float = ...,  # between setpoints; without it joints go anywhere in their range
        speeds: NDArray[np.float64] | None = None,  # (n,) [rad/s], which no joint exceeds
    ) -> None: ...
    def track(
        self,
        q: NDArray[np.float64],  # (n,) [rad], updated
        rates: NDArray[np.float64],  # (2, n) [rad/s, rad/s2] of the last steps, updated
        owed: NDArray[np.float64],  # (6,) [m, rad] from the TCP to the last setpoint, updated
        setpoint: NDArray[np.float64],  # (8,)
        time_s: float,  # of the step
        speeds: NDArray[np.float64],  # (n,) [rad/s], which no joint exceeds
        facts_out: NDArray[np.float64],  # (FACTS,)
    ) -> None: ...
