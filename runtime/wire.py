"""The wire: what goes through the sockets of an arm, one message per frame.

Setpoints and state go PUB/SUB, and a slow reader gets the newest message and no queue: by CONFLATE,
which must be set before bind or connect, wherever the other end is trusted. libzmq aborts the
process of a conflating receiver at a message of several frames, so the arm, which hears strangers
too, keeps the newest of each session itself. A conflating pipe of libzmq may hold back its last
message until the next one is written, so both are sent at a rate, never once. Requests
(``wire_control``) go DEALER/ROUTER and are acknowledged. Inside loops nothing blocks and nothing
raises: what cannot be decoded is counted and dropped.
"""

from __future__ import annotations

from typing import Any

import zmq

from dvla.runtime.addresses import ArmAddresses
from dvla.runtime.events import AnyEvent, Event
from dvla.runtime.messages import MAX_SETPOINTS, ArmState, Command
from dvla.runtime.pose import SETPOINT_WIDTH
from dvla.runtime.wire_link import MAX_PER_CALL, Plug, Receiver, Sender

MAX_COMMAND_BYTES = MAX_SETPOINTS * SETPOINT_WIDTH * 8 + 1024
MAX_STATE_BYTES = 16 * 1024
MAX_EVENT_BYTES = 64 * 1024
STREAM_QUEUE = 2000
EVENT_QUEUE = 10_000
MAX_DRAINS = 4
"""A second of commands at 250 Hz: what a shorter stall has left is gone after one turn."""


class CommandPublisher(Sender):
    """The commander's end: only its newest command counts."""

    plug = Plug(zmq.PUB, "commands", False, MAX_COMMAND_BYTES, {zmq.CONFLATE: 1}, watched=True)

    def send(self, command: Command) -> bool:
        """Send a command; never wait."""
        return self._send(command)


class CommandSubscriber(Receiver[Command]):
    """The arm's end: of what waits, the newest command of each session counts."""

    message = Command
    plug = Plug(
        zmq.SUB,
        "commands",
        True,
        MAX_COMMAND_BYTES,
        {zmq.RCVHWM: MAX_PER_CALL, zmq.SUBSCRIBE: b""},
    )

    def drain(self) -> list[Command]:
        """Return the newest command of each session that waits."""
        newest: dict[int, Command] = {}
        for _ in range(MAX_DRAINS):
            taken = super().drain()
            newest.update((command.session, command) for command in taken)
            if len(taken) < MAX_PER_CALL:
                break
        return list(newest.values())


class StatePublisher(Sender):
    """The arm's end of the state."""

    # No CONFLATE here: a PUB socket that conflates would thin out the recorder's stream.
    plug = Plug(zmq.PUB, "state", True, MAX_STATE_BYTES, {zmq.SNDHWM: STREAM_QUEUE})

    def send(self, state: ArmState) -> bool:
        """Send a state to everybody who listens; never wait."""
        return self._send(state)


class StateSubscriber(Receiver[ArmState]):
    """Gives the newest state of an arm."""

    message = ArmState
    plug = Plug(zmq.SUB, "state", False, MAX_STATE_BYTES, {zmq.CONFLATE: 1, zmq.SUBSCRIBE: b""})

    def __init__(self, addresses: ArmAddresses, *, context: zmq.Context[Any] | None = None) -> None:
        super().__init__(addresses, context=context)
        self._newest: ArmState | None = None

    def newest(self) -> ArmState | None:
        """Return the newest state that ever arrived, or None before the first."""
        states = self.drain()
        if states:
            self._newest = states[-1]
        return self._newest


class StateStream(Receiver[ArmState]):
    """Gives every state of an arm, for the recorder and for the observation's history."""

    message = ArmState
    plug = Plug(
        zmq.SUB, "state", False, MAX_STATE_BYTES, {zmq.RCVHWM: STREAM_QUEUE, zmq.SUBSCRIBE: b""}
    )


class EventPusher(Sender):
    """An ``EventSink``: events go to the recorder, or are dropped and counted."""

    plug = Plug(zmq.PUSH, "events", False, MAX_EVENT_BYTES, {zmq.SNDHWM: EVENT_QUEUE})

    def emit(self, event: Event) -> None:
        """Take an event; never block and never raise."""
        self._send(event)


class EventPuller(Receiver[AnyEvent]):
    """The recorder's end; take ``lock_events`` first."""

    message = AnyEvent
    plug = Plug(zmq.PULL, "events", True, MAX_EVENT_BYTES, {zmq.RCVHWM: EVENT_QUEUE})
