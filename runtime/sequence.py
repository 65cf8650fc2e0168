"""The start-up and the exit of a run that moves an arm, step by step.

    connect, in shadow          every process runs, the driver is not commanded
    read-only checks            of what the arm reports
    preflight, confirmation     before this module is asked (``dvla.runtime.preflight``)
    execution                   the controller commands the driver, from the measured pose
    slow move                   to the start pose, watched, under the slow envelope of the gate
    policy
    hold; on a normal end, if wanted, the slow move back

A fault, a hold or a signal ends the sequence where it is: it never starts a new motion.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from dvla.runtime.clock import NS_PER_S
from dvla.runtime.errors import RobotFault
from dvla.runtime.limits import ArmLimits
from dvla.runtime.messages import ArmState, ExecuteRequest, FollowRequest, PaceRequest, Request
from dvla.runtime.phase import Phase
from dvla.runtime.pose import Float64
from dvla.runtime.rotation import rotation_between
from dvla.runtime.start_move import move_duration_s

STATE_AGE_NS = 300_000_000
ENGAGE_S = 6.0
SLACK_S = 8.0
"""A move that takes so much longer than planned is none."""
MAX_LAG_M, MAX_LAG_RAD = 0.03, 0.15
"""How far an arm may stay behind a move of 0.1 m/s."""
ARRIVED_M, ARRIVED_RAD = 0.01, 0.05
COMMANDED_M, COMMANDED_RAD = 1e-4, 1e-3


class SequenceStopped(RobotFault):
    """The sequence ended before the policy began: held, refused, or not followed."""


class Conductor(Protocol):
    """What the sequence needs of the supervisor."""

    def enter(self, phase: Phase) -> None:
        """Tell the processes what they may do."""

    def hold(self, reason: str) -> bool:
        """Stop the arm and hold."""

    def ask_arm(self, request: Request) -> str:
        """Send a request; return why it was refused, or nothing."""


class Sequence:
    """Leads one run through its start and its end.

    Args:
        conductor: the supervisor.
        state: returns the arm's newest state.
        turn: looks after everything else once, and waits a little; when it says no, the run ends.
        clock_ns: of the host.
        session: of the run.
        limits: of the arm.
        goal: (8,) the start pose, or empty.
        say: takes a line for a person.
    """

    def __init__(
        self,
        conductor: Conductor,
        state: Callable[[], ArmState | None],
        turn: Callable[[], bool],
        clock_ns: Callable[[], int],
        *,
        session: int,
        limits: ArmLimits,
        goal: tuple[float, ...],
        say: Callable[[str], None],
    ) -> None:
        self._conductor, self._newest, self._turn = conductor, state, turn
        self._clock_ns, self._session, self._limits = clock_ns, session, limits
        self._goal: Float64 = np.array(goal, np.float64)
        self._say = say

    def check_read_only(self, *, shadow: bool = False) -> ArmState:
        """Look at what the arm reports, without a word to it.

        Args:
            shadow: the arm has to be in shadow: whatever is sent to it moves nothing.

        Raises:
            SequenceStopped: it is not fit to move.
        """
        end_ns = self._clock_ns() + 2 * NS_PER_S
        while (state := self._fresh()) is None:
            if self._clock_ns() > end_ns or not self._turn():
                raise SequenceStopped("the arm reports no state", expected="one every few ms")
        if state.mode == "fault":
            raise SequenceStopped(
                "the arm is in fault",
                got=state.reason,
                next_command="put it right at the arm and start again; where its controller runs "
                "on its own, dvla-arm resume",
            )
        if shadow and not state.shadow:
            raise SequenceStopped(
                "the arm controller is not in shadow: it would move the arm",
                expected="a controller that begins in shadow",
                next_command="dvla-arm run --shadow",
            )
        if state.held:
            raise SequenceStopped(
                "somebody holds the arm", got=state.reason, next_command="dvla-arm resume"
            )
        if not np.isfinite(state.measured).all():
            raise SequenceStopped("the arm reports no finite pose", got=state.measured)
        for what, pose in (("the arm", state.measured), ("the start pose", self._goal[:3])):
            outside = self._outside(np.asarray(pose[:3]))
            if outside:
                raise SequenceStopped(
                    f"{what} is outside the workspace",
                    got=outside,
                    expected="a pose inside it",
                    next_command="move the arm by hand, or give another --start-pose",
                )
        return state

    def way(self, state: ArmState) -> str:
        """Say how far it is to the start pose."""
        if not len(self._goal):
            return "The policy starts where the arm stands."
        measured = np.asarray(state.measured)
        way_m, turn_rad = _apart(measured, self._goal)
        duration_s = self._move_s(measured)
        return (
            f"It first moves {1e3 * way_m:.0f} mm and {np.degrees(turn_rad):.0f} deg to its start "
            f"pose, in {duration_s:.1f} s, at most 0.1 m/s."
        )

    def execute(self) -> bool:
        """Let commands reach the driver; returns whether the run still goes on.

        Raises:
            SequenceStopped: the arm refuses, or is not taken over in time.
        """
        problem = self._conductor.ask_arm(ExecuteRequest(session=self._session, sequence=0))
        if problem:
            raise SequenceStopped("the arm does not begin to execute", got=problem)
        self._say("execution begins: the arm may move from now on")
        return self._until(
            lambda state: not state.shadow and state.mode == "follow", ENGAGE_S, "take the arm over"
        )

    def move(self, *, why: str) -> bool:
        """Make the slow move and watch it; returns whether it was completed.

        Raises:
            SequenceStopped: held, in fault, or not followed.
        """
        if not len(self._goal):
            return True
        state = self._fresh()
        duration_s = self._move_s(np.asarray(state.measured)) if state else 0.0
        self._say(f"slow move {why}: {duration_s:.1f} s; a hold or Ctrl-C stops it")
        self._pace(slow=True)
        self._conductor.enter(Phase.MOVE)
        try:
            done = self._until(self._arrived, duration_s + SLACK_S, f"complete the move {why}")
        except SequenceStopped as stopped:
            self._conductor.hold(str(stopped))
            raise
        if done:
            self._pace(slow=False)
        return done

    def go_back(self) -> bool:
        """Stop the policy's motion and move back to the start pose; returns whether it was done.

        Raises:
            SequenceStopped: the arm is in fault, or somebody holds it.
        """
        state = self._fresh()
        if state is None or state.held or state.mode == "fault" or not len(self._goal):
            return False
        self._conductor.enter(Phase.WAIT)
        if not self._conductor.hold("the policy has ended"):
            raise SequenceStopped("the arm did not acknowledge the hold")
        if not self._until(lambda s: s.mode == "hold" and s.held, SLACK_S, "stop", held=True):
            return False
        self._pace(slow=True)
        self._conductor.enter(Phase.MOVE)
        problem = self._conductor.ask_arm(FollowRequest(session=self._session, sequence=0))
        if problem:
            raise SequenceStopped("the arm does not move back", got=problem)
        return self.move(why="back to the start pose")

    def _move_s(self, start: Float64) -> float:
        return move_duration_s(start, self._goal, self._limits.envelope)

    def _pace(self, *, slow: bool) -> None:
        """Have the gate judge by the slow envelope, or by the arm's own again.

        Raises:
            SequenceStopped: it does not.
        """
        request = PaceRequest(session=self._session, sequence=0, slow=slow)
        problem = self._conductor.ask_arm(request)
        if problem:
            pace = "the slow limits" if slow else "its own limits again"
            raise SequenceStopped(f"the arm does not take {pace}", got=problem)

    def _until(
        self,
        reached: Callable[[ArmState], bool],
        timeout_s: float,
        what: str,
        *,
        held: bool = False,
    ) -> bool:
        """Turn until the arm's state is as wanted; returns False when the run is to end."""
        started_ns = self._clock_ns()
        while self._turn():
            state = self._fresh()
            now_ns = self._clock_ns()
            if state is not None:
                if state.mode == "fault":
                    raise SequenceStopped("the arm is in fault", got=state.reason)
                # A hold that was just ended may still stand in the newest state.
                if state.held and not held and now_ns - started_ns > STATE_AGE_NS:
                    raise SequenceStopped(
                        f"the arm was held before it could {what}",
                        got=state.reason,
                        next_command="dvla-arm state, then run again",
                    )
                if reached(state):
                    return True
            elif now_ns - started_ns > STATE_AGE_NS:
                raise SequenceStopped(f"the arm fell silent before it could {what}")
            if now_ns - started_ns > timeout_s * NS_PER_S:
                raise SequenceStopped(
                    f"the arm did not {what} in {timeout_s:.0f} s",
                    got=f"mode {state.mode}, {state.reason}" if state else "no state",
                )
        return False

    def _arrived(self, state: ArmState) -> bool:
        """Return whether the arm is at the start pose.

        Raises:
            SequenceStopped: it does not follow its command.
        """
        if state.mode == "follow" and not (
            state.tracking_m <= MAX_LAG_M and state.tracking_rad <= MAX_LAG_RAD
        ):
            raise SequenceStopped(
                "the arm does not follow the slow move",
                got=f"{1e3 * state.tracking_m:.0f} mm, {state.tracking_rad:.2f} rad behind",
                expected=f"at most {1e3 * MAX_LAG_M:.0f} mm, {MAX_LAG_RAD} rad",
            )
        commanded_m, commanded_rad = _apart(np.asarray(state.commanded), self._goal)
        measured_m, measured_rad = _apart(np.asarray(state.measured), self._goal)
        return (
            commanded_m < COMMANDED_M
            and commanded_rad < COMMANDED_RAD
            and measured_m < ARRIVED_M
            and measured_rad < ARRIVED_RAD
        )

    def _fresh(self) -> ArmState | None:
        state = self._newest()
        if state is None or self._clock_ns() - state.t_ns > STATE_AGE_NS:
            return None
        return state

    def _outside(self, position: Float64) -> str:
        lower, upper = self._limits.workspace.lower, self._limits.workspace.upper
        for axis, value, low, high in zip("xyz", position, lower, upper, strict=False):
            if not low <= value <= high:
                return f"{axis} = {value:.3f} m, {low} to {high} m"
        return ""


def _apart(a: Float64, b: Float64) -> tuple[float, float]:
    """Return the distance [m] and the angle [rad] between two setpoints."""
    turn = rotation_between(a[3:7], b[3:7])
    return float(np.linalg.norm(a[:3] - b[:3])), float(np.linalg.norm(turn))
