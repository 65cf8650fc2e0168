import numpy as np
from numpy.typing import NDArray

FACTS: int

class Kinematics:
    """The kinematics of one serial arm, and the distances of its links.

    Frames follow Craig's convention: Rx(alpha) Tx(a) Rz(q + theta) Tz(d) per joint.
    """

    joints: int

    def __init__(
        self,
        rows: NDArray[np.float64],  # (n, 4): a [m], alpha [rad], d [m], theta [rad]
        tool: NDArray[np.float64],  # (4, 4), the TCP in the last link
        capsules: NDArray[np.float64],  # (c, 8): link, radius, both ends in the link [m]
        pairs: NDArray[np.int64],  # (k, 2) capsules that must not touch
        planes: NDArray[np.float64],  # (p, 4): unit normal, offset [m]; links stay in front
    ) -> None: ...
    def tcp(self, q: NDArray[np.float64], pose_out: NDArray[np.float64]) -> None: ...  # (7,)
