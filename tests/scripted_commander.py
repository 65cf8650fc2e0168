"""A commander without a run around it: takes the lease, asks to execute, and plays straight ways.

It is the servo's own core on a stream, at the servo's rate, over the wire.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from servo_loop import publish

from dvla.bindings import ActionStream, ServoClock
from dvla.runtime.arm_link import ArmLink
from dvla.runtime.config import ServoConfig
from dvla.runtime.limits import ArmLimits
from dvla.runtime.messages import (
    ArmState,
    ExecuteRequest,
    LeaseRequest,
    Reply,
    Request,
    ResumeRequest,
)
from dvla.runtime.servo import ServoCore
from dvla.runtime.wire import CommandPublisher, StateSubscriber
from dvla.runtime.wire_control import ControlClient

PATIENCE_S = 60.0


class ScriptedCommander:
    """Commands the arm at the other end of a link.

    Args:
        link: to the controller.
        limits: of the arm.
        session: of this commander.
    """

    def __init__(self, link: ArmLink, limits: ArmLimits, session: int = 77) -> None:
        addresses = link.connecting()
        self.session = session
        self.states = StateSubscriber(addresses)
        self._commands = CommandPublisher(addresses)
        self._client = ControlClient(addresses)
        self._stream = ActionStream.create()
        self._core = ServoCore(self._stream, limits, ServoConfig(), session=session)
        self._clock = ServoClock(4_000_000)
        self._sequence = 0
        self._commands.await_peer(PATIENCE_S)

    def ask(self, kind: Callable[..., Request], **fields: object) -> Reply:
        """Ask the controller something."""
        self._sequence += 1
        return self._client.ask(kind(session=self.session, sequence=self._sequence, **fields), 5.0)

    def take_over(self) -> None:
        """Take the lease and ask to execute, until the arm follows."""
        self.until(lambda state: state.mode != "fault" or self.ask(ResumeRequest).ok)
        assert self.ask(LeaseRequest, holder="a script").ok
        self.until(lambda state: state.mode == "follow")
        reply = self.ask(ExecuteRequest)
        assert reply.ok, reply.text
        self.until(lambda state: state.mode == "follow" and not state.shadow)

    def play(self, velocity: tuple[float, float, float], rows: int, gripper: float = 1.0) -> None:
        """Publish a straight way from the commanded pose, due from now on."""
        state = self.state()
        path = np.repeat(np.array(state.commanded)[None], rows, axis=0)
        path[:, :3] += np.arange(rows)[:, None] * 0.04 * np.asarray(velocity)
        path[:, 7] = gripper
        now_ns = time.monotonic_ns()
        publish(self._stream, path, now_ns, t_obs_ns=now_ns)

    def state(self) -> ArmState:
        """Return the newest state."""
        state = self.states.newest()
        assert state is not None
        return state

    def turn(self) -> ArmState | None:
        """Take one turn of a servo."""
        self._clock.wait()
        state = self.states.newest()
        command = self._core.tick(self._clock.deadline_ns, state)
        if command is not None:
            self._commands.send(command)
        return state

    def until(
        self, reached: Callable[[ArmState], bool], patience_s: float = PATIENCE_S
    ) -> ArmState:
        """Turn until the arm reports something; fail when it does not."""
        end = time.monotonic() + patience_s
        while True:
            state = self.turn()
            if state is not None and reached(state):
                return state
            assert time.monotonic() < end, state

    def close(self) -> None:
        """Fall silent."""
        for link in (self.states, self._commands, self._client):
            link.close()
