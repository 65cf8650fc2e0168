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

import msgspec
import numpy as np

from dvla.runtime.clearance import Clearance
from dvla.runtime.errors import RobotFault
from dvla.runtime.events import ArmModeChanged, CommandRejected, EventSink, Note
from dvla.runtime.joint_gate import JointGate
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
    Reply,
    Request,
    ResumeRequest,
    ShutdownRequest,
)
from dvla.runtime.overrides import SafetyOverride, overridden
from dvla.runtime.playback import KnotTrack
from dvla.runtime.pose import SETPOINT_WIDTH
from dvla.runtime.robots.base import ArmDriver, ArmReading
from dvla.runtime.rotation import rotation_between
from dvla.runtime.safety import (
    QUIET_REASONS,
    RefusedMode,
    Standing,
    Verdict,
    check_header,
    check_motion,
    check_start,
    check_values,
)
from dvla.runtime.stall import StallWatch
from dvla.runtime.stopping import StopMotion

REJECTION_EVENT_EVERY_NS = 500_000_000


class ArmBounds(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The controller's own deadlines and interlocks.

    Attributes:
        command_deadline_s: longest time without an accepted command while following.
        lease_silence_s: the lease ends when its holder is silent for longer.
        reading_age_s: oldest driver reading with which the arm may move.
        tracking_m / tracking_rad: largest distance from commanded to measured pose.
    """

    command_deadline_s: float = 0.1
    lease_silence_s: float = 1.0
    reading_age_s: float = 0.1
    tracking_m: float = 0.3
    tracking_rad: float = 1.0


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
        self._shipped, limits = limits, overridden(limits, overrides)
        self._driver, self._limits, self._events = driver, limits, events
        self._overrides = overrides
        self._overrides_end_ns = now_ns + int(
            1e9 * min((o.duration_s for o in overrides), default=0.0)
        )
        self._tell_overrides(now_ns)
        self._bounds = bounds or ArmBounds()
        self._session, self._twin, self._robot = session, twin, robot
        self._clearance = Clearance(driver, shadow)
        self._lease = Lease(int(self._bounds.lease_silence_s * 1e9))
        self._reading = driver.read(now_ns)
        self._commanded = np.array(self._reading.setpoint, np.float64)
        self._track = KnotTrack(self._commanded)
        self._joints = (
            JointGate(limits, self._commanded, self._reading.q) if limits.joints else None
        )
        self._stop: StopMotion | None = None
        self._stall = StallWatch()
        self._mode: ArmMode = "idle"
        self._reason = "no commander"
        self._hold_reason = ""
        self._shutdown = False
        self._epoch = 1
        self._command_sequence = -1
        self._accepted_ns = now_ns
        self._accepted = 0
        self._rejected: dict[str, int] = {}
        self._noted = ("", 0)
        self._state_sequence = 0

    @property
    def mode(self) -> ArmMode:
        """What the controller is doing."""
        return self._mode

    @property
    def commander(self) -> int:
        """Session that holds the lease, 0 when none does."""
        return self._lease.session

    # -- commands ------------------------------------------------------------------------------

    def on_command(self, command: Command, now_ns: int) -> Verdict:
        """Pass a command through the gate, and play it if it is accepted."""
        self._lease.hear(command.session, now_ns)
        verdict = self._admit(command, now_ns)
        if verdict.ok:
            self._accepted += 1
            self._accepted_ns = now_ns
            self._command_sequence = command.sequence
            self._noted = ("", 0)
            self._enter("follow", "", now_ns)
        else:
            self._refuse(command, verdict, now_ns)
        return verdict

    def _admit(self, command: Command, now_ns: int) -> Verdict:
        standing = Standing(
            lease_session=self._lease.session,
            command_sequence=self._command_sequence,
            arm_epoch=self._epoch,
            refused_mode=self._refused_mode(),
        )
        verdict = check_header(command, standing, now_ns, self._limits)
        if not verdict.ok:
            return verdict
        setpoints = command.setpoints_array()
        if setpoints is None:
            return Verdict("size", f"{len(command.setpoints)} bytes")
        verdict = check_values(setpoints, command.t_obs_ns, self._limits)
        if not verdict.ok:
            return verdict
        joint = self._track.joint(command.t_due_ns, command.period_ns, len(setpoints), now_ns)
        if joint.problem:
            return Verdict(joint.problem)
        verdict = check_start(joint.kept, setpoints[joint.first_row], self._limits)
        if not verdict.ok:
            return verdict
        rows = setpoints[joint.first_row :]
        verdict = check_motion(joint.kept, rows, command.period_ns * 1e-9, self._limits)
        if verdict.ok and self._joints is not None:
            verdict = self._joints.check(joint, rows, command.period_ns)
        if verdict.ok:
            self._track.splice(joint, setpoints, command.period_ns)
            if self._joints is not None:
                self._joints.splice(joint, command.period_ns)
        return verdict

    def _refused_mode(self) -> RefusedMode:
        if self._mode in ("fault", "shutdown", "stopping"):
            return self._mode
        return "hold" if self._hold_reason else ""

    def _refuse(self, command: Command, verdict: Verdict, now_ns: int) -> None:
        reason = verdict.reason
        self._rejected[reason] = self._rejected.get(reason, 0) + 1
        noted, noted_ns = self._noted
        # 250 refusals a second say no more than the first one does.
        repeated = reason == noted and now_ns - noted_ns < REJECTION_EVENT_EVERY_NS
        if reason in QUIET_REASONS or repeated:
            return
        self._noted = (reason, now_ns)
        self._events.emit(
            CommandRejected(
                t_ns=now_ns,
                session=command.session,
                sequence=command.sequence,
                reason=reason,
                detail=verdict.detail,
            )
        )

    # -- requests ------------------------------------------------------------------------------

    def handle(self, request: Request, now_ns: int) -> Reply:
        """Answer a request; anyone may stop the arm, only its commander may move it."""
        self._lease.hear(request.session, now_ns)
        problem = ""
        if isinstance(request, LeaseRequest):
            problem = self._grant(request, now_ns)
        elif isinstance(request, HoldRequest):
            self._hold_reason = f"hold: {request.reason or 'requested'}"
            self._halt(self._hold_reason, now_ns)
            if self._mode in ("idle", "hold"):
                self._enter(self._mode, self._hold_reason, now_ns)
        elif isinstance(request, ShutdownRequest):
            self._shutdown = True
            self._halt("shutdown requested", now_ns)
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
        return Reply(
            session=request.session, sequence=request.sequence, ok=not problem, text=problem
        )

    def _grant(self, request: LeaseRequest, now_ns: int) -> str:
        if self._mode == "shutdown" or self._shutdown:
            return "the arm controller is shutting down"
        if self._lease.expired(now_ns):
            self._let_go("lease expired", now_ns)
        newcomer = self._lease.session != request.session
        problem = self._lease.request(request.session, request.holder, now_ns)
        if not problem and newcomer:
            self._command_sequence = -1
            self._tell_overrides(now_ns)  # its recording began after them
            if self._mode == "idle":
                self._enter("hold", self._hold_reason or "waiting for commands", now_ns)
        return problem

    def _resume(self, now_ns: int) -> str:
        if not self._hold_reason and self._mode != "fault":
            return f"there is no hold to end: the arm is in {self._mode}"
        was = self._hold_reason or self._reason
        problem = self._follow(now_ns)
        if not problem:
            self._reason = "resumed"
            self._events.emit(Note(t_ns=now_ns, source="arm", text=f"resumed after {was!r}"))
        return problem

    def _execute(self, session: int, now_ns: int) -> str:
        if self._shutdown or self._mode not in ("hold", "follow"):
            return f"the arm is in {self._mode}: {self._reason}"
        if self._hold_reason:
            return f"the arm is held ({self._hold_reason}); end that with dvla-arm resume"
        return self._clearance.ask(session, now_ns)

    def _follow(self, now_ns: int) -> str:
        if self._mode == "shutdown" or self._shutdown:
            return "the arm controller is shutting down"
        if self._mode == "fault":
            fault = self._clearance.fault(self._reading)
            if fault:
                return f"the arm reports a fault: {fault}{self._clearance.recover(now_ns)}"
            # A faulted arm may have moved by itself: the only pose that is true is the measured.
            self._stand_where_measured()
            self._enter("hold", "fault cleared", now_ns)
        self._hold_reason = ""
        return ""

    def _let_go(self, reason: str, now_ns: int) -> None:
        self._lease.release()
        self._clearance.withdraw()
        self._halt(reason, now_ns)
        if self._stop is None:
            self._clearance.rest(self._commanded)
        if self._mode == "hold":
            self._enter("idle", reason, now_ns)

    # -- motion --------------------------------------------------------------------------------

    def tick(self, now_ns: int) -> None:
        """Read the driver, check the interlocks, and send what is due now."""
        self._read(now_ns)
        if self._lease.expired(now_ns):
            self._let_go("lease expired", now_ns)
        if self._overrides and now_ns >= self._overrides_end_ns:
            self._end_overrides(now_ns)
        if self._mode == "follow":
            reason = self._interlock(now_ns)
            if reason:
                self._halt(reason, now_ns)
        else:
            self._stall.reset()
        if self._mode == "fault":
            return
        if self._clearance.settles(self._reading):
            # What was played in shadow moved nothing: execution begins where the arm stands.
            self._stop = None
            self._epoch += 1
            self._stand_where_measured()
            self._enter("hold", self._hold_reason or "execution begins", now_ns)
            self._events.emit(Note(t_ns=now_ns, source="arm", text="execution begins"))
        self._play(now_ns)
        if self._shutdown and self._stop is None:
            self._enter("shutdown", "shutdown requested", now_ns)
        try:
            self._clearance.command(self._commanded, now_ns)
        except RobotFault as fault:
            self._fail(str(fault), now_ns)

    def _read(self, now_ns: int) -> None:
        try:
            self._reading = self._driver.read(now_ns)
        except RobotFault as fault:
            self._fail(str(fault), now_ns)
            return
        wrong = self._clearance.fault(self._reading)
        if wrong:
            self._fail(wrong, now_ns)

    def _tell_overrides(self, now_ns: int) -> None:
        for override in self._overrides:
            text = f"override: {override.text}"
            self._events.emit(Note(t_ns=now_ns, source="arm", text=text))

    def _end_overrides(self, now_ns: int) -> None:
        """Stop, and once at rest go back to the shipped limits."""
        self._halt("an override of the limits has ended", now_ns)
        if self._stop is not None:
            return
        names = ", ".join(override.name for override in self._overrides)
        self._events.emit(Note(t_ns=now_ns, source="arm", text=f"override ended: {names}"))
        self._overrides, self._limits = (), self._shipped
        if self._joints is not None:
            self._joints = JointGate(self._limits, self._commanded, self._joints.q)

    def _stand_where_measured(self) -> None:
        self._commanded = np.array(self._reading.setpoint, np.float64)
        self._rest()

    def _interlock(self, now_ns: int) -> str:
        """Return why the arm may not go on following, or an empty string."""
        bounds = self._bounds
        if now_ns - self._accepted_ns > bounds.command_deadline_s * 1e9:
            return "no fresh command"
        if now_ns >= self._track.end_ns:
            return "commands ran out"
        if now_ns - self._reading.t_ns > bounds.reading_age_s * 1e9:
            return "arm state is stale"
        if self._clearance.shadow:
            return ""  # an arm that is not commanded stays behind
        tracking_m, tracking_rad = self._tracking()
        if not (tracking_m <= bounds.tracking_m and tracking_rad <= bounds.tracking_rad):
            return f"the arm is {tracking_m:.3f} m, {tracking_rad:.2f} rad from its command"
        return self._stall.look(now_ns, self._commanded, self._reading.setpoint)

    def _play(self, now_ns: int) -> None:
        if self._mode == "follow":
            self._track.evaluate(now_ns, self._commanded)
        elif self._stop is not None:
            self._stop.evaluate(now_ns, self._commanded)
            if now_ns >= self._stop.end_ns:
                self._stop = None
                self._rest()
                self._clearance.rest(self._commanded)
                self._enter("hold" if self._lease.session else "idle", self._reason, now_ns)

    def _halt(self, reason: str, now_ns: int) -> None:
        """Begin the stop, if the arm follows; a new epoch starts at once."""
        if self._mode != "follow":
            return
        # Past the end of its knots the arm has no motion to speak of but the last one they gave.
        start_ns = min(now_ns, self._track.end_ns)
        motion = self._track.motion(start_ns)
        self._stop = StopMotion(*motion, start_ns, self._limits.envelope)
        self._epoch += 1
        self._enter("stopping", reason, now_ns)

    def _fail(self, fault: str, now_ns: int) -> None:
        if self._mode == "fault":
            return
        self._stop = None
        self._epoch += 1
        self._rest()
        self._clearance.forget()
        self._enter("fault", fault, now_ns)

    def _rest(self) -> None:
        """Take the commanded pose as the place of rest."""
        self._track.rest(self._commanded)
        if self._joints is not None:
            self._joints.rest(self._commanded)

    def _enter(self, mode: ArmMode, reason: str, now_ns: int) -> None:
        changed = mode != self._mode
        self._mode, self._reason = mode, reason
        if changed:
            self._events.emit(ArmModeChanged(t_ns=now_ns, mode=mode, reason=reason))

    # -- state ---------------------------------------------------------------------------------

    def _tracking(self) -> tuple[float, float]:
        measured, commanded = self._reading.setpoint, self._commanded
        distance = measured[:3] - commanded[:3]
        turn = rotation_between(commanded[3:7], measured[3:7])
        return float(np.sqrt(distance @ distance)), float(np.sqrt(turn @ turn))

    def state(self, now_ns: int) -> ArmState:
        """Return what the controller reports; ``t_ns`` is the reading's time."""
        reading: ArmReading = self._reading
        tracking_m, tracking_rad = self._tracking()
        self._state_sequence += 1
        return ArmState(
            session=self._session,
            sequence=self._state_sequence,
            t_ns=reading.t_ns,
            mode=self._mode,
            reason=self._reason,
            arm_epoch=self._epoch,
            lease_session=self._lease.session,
            command_sequence=self._command_sequence,
            measured=tuple(reading.setpoint[:SETPOINT_WIDTH].tolist()),
            twist=tuple(reading.twist.tolist()),
            q=tuple(reading.q.tolist()),
            commanded=tuple(self._commanded.tolist()),
            tracking_m=tracking_m,
            tracking_rad=tracking_rad,
            accepted=self._accepted,
            rejected=dict(self._rejected),
            held=bool(self._hold_reason),
            shadow=self._clearance.shadow,
            twin=self._twin,
            robot=self._robot,
            widened={
                override.name: max(0.0, (self._overrides_end_ns - now_ns) / 1e9)
                for override in self._overrides
            },
        )

    def close(self) -> None:
        """Let go of the arm; it holds, enabled."""
        self._driver.close()
