"""Three ways from policy to servo: the action stream, a lock with a deque, a manager's queue.

Every channel takes a whole chunk on one side and gives what is due on the other.
"""

from __future__ import annotations

import threading
from collections import deque
from multiprocessing import get_context
from typing import Protocol

import numpy as np

from dvla.bindings import ActionStream
from dvla.runtime.pose import SETPOINT_WIDTH

KNOTS = 22
"""The last two knots of the running chunk and twenty future ones."""
PERIOD_NS = 40_000_000


class Channel(Protocol):
    """One way of passing chunks on."""

    @property
    def name(self) -> str:
        """As reports call it."""

    def publish(self) -> None:
        """Pass one chunk on."""

    def sample(self) -> None:
        """Take what is due now."""

    def close(self) -> None:
        """Free what it holds."""


class Timeline:
    """One chunk as arrays: (n,) times [ns], (n, 8) setpoints, and where they came from."""

    def __init__(self) -> None:
        self.t_ns = 1_000_000_000 + PERIOD_NS * np.arange(KNOTS, dtype=np.int64)
        self.setpoints = np.zeros((KNOTS, SETPOINT_WIDTH))
        self.setpoints[:, 6] = 1.0
        self.setpoints[:, 0] = np.linspace(0.4, 0.45, KNOTS)
        self.chunk_ids = np.zeros(KNOTS, np.int64)
        self.t_obs_ns = np.full(KNOTS, 1, np.int64)
        self.end_ns = int(self.t_ns[-1]) + PERIOD_NS
        self.now_ns = int(self.t_ns[KNOTS // 2])


class StreamChannel:
    """The action stream: shared memory, interpolated, position and velocity."""

    name = "ActionStream"

    def __init__(self) -> None:
        self._timeline = Timeline()
        self._writer = ActionStream.create()
        self._reader = ActionStream.attach(self._writer.fd)
        self.setpoint, self._twist = np.zeros(SETPOINT_WIDTH), np.zeros(6)

    def publish(self) -> None:
        """Publish the timeline."""
        line = self._timeline
        self._writer.publish(
            line.t_ns,
            line.setpoints,
            line.chunk_ids,
            line.t_obs_ns,
            start_ns=int(line.t_ns[0]),
            end_ns=line.end_ns,
            generation=0,
        )

    def sample(self) -> None:
        """Take the newest timeline and interpolate it."""
        self._reader.refresh()
        self._reader.sample(self._timeline.now_ns, self.setpoint, self._twist)

    def close(self) -> None:
        """Unmap both ends."""
        self._reader.close()
        self._writer.close()


class DequeChannel:
    """A deque of (time, action) under a lock, within one process; the nearest past action."""

    name = "lock + deque"

    def __init__(self) -> None:
        self._timeline = Timeline()
        self._lock = threading.Lock()
        self._actions: deque[tuple[int, np.ndarray[tuple[int], np.dtype[np.float64]]]] = deque()

    def publish(self) -> None:
        """Replace all actions."""
        line = self._timeline
        with self._lock:
            self._actions.clear()
            self._actions.extend(zip(line.t_ns.tolist(), line.setpoints, strict=True))

    def sample(self) -> None:
        """Find the action in force."""
        with self._lock:
            in_force = self._actions[0]
            for action in self._actions:
                if action[0] > self._timeline.now_ns:
                    break
                in_force = action
        in_force[1].copy()

    def close(self) -> None:
        """Drop the actions."""
        self._actions.clear()


class ManagerChannel:
    """A queue of a multiprocessing manager: every call is a round trip to a third process."""

    name = "multiprocessing Manager"

    def __init__(self) -> None:
        self._timeline = Timeline()
        # Spawned: a fork would copy threads' locks in whatever state they are.
        self._manager = get_context("spawn").Manager()
        self._queue = self._manager.Queue()

    def publish(self) -> None:
        """Put the chunk."""
        self._queue.put((self._timeline.t_ns, self._timeline.setpoints))

    def sample(self) -> None:
        """Get a chunk and find the action in force; every chunk can be got once."""
        t_ns, setpoints = self._queue.get()
        setpoints[int(np.searchsorted(t_ns, self._timeline.now_ns, side="right")) - 1].copy()

    def close(self) -> None:
        """End the third process."""
        self._manager.shutdown()
