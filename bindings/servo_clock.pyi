import numpy as np
from numpy.typing import NDArray

class ServoClock:
    """Absolute-deadline pacer (clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME)."""

    def __init__(self, period_ns: int) -> None: ...
    def wait(self) -> int: ...  # sleep to the next deadline; returns the time of waking [ns]
    @property
    def period_ns(self) -> int: ...
    @property
    def deadline_ns(self) -> int: ...  # the deadline that the last wait() served
    @property
    def lateness_ns(self) -> int: ...  # waking minus deadline, last tick
    @property
    def ticks(self) -> int: ...
    @property
    def overruns(self) -> int: ...  # deadlines that had passed when wait() was called; skipped
    @property
    def histogram(self) -> NDArray[np.int64]: ...  # lateness counts, read-only copy
    @property
    def histogram_edges_ns(self) -> NDArray[np.int64]: ...
    def lateness_percentile_ns(self, percent: float) -> int: ...
    def reset_statistics(self) -> None: ...
