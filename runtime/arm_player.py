"""What drives an arm, turn by turn: it reads, watches, plays and stops, and knows no commander.

Its modes are those of ``dvla.runtime.arm``. Every stop and every fault starts a new epoch.
"""

from __future__ import annotations

from dvla.runtime.arm_gate import ArmGate
from dvla.runtime.arm_motion import ArmMotion
from dvla.runtime.clearance import Clearance
from dvla.runtime.errors import RobotFault
from dvla.runtime.events import ArmModeChanged, EventSink, Note
from dvla.runtime.interlocks import ArmBounds, Interlocks
from dvla.runtime.limits import ArmLimits
from dvla.runtime.messages import ArmMode
from dvla.runtime.robots.base import ArmDriver


class ArmPlayer:
    """The driver of one arm, and what it is commanded.

    Args:
        driver: the arm or its twin.
        limits: what the gate enforces.
        events: where changes of mode go.
        now_ns: the time; the commanded pose starts as the measured one.
        bounds: deadlines and interlocks.
        shadow: every commander begins in shadow.

    Attributes:
        mode / reason: what the arm does, and why it does not follow.
        epoch: rises at every stop.
        reading: the driver's newest.

    Raises:
        RobotFault: the driver could not be read.
    """

    def __init__(
        self,
        driver: ArmDriver,
        limits: ArmLimits,
        events: EventSink,
        now_ns: int,
        *,
        bounds: ArmBounds,
        shadow: bool,
    ) -> None:
        self._driver, self._events = driver, events
        self._interlocks = Interlocks(bounds)
        self._accepted_ns = now_ns
        self.reading = driver.read(now_ns)
        self.gate = ArmGate(limits, self.reading.setpoint, self.reading.q)
        self.motion = ArmMotion(self.gate, self.reading.setpoint)
        self.clearance = Clearance(driver, shadow)
        self.mode: ArmMode = "idle"
        self.reason = "no commander"
        self.epoch = 1

    def enter(self, mode: ArmMode, reason: str, now_ns: int) -> None:
        """Be in a mode for a reason; tell a change."""
        changed = mode != self.mode
        self.mode, self.reason = mode, reason
        if changed:
            self._events.emit(ArmModeChanged(t_ns=now_ns, mode=mode, reason=reason))

    def follow(self, now_ns: int) -> None:
        """Note that a command has passed the gate."""
        self._accepted_ns = now_ns
        self.enter("follow", "", now_ns)

    def halt(self, reason: str, now_ns: int) -> None:
        """Begin the stop, if the arm follows; a new epoch starts at once."""
        if self.mode != "follow":
            return
        self.motion.begin_stop(now_ns)
        self.epoch += 1
        self.enter("stopping", reason, now_ns)

    def fail(self, fault: str, now_ns: int) -> None:
        """Command nothing any more: the arm is in fault."""
        if self.mode == "fault":
            return
        self.epoch += 1
        self.motion.freeze()
        self.clearance.forget()
        self.enter("fault", fault, now_ns)

    def stand(self, reason: str, now_ns: int) -> None:
        """Hold where the arm was measured: the only pose of it that is known to be true."""
        self.motion.stand(self.reading.setpoint)
        self.enter("hold", reason, now_ns)

    def begin_execution(self, reason: str, now_ns: int) -> None:
        """Hold where the arm stands: what was played in shadow moved nothing."""
        self.epoch += 1
        self.stand(reason, now_ns)
        self._events.emit(Note(t_ns=now_ns, source="arm", text="execution begins"))

    # -- one turn ------------------------------------------------------------------------------

    def read(self, now_ns: int) -> None:
        """Take the driver's newest reading, and what it reports to be wrong."""
        try:
            self.reading = self._driver.read(now_ns)
        except RobotFault as fault:
            self.fail(str(fault), now_ns)
            return
        wrong = self.clearance.fault(self.reading)
        if wrong:
            self.fail(wrong, now_ns)

    def watch(self, now_ns: int) -> None:
        """Stop where an interlock ends the motion."""
        if self.mode != "follow":
            self._interlocks.reset()
            return
        reason = self._interlocks.look(
            now_ns,
            self.reading,
            self.motion.commanded,
            accepted_ns=self._accepted_ns,
            end_ns=self.motion.end_ns,
            shadow=self.clearance.shadow,
        )
        if reason:
            self.halt(reason, now_ns)

    def play(self, now_ns: int, at_rest: ArmMode) -> None:
        """Command what is due; a stop that is over leaves the arm in the mode ``at_rest``."""
        if self.mode == "follow":
            self.motion.follow(now_ns)
        elif self.motion.go_on_stopping(now_ns):
            self.clearance.rest(self.motion.commanded)
            self.enter(at_rest, self.reason, now_ns)

    def send(self, now_ns: int) -> None:
        """Send the commanded pose to the driver; in shadow to nobody."""
        self.gate.play(self.motion.commanded, now_ns)
        try:
            self.clearance.command(self.motion.commanded, now_ns)
        except RobotFault as fault:
            self.fail(str(fault), now_ns)

    def close(self) -> None:
        """Let go of the arm; it holds, enabled."""
        self._driver.close()
