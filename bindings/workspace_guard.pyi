import numpy as np
from numpy.typing import NDArray

class WorkspaceGuard:
    """Keeps a planner's targets so far inside a box that the arm can always stop inside it."""

    def __init__(
        self,
        lower: NDArray[np.float64],  # (3,) [m]
        upper: NDArray[np.float64],  # (3,) [m]
        *,
        reserve: float,  # past the box, before the plan brakes [m]
        acceleration: float,  # of a stop [m/s2]
        jerk: float,  # of a stop [m/s3]
        hardest: float,  # acceleration of a plan [m/s2]
        plan_jerk: float,  # [m/s3]
    ) -> None: ...
