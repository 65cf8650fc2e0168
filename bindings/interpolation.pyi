import numpy as np
from numpy.typing import NDArray

def interpolate(
    t_ns: NDArray[np.int64],  # (n,) strictly rising
    setpoints: NDArray[np.float64],  # (n, 8)
    now_ns: int,
    setpoint_out: NDArray[np.float64],  # (8,)
    twist_out: NDArray[np.float64],  # (6,) [m/s, rad/s], base frame
) -> None: ...
