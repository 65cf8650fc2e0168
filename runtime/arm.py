"""The arm controller: plays accepted commands, and stops and holds on everything else.

It is authoritative for safety and takes ``now_ns``: no sockets, no clock. Its modes:

    idle, hold   at rest at the commanded pose; idle when there is no commander
    follow       playing accepted commands by due time
    stopping     running the jerk-limited stop from the commanded motion; then idle or hold
    fault        the driver reports a fault: nothing is commanded
    shutdown     at rest, to be closed

In shadow all of it happens and the driver is never commanded (``dvla.runtime.clearance``).

Every stop starts a new epoch. Commands planned from an older one are refused, so that a restart
can only begin at the pose where the arm commanded itself to rest.
"""

from __future__ import annotations

from dvla.runtime.arm_player import ArmPlayer
from dvla.runtime.events import EventSink, Note
from dvla.runtime.interlocks import ArmBounds, tracking
from dvla.runtime.lease import Lease
from dvla.runtime.limits import ArmLimits
from dvla.runtime.messages import (
    ArmMode,
    ArmState,
    Command,
    ExecuteRequest,
    FollowRequest,
    HoldRequest,
    LeaseRelease,
    LeaseRequest,
    PaceRequest,
    Reply,
    Request,
    ResumeRequest,
    ShutdownRequest,
)
from dvla.runtime.overrides import SafetyOverride
from dvla.runtime.pose import SETPOINT_WIDTH
from dvla.runtime.refusals import Refusals
from dvla.runtime.robots.base import ArmDriver
from dvla.runtime.safety import MOTION_REASONS, RefusedMode, Standing, Verdict
from dvla.runtime.widening import Widening

ENDING = "the arm controller is shutting down"


