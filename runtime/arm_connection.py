"""A run's connection to an arm controller that it did not start.

Kept by the supervisor, away from every control loop: it measures the controller's clock once a
second for all processes of the run, notices when the controller is gone or the lease is lost, and
gives the lease back at the end, which stops the arm.
"""

from __future__ import annotations

import contextlib
import secrets

import zmq

from dvla.engines.errors import UsageError
from dvla.runtime.arm_link import ArmLink
from dvla.runtime.clock_board import ClockBoard
from dvla.runtime.clock_offset import (
    MAX_EXECUTE_BOUND_NS,
    SAME_CLOCK,
    ClockEstimator,
    ClockOffset,
    require_for_execute,
)
from dvla.runtime.errors import LeaseError, RobotFault, WireError
from dvla.runtime.messages import ArmState, LeaseRelease, LeaseRequest
from dvla.runtime.wire import StateSubscriber
from dvla.runtime.wire_control import ControlClient

FIRST_QUESTIONS = 32
ASK_EVERY_NS = 1_000_000_000
ASK_TIMEOUT_S = 0.15
"""How long one look may hold up the supervisor's loop; a slower answer is no use as a clock."""
CONNECT_S = 3.0
SILENT_NS = 2_000_000_000
STOP_S = 2.0


class ArmConnection:
    """Knows the controller's clock, state and lease.

    Args:
        link: to the controller.
        session: of the run.
        board: where the offset of the controller's clock goes.
        robot: that the run is meant for.
        twin: whether it is meant for a digital twin (``--sim``).
    """

    def __init__(
        self, link: ArmLink, session: int, board: ClockBoard, *, robot: str, twin: bool
    ) -> None:
        addresses = link.connecting()
        self._link, self._session, self._board = link, session, board
        self._robot, self._twin = robot, twin
        self._client = ControlClient(addresses)
        self._states = StateSubscriber(addresses)
        self._estimator = ClockEstimator()
        self._sequence = 0
        self._asked_ns = 0
        self._heard_ns = 0
        self._leased = self._opened = self._moves = False
        self.offset: ClockOffset = SAME_CLOCK
        self.widened: dict[str, float] = {}
        """Limits that the controller has widened when the run began: name -> seconds left."""

    def open(self, now_ns: int) -> str:
        """Measure the clock and make sure that the lease is to be had; return what was found.

        Raises:
            WireError: the controller does not answer.
            UsageError: it has a real arm where a twin was meant, a twin where an arm was, or
                another robot.
            LeaseError: another run commands the arm.
        """
        self._ask_clock(CONNECT_S)
        for _ in range(FIRST_QUESTIONS):
            self._ask_clock(CONNECT_S)
        self._asked_ns = self._heard_ns = now_ns
        state = self._await_state()
        self._check_kind(state)
        self.widened = state.widened
        # A lease of its own, at once given back: the run's is for the servo to take once it runs,
        # as nobody would keep it alive until then. A network may deliver long after what the arm
        # says of this one; under the run's session that would be a lease that was had and lost.
        trial = secrets.randbits(62) + 1
        request = LeaseRequest(session=trial, sequence=self._next(), holder="dvla-run")
        reply = self._client.ask(request)
        if not reply.ok:
            raise LeaseError(f"arm {self._link.name!r} grants no lease: {reply.text}")
        self._client.ask(LeaseRelease(session=trial, sequence=self._next()))
        self._opened = True
        held = f"; it is held ({state.reason}) until dvla-arm resume" if state.held else ""
        wide = ", ".join(f"{name} for {left_s:.0f} s" for name, left_s in state.widened.items())
        wide = f"; its limits are widened: {wide}" if wide else ""
        return f"at {self._link.address}, {self.clock_words(now_ns)}{held}{wide}"

    def _check_kind(self, state: ArmState) -> None:
        """Raise unless the arm is of the kind that the run was cleared for."""
        if (state.twin, state.robot) == (self._twin, self._robot):
            return
        kinds = ("a real {}", "the digital twin of a {}")
        name = state.robot or "robot that it does not name"
        meant = "with --sim" if state.twin else "without --sim"
        raise UsageError(
            f"the controller at {self._link.address} has another arm than meant",
            got=kinds[state.twin].format(name),
            expected=kinds[self._twin].format(self._robot),
            next_command=f"another --arm-address; or, if that arm is meant, --robot {name} {meant}",
        )

    def _await_state(self) -> ArmState:
        """Return the first state that comes: states have a socket of their own, and may not."""
        self._states.socket.poll(int(CONNECT_S * 1e3), zmq.POLLIN)
        state = self._states.newest()
        if state is None:
            raise WireError(
                f"the arm controller at {self._link.address} answers, but reports no state",
                expected="a network that lets all of its ports through",
                next_command="open five ports from the address's on, in the controller's firewall",
            )
        return state

    def clock_words(self, now_ns: int) -> str:
        """Say how well the controller's clock is known."""
        if self.offset is SAME_CLOCK:
            return "on this host's clock"
        bound_ms = self.offset.bound_at(now_ns) / 1e6
        return f"clock {self.offset.offset_ns / 1e9:+.6f} s, known to {bound_ms:.2f} ms"

    def require_for_execute(self, now_ns: int) -> None:
        """Raise unless the clocks are known well enough to move a real arm; from then on it does.

        Raises:
            WireError: the bound is above 5 ms.
        """
        self._moves = True
        if self.offset is not SAME_CLOCK:
            require_for_execute(self.offset, now_ns)

    def look(self, now_ns: int) -> None:
        """Take a look at the controller; call it often, it asks once a second.

        Raises:
            RobotFault: the controller has not been heard for too long, or its clock is not known
                well enough any more to move an arm.
            LeaseError: the run has lost the lease that it had.
        """
        for state in self._states.drain()[-1:]:
            self._heard_ns = now_ns
            self._check_lease(state)
        if now_ns - self._asked_ns >= ASK_EVERY_NS:
            self._asked_ns = now_ns
            with contextlib.suppress(WireError):
                self._ask_clock(ASK_TIMEOUT_S)
        if self._moves:
            self._check_clock(now_ns)
        silent_ns = now_ns - self._heard_ns
        if silent_ns > SILENT_NS:
            raise RobotFault(
                f"the arm controller at {self._link.address} is not heard any more",
                got=f"no state for {silent_ns / 1e9:.1f} s",
                expected="125 a second; without commands it stops the arm and holds it by itself",
                next_command="look after the network and the controller, then start again",
            )

    def _check_clock(self, now_ns: int) -> None:
        bound_ns = 0 if self.offset is SAME_CLOCK else self.offset.bound_at(now_ns)
        if bound_ns > MAX_EXECUTE_BOUND_NS:
            raise RobotFault(
                "the clock of the arm's host is not known well enough any more; the arm stops",
                got=f"an error of up to {bound_ns / 1e6:.1f} ms",
                expected=f"at most {MAX_EXECUTE_BOUND_NS / 1e6:g} ms",
                next_command="let both clocks settle (timedatectl timesync-status, or chronyc "
                "tracking, on both hosts), then start again",
            )

    def _check_lease(self, state: ArmState) -> None:
        if state.lease_session == self._session:
            self._leased = True
        elif self._leased:
            raise LeaseError(
                f"this run has lost the lease of arm {self._link.name!r}; the arm has stopped",
                got=f"{state.mode}: {state.reason}",
                expected="to be heard by the controller at least once a second",
            )

    def let_go(self) -> None:
        """Give the lease back: the arm stops and holds."""
        if not self._opened:
            return
        with contextlib.suppress(WireError):
            self._client.ask(LeaseRelease(session=self._session, sequence=self._next()), STOP_S)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()
        self._states.close()

    def _ask_clock(self, timeout_s: float) -> None:
        self.offset = self._client.ask_clock(
            self._estimator, self._session, self._next(), timeout_s
        )
        if self.offset is not SAME_CLOCK:
            self._board.publish(self.offset)

    def _next(self) -> int:
        self._sequence += 1
        return self._sequence
