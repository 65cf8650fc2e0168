"""A device's clock on the host's: the least delayed of the last frames tells the offset."""

from __future__ import annotations

from collections import deque

WINDOW = 256
MAX_AGE_NS = 500_000_000


class DeviceClock:
    """Converts a device's time stamps to the host's monotonic clock.

    Every frame arrives later than it was captured, by a delay that varies; the smallest difference
    between arrival and stamp of the last frames is the offset plus the smallest delay. That delay
    is what ``dvla-calibrate latency`` measures. A stamp that lies in the future or far in the past
    of its arrival says nothing: the arrival is taken instead, and counted.
    """

    def __init__(self) -> None:
        self._offsets: deque[int] = deque(maxlen=WINDOW)
        self.implausible = 0

    def host_ns(self, device_ns: int, arrived_ns: int) -> int:
        """Return when a frame was captured, on the host's clock.

        Args:
            device_ns: its stamp on the device's clock, any epoch.
            arrived_ns: when the host got it.
        """
        offset = arrived_ns - device_ns
        if self._offsets and abs(offset - min(self._offsets)) > MAX_AGE_NS:
            self._offsets.clear()  # the device began to count anew
            self.implausible += 1
        self._offsets.append(offset)
        return device_ns + min(self._offsets)


def monotonic_stamp_ns(stamp_ns: int, arrived_ns: int) -> int:
    """Return a stamp that claims to be on the host's monotonic clock, or the arrival if it cannot.

    Args:
        stamp_ns: as the driver says.
        arrived_ns: when the host got the frame.
    """
    return stamp_ns if 0 <= arrived_ns - stamp_ns <= MAX_AGE_NS else arrived_ns
