import numpy as np
from numpy.typing import NDArray

class ShaperLimits:
    """Norm bounds of what the shaper emits: linear [m/s, m/s2, m/s3], angular [rad/s ...]."""

    def __init__(
        self,
        *,
        linear_velocity: float,
        linear_acceleration: float,
        linear_jerk: float,
        angular_velocity: float,
        angular_acceleration: float,
        angular_jerk: float,
    ) -> None: ...
    linear_velocity: float
    linear_acceleration: float
    linear_jerk: float
    angular_velocity: float
    angular_acceleration: float
    angular_jerk: float

class PoseShaper:
    """Velocity-, acceleration- and jerk-limited tracking of setpoints, with a state of its own."""

    SATURATED_VELOCITY: int
    SATURATED_ACCELERATION: int
    SATURATED_JERK: int
    period_s: float
    share: float  # of the limits, that is kept

    def __init__(self, limits: ShaperLimits, period_s: float) -> None: ...
    def take(self, share: float) -> None: ...  # above 0, at most 1; the state has to keep it
    def reset(self, setpoint: NDArray[np.float64]) -> None: ...  # (8,), at rest
    def step(
        self,
        target: NDArray[np.float64],  # (8,)
        target_twist: NDArray[np.float64],  # (6,) [m/s, rad/s]
        setpoint_out: NDArray[np.float64],  # (8,)
    ) -> int: ...  # bits of what saturated
    def stop_step(self, setpoint_out: NDArray[np.float64]) -> bool: ...  # True once at rest
    @property
    def setpoint(self) -> NDArray[np.float64]: ...  # (8,) copy
    @property
    def twist(self) -> NDArray[np.float64]: ...  # (6,) copy [m/s, rad/s]
    @property
    def acceleration(self) -> NDArray[np.float64]: ...  # (6,) copy [m/s2, rad/s2]
    def copy_state_from(self, other: PoseShaper) -> None: ...