class ArmController:
    """One arm: driver, gate, lease, watchdog.

    Args:
        driver: the arm or its twin.
        limits: what the gate enforces; themselves checked against their bounds.
        events: where mode changes and rejections go.
        now_ns: time of construction; the commanded pose starts as the measured one.
        session: of the controller's own messages.
        bounds: deadlines and interlocks.
        shadow: every commander begins in shadow, and asks for execution with ``ExecuteRequest``.
        twin: the driver is that of a digital twin, which the states tell everybody.
        robot: that it drives, by name, which they tell as well.
        overrides: of limits; with the end of the first one they end, and the arm stops.

    Raises:
        ConfigError: a limit is out of its own bounds.
        RobotFault: the driver could not be read.
    """

    def __init__(
        self,
        driver: ArmDriver,
        limits: ArmLimits,
        events: EventSink,
        now_ns: int,
        *,
        session: int,
        bounds: ArmBounds | None = None,
        shadow: bool = False,
        twin: bool = False,
        robot: str = "",
        overrides: tuple[SafetyOverride, ...] = (),
    ) -> None:
        self._events = events
        self._session, self._twin, self._robot = session, twin, robot
        bounds = bounds or ArmBounds()
        self._widening = Widening(limits, overrides, events, now_ns)
        self._lease = Lease(int(bounds.lease_silence_s * 1e9))
        self._refusals = Refusals(events)
        self._player = ArmPlayer(
            driver, self._widening.limits, events, now_ns, bounds=bounds, shadow=shadow
        )
        self._hold_reason = ""
        self._shutdown = False
        self._command_sequence = self._refused_sequence = -1
        self._accepted = 0
        self._state_sequence = 0

    @property
    def mode(self) -> ArmMode:
        """What the controller is doing."""
        return self._player.mode

    @property
    def commander(self) -> int:
        """Session that holds the lease, 0 when none does."""
        return self._lease.session

    # -- commands ------------------------------------------------------------------------------

    def on_command(self, command: Command, now_ns: int) -> Verdict:
        """Pass a command through the gate, and play it if it is accepted."""
        self._lease.hear(command.session, now_ns)
        standing = Standing(
            lease_session=self._lease.session,
            command_sequence=self._command_sequence,
            arm_epoch=self._player.epoch,
            refused_mode=self._refused_mode(),
        )
        verdict = self._player.gate.admit(command, standing, now_ns)
        if verdict.ok:
            self._accepted += 1
            self._command_sequence = command.sequence
            self._refusals.clear()
            self._player.follow(now_ns)
        else:
            self._refusals.add(command, verdict, now_ns)
            if verdict.reason in MOTION_REASONS:
                self._refused_sequence = max(self._refused_sequence, command.sequence)
        return verdict

    def _refused_mode(self) -> RefusedMode:
        mode = self._player.mode
        if mode in ("fault", "shutdown", "stopping"):
            return mode
        return "hold" if self._hold_reason else ""

    # -- requests ------------------------------------------------------------------------------

    def handle(self, request: Request, now_ns: int) -> Reply:
        """Answer a request; anyone may stop the arm, only its commander may move it."""
        self._lease.hear(request.session, now_ns)
        problem = ""
        if isinstance(request, LeaseRequest):
            problem = self._grant(request, now_ns)
        elif isinstance(request, HoldRequest):
            self._hold(request.words or "requested", now_ns)
        elif isinstance(request, ShutdownRequest):
            self._shutdown = True
            self._player.halt("shutdown requested", now_ns)
        elif isinstance(request, ResumeRequest):
            problem = self._resume(now_ns)
        elif request.session != self._lease.session or not request.session:
            problem = "only the commander may ask this; take the lease first"
        elif isinstance(request, LeaseRelease):
            self._let_go("lease released", now_ns)
        elif isinstance(request, FollowRequest):
            problem = self._follow(now_ns)
        elif isinstance(request, ExecuteRequest):
            problem = self._execute(request.session, now_ns)
        elif isinstance(request, PaceRequest):
            self._pace(request.slow, now_ns)
        return Reply(
            session=request.session, sequence=request.sequence, ok=not problem, text=problem
        )

    def _grant(self, request: LeaseRequest, now_ns: int) -> str:
        if self.mode == "shutdown" or self._shutdown:
            return ENDING
        if self._lease.expired(now_ns):
            self._let_go("lease expired", now_ns)
        newcomer = self._lease.session != request.session
        problem = self._lease.request(request.session, request.holder, now_ns)
        if not problem and newcomer:
            self._command_sequence = self._refused_sequence = -1
            self._widening.tell(now_ns)  # its recording began after them
            if self.mode == "idle":
                reason = self._hold_reason or "waiting for commands"
                self._player.enter("hold", reason, now_ns)
        return problem

    def _hold(self, reason: str, now_ns: int) -> None:
        self._hold_reason = f"hold: {reason}"
        self._player.halt(self._hold_reason, now_ns)
        if self.mode in ("idle", "hold"):
            self._player.enter(self.mode, self._hold_reason, now_ns)

    def _resume(self, now_ns: int) -> str:
        player = self._player
        if not self._hold_reason and player.mode != "fault":
            return f"there is no hold to end: the arm is in {player.mode}"
        was = self._hold_reason or player.reason
        problem = self._follow(now_ns)
        if not problem:
            player.reason = "resumed"
            self._events.emit(Note(t_ns=now_ns, source="arm", text=f"resumed after {was!r}"))
        return problem

    def _execute(self, session: int, now_ns: int) -> str:
        if self._shutdown or self.mode not in ("hold", "follow"):
            return f"the arm is in {self.mode}: {self._player.reason}"
        if self._hold_reason:
            return f"the arm is held ({self._hold_reason}); end that with dvla-arm resume"
        return self._player.clearance.ask(session, now_ns)

    def _pace(self, slow: bool, now_ns: int) -> None:
        gate = self._player.gate
        if slow != gate.slow:
            gate.slow = slow
            whose = "of a slow move" if slow else "of the arm"
            text = f"commands are judged by the envelope {whose}"
            self._events.emit(Note(t_ns=now_ns, source="arm", text=text))

    def _follow(self, now_ns: int) -> str:
        player = self._player
        if player.mode == "shutdown" or self._shutdown:
            return ENDING
        if player.mode == "fault":
            fault = player.clearance.fault(player.reading)
            if fault:
                return f"the arm reports a fault: {fault}{player.clearance.recover(now_ns)}"
            player.stand("fault cleared", now_ns)  # it may have moved by itself
        self._hold_reason = ""
        return ""

    def _let_go(self, reason: str, now_ns: int) -> None:
        player = self._player
        self._lease.release()
        player.clearance.withdraw()
        player.gate.slow = False
        player.halt(reason, now_ns)
        if not player.motion.stopping:
            player.clearance.rest(player.motion.commanded)
        if player.mode == "hold":
            player.enter("idle", reason, now_ns)

    # -- motion --------------------------------------------------------------------------------

    def tick(self, now_ns: int) -> None:
        """Read the driver, check the interlocks, and send what is due now."""
        player = self._player
        player.read(now_ns)
        if self._lease.expired(now_ns):
            self._let_go("lease expired", now_ns)
        if self._widening.over(now_ns):
            self._end_widening(now_ns)
        player.watch(now_ns)
        if player.mode == "fault":
            return
        if player.clearance.settles(player.reading):
            player.begin_execution(self._hold_reason or "execution begins", now_ns)
        player.play(now_ns, at_rest="hold" if self._lease.session else "idle")
        if self._shutdown and not player.motion.stopping:
            player.enter("shutdown", "shutdown requested", now_ns)
        player.send(now_ns)

    def _end_widening(self, now_ns: int) -> None:
        """Stop, and once at rest go back to the shipped limits."""
        player = self._player
        player.halt("an override of the limits has ended", now_ns)
        if not player.motion.stopping:
            player.gate.relimit(self._widening.end(now_ns), player.motion.commanded)

    # -- state ---------------------------------------------------------------------------------

    def state(self, now_ns: int) -> ArmState:
        """Return what the controller reports; ``t_ns`` is the reading's time."""
        player = self._player
        reading, commanded = player.reading, player.motion.commanded
        tracking_m, tracking_rad = tracking(commanded, reading.setpoint)
        self._state_sequence += 1
        return ArmState(
            session=self._session,
            sequence=self._state_sequence,
            t_ns=reading.t_ns,
            mode=player.mode,
            reason=player.reason,
            arm_epoch=player.epoch,
            lease_session=self._lease.session,
            command_sequence=self._command_sequence,
            measured=tuple(reading.setpoint[:SETPOINT_WIDTH].tolist()),
            twist=tuple(reading.twist.tolist()),
            q=tuple(reading.q.tolist()),
            commanded=tuple(commanded.tolist()),
            tracking_m=tracking_m,
            tracking_rad=tracking_rad,
            accepted=self._accepted,
            rejected=dict(self._refusals.counts),
            held=bool(self._hold_reason),
            shadow=player.clearance.shadow,
            twin=self._twin,
            robot=self._robot,
            widened=self._widening.left_s(now_ns),
            slow=player.gate.slow,
            refused_sequence=self._refused_sequence,
        )

    def close(self) -> None:
        """Let go of the arm; it holds, enabled."""
        self._player.close()
