import numpy as np
from numpy.typing import NDArray

from dvla.bindings.kinematics import Kinematics

__all__ = ["Pacing"]

class Pacing(Kinematics):
    """The kinematics of one serial arm, with the limits of its joints."""

    def __init__(
        self,
        rows: NDArray[np.float64],  # (n, 4): a [m], alpha [rad], d [m], theta [rad]
        tool: NDArray[np.float64],  # (4, 4), the TCP in the last link
        lower: NDArray[np.float64],  # (n,) [rad], where the solver lets joints go
        upper: NDArray[np.float64],
        accelerations: NDArray[np.float64],  # (n,) [rad/s2]; before an end joints brake at 80 %
        jerks: NDArray[np.float64],  # (n,) [rad/s3]
        capsules: NDArray[np.float64],  # (c, 8): link, radius, both ends in the link [m]
        pairs: NDArray[np.int64],  # (k, 2) capsules that must not touch
        planes: NDArray[np.float64],  # (p, 4): unit normal, offset [m]; links stay in front
    ) -> None: ...
