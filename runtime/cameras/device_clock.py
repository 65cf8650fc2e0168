"""Capture times on the host's monotonic clock, out of a device's stamps or the kernel's.

A frame that waited in a driver's queue while this process stood still is old, and must not be dated
by its arrival: a stamp is doubted only where it cannot be true, never because it is late.
"""

from __future__ import annotations

from collections import deque

WINDOW = 256
LEAP_NS = 500_000_000
"""A device's count that goes back by more than this, or ahead of the host, began anew."""
MAX_AGE_NS = 500_000_000
"""A stamp that is no older than this proves that its driver uses the host's clock."""


class DeviceClock:
    """Converts a device's time stamps to the host's monotonic clock.

    Every frame arrives later than it was captured, by a delay that varies; the smallest difference
    between arrival and stamp of the last frames is the offset plus the smallest delay. That delay
    is what ``dvla-calibrate latency`` measures.

    A difference that grows while stamps rise is a late frame, however late. Only a leap of the
    device's count begins anew, and is counted: back, where the device was reset or its count ran
    over, or ahead, where it counted on while the host slept (the host's monotonic clock stands
    still meanwhile). The first frame after a leap is dated by its arrival, as the very first one
    is; the less delayed ones after it correct the offset. A small step back is a frame that comes
    out of order, and no leap.

    Attributes:
        implausible: leaps.
    """

    def __init__(self) -> None:
        self._offsets: deque[int] = deque(maxlen=WINDOW)
        self._newest_ns = 0
        self.implausible = 0

    def host_ns(self, device_ns: int, arrived_ns: int) -> int:
        """Return when a frame was captured, on the host's clock.

        Args:
            device_ns: its stamp on the device's clock, any epoch.
            arrived_ns: when the host got it.
        """
        offset = arrived_ns - device_ns
        if not self._offsets:
            self._newest_ns = device_ns
        elif device_ns < self._newest_ns - LEAP_NS or offset < min(self._offsets) - LEAP_NS:
            self._offsets.clear()
            self._newest_ns = device_ns
            self.implausible += 1
        self._newest_ns = max(self._newest_ns, device_ns)
        self._offsets.append(offset)
        return device_ns + min(self._offsets)


class KernelClock:
    """Takes stamps that claim to be on the host's monotonic clock, wherever that can be true.

    One stamp from shortly before its arrival proves the claim of its device. From then on every
    stamp of the past stays as it is. The arrival is taken, and counted, where a stamp is 0 or lies
    in the future, and for all before the proof. A device that is reset changes nothing, since the
    kernel stamps; while the host sleeps, stamps and arrivals stand still alike.

    Attributes:
        implausible: frames that were dated by their arrival.
    """

    def __init__(self) -> None:
        self._proven = False
        self.implausible = 0

    def host_ns(self, stamp_ns: int, arrived_ns: int) -> int:
        """Return when a frame was captured.

        Args:
            stamp_ns: as the driver says.
            arrived_ns: when the host got it.
        """
        past = 0 < stamp_ns <= arrived_ns
        self._proven = self._proven or (past and arrived_ns - stamp_ns <= MAX_AGE_NS)
        if past and self._proven:
            return stamp_ns
        self.implausible += 1
        return arrived_ns
