import numpy as np
from numpy.typing import NDArray

Bytes = bytes | bytearray | memoryview | NDArray[np.uint8]  # one-dimensional, contiguous

class SharedRing:
    """A ring of fixed-size byte slots in a memfd: one writer, any number of readers.

    For camera frames, simulator snapshots and servo telemetry. Readers never block the writer; a
    read that was overtaken by the writer reports it instead of returning torn bytes.
    """

    @staticmethod
    def create(slot_bytes: int, slots: int) -> SharedRing: ...
    @staticmethod
    def attach(fd: int) -> SharedRing: ...
    @property
    def fd(self) -> int: ...
    @property
    def slot_bytes(self) -> int: ...
    @property
    def slots(self) -> int: ...
    @property
    def newest(self) -> int: ...  # sequence of the newest complete slot, from 1; 0 when empty
    def publish(self, payload: Bytes, t_ns: int) -> int: ...
    def read(self, sequence: int, out: Bytes) -> int | None: ...  # t_ns, or None if overtaken
    def times(self) -> list[tuple[int, int]]: ...  # (sequence, t_ns), oldest first
    def close(self) -> None: ...
