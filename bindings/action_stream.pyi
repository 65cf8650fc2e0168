import enum

import numpy as np
from numpy.typing import NDArray

class SampleStatus(enum.IntEnum):
    """What a timeline says of an instant."""

    EMPTY = 0  # nothing was ever published
    ACTIVE = 1  # an action is in force
    BEFORE = 2  # the first action is not in force yet
    UNDERRUN = 3  # the last action's time has ended
    HOLD = 4  # the writer asked for a hold

class ActionStream:
    """The double buffer between policy and servo: one writer, one reader, two processes.

    The writer publishes whole merged timelines into one of three slots of a memfd; the reader
    copies the newest complete one. No locks; C11 acquire/release sequence numbers.
    """

    CAPACITY: int  # knots per timeline

    @staticmethod
    def create() -> ActionStream: ...
    @staticmethod
    def attach(fd: int) -> ActionStream: ...
    @property
    def fd(self) -> int: ...
    def publish(
        self,
        t_ns: NDArray[np.int64],  # (n,) knot times, strictly rising
        setpoints: NDArray[np.float64],  # (n, 8)
        chunk_ids: NDArray[np.int64],  # (n,) sequence of the chunk each knot came from
        t_obs_ns: NDArray[np.int64],  # (n,) capture time behind each knot
        *,
        start_ns: int,  # when the first action comes into force
        end_ns: int,  # when the last action's time ends: underrun from here on
        generation: int,
        hold: bool = False,
    ) -> int: ...  # the publication's sequence number, from 1
    def refresh(self) -> int: ...  # reader: take the newest complete timeline; its sequence or 0
    def sample(
        self,
        now_ns: int,
        setpoint_out: NDArray[np.float64],  # (8,)
        twist_out: NDArray[np.float64],  # (6,) feed-forward velocity [m/s, rad/s], base frame
    ) -> SampleStatus: ...
    @property
    def generation(self) -> int: ...  # of the reader's copy
    @property
    def retries(self) -> int: ...  # reads that met a writer, in total
    def close(self) -> None: ...
