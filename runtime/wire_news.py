"""What a controller of its own tells whoever listens: its events, and its twin's world.

A controller that a run starts pushes its events to that run's recorder. One that runs by itself
has no recorder: it publishes them, and a run that commands it subscribes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import zmq

from dvla.runtime.addresses import ArmAddresses
from dvla.runtime.clock_offset import ClockOffset
from dvla.runtime.events import AnyEvent, Event
from dvla.runtime.twin.bodies import OF_CODE
from dvla.runtime.twin.snapshot import SNAPSHOT_BYTES, TwinSnapshot, unpack_snapshot
from dvla.runtime.wire import EVENT_QUEUE, MAX_EVENT_BYTES, STREAM_QUEUE
from dvla.runtime.wire_link import Inlet, Link, Plug, Receiver, Sender

KEPT_SNAPSHOTS = 256
MAX_SNAPSHOT_BYTES = SNAPSHOT_BYTES + 256
"""The cap counts what CURVE adds."""


class NewsPublisher(Sender):
    """An ``EventSink`` for everybody who listens; never waits."""

    plug = Plug(zmq.PUB, "news", True, MAX_EVENT_BYTES, {zmq.SNDHWM: EVENT_QUEUE})

    def emit(self, event: Event) -> None:
        """Take an event; never block and never raise."""
        self._send(event)


class NewsStream(Receiver[AnyEvent]):
    """Gives the events of a controller."""

    message = AnyEvent
    plug = Plug(
        zmq.SUB, "news", False, MAX_EVENT_BYTES, {zmq.RCVHWM: EVENT_QUEUE, zmq.SUBSCRIBE: b""}
    )


class SnapshotPublisher(Link):
    """Sends a twin's world to cameras and oracles elsewhere."""

    plug = Plug(zmq.PUB, "snapshots", True, MAX_SNAPSHOT_BYTES, {zmq.SNDHWM: STREAM_QUEUE})

    def send(self, snapshot: bytes) -> None:
        """Send a snapshot to everybody who listens; never wait."""
        self.socket.send(snapshot, zmq.NOBLOCK)  # a PUB socket drops, it is never full


class SnapshotStream(Inlet):
    """The world of a twin that runs elsewhere: the newest snapshot, or the nearest to a time.

    Args:
        addresses: of the arm.
        offset: tells the offset of its clock; snapshots are stamped on ours.
        context: of the socket.
    """

    plug = Plug(
        zmq.SUB,
        "snapshots",
        False,
        MAX_SNAPSHOT_BYTES,
        {zmq.RCVHWM: STREAM_QUEUE, zmq.SUBSCRIBE: b""},
    )

    def __init__(
        self,
        addresses: ArmAddresses,
        offset: Callable[[], ClockOffset],
        *,
        context: zmq.Context[Any] | None = None,
    ) -> None:
        super().__init__(addresses, context=context)
        self._offset = offset
        self._kept: deque[TwinSnapshot] = deque(maxlen=KEPT_SNAPSHOTS)

    def newest(self) -> TwinSnapshot | None:
        """Return the newest snapshot, or None before the first."""
        self._drain()
        return self._kept[-1] if self._kept else None

    def at(self, t_ns: int) -> TwinSnapshot | None:
        """Return the snapshot nearest to a time, or None when there is none."""
        self._drain()
        return min(self._kept, key=lambda one: abs(one.t_ns - t_ns), default=None)

    def _drain(self) -> None:
        for (frame,) in self._messages():
            if len(frame) != SNAPSHOT_BYTES:
                self.malformed += 1
                continue
            snapshot = unpack_snapshot(frame)
            if snapshot.arm not in OF_CODE or not np.isfinite(snapshot.qpos).all():
                self.malformed += 1
                continue
            t_ns = snapshot.t_ns - self._offset().offset_ns
            self._kept.append(msgspec.structs.replace(snapshot, t_ns=t_ns))
