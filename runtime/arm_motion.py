"""What an arm is commanded at every turn: knots that passed the gate, a stop from them, or rest.

It is the last thing before the driver, so the gripper's decisions are made here as well: while the
arm follows, and not while it stops or stands.
"""

from __future__ import annotations

import numpy as np

from dvla.runtime.arm_gate import ArmGate
from dvla.runtime.gripper import GripperLatch
from dvla.runtime.pose import Float64
from dvla.runtime.stopping import StopMotion


class ArmMotion:
    """The commanded pose of one arm.

    Args:
        gate: whose knots are played.
        measured: (8,) where the arm rests, and the opening of its gripper as found.

    Attributes:
        commanded: (8,) for the driver; it is written in place.
    """

    def __init__(self, gate: ArmGate, measured: Float64) -> None:
        self._gate = gate
        self._stop: StopMotion | None = None
        self._gripper = GripperLatch(gate.limits.gripper, float(measured[7]))
        self.stand(measured)

    @property
    def stopping(self) -> bool:
        """Whether a stop is under way."""
        return self._stop is not None

    @property
    def end_ns(self) -> int:
        """Until when the knots suffice [ns]."""
        return self._gate.track.end_ns

    def stand(self, measured: Float64) -> None:
        """Rest where the arm was measured (8,), its gripper as it was found."""
        self._stop = None
        self._gripper.find(float(measured[7]))
        self.commanded = np.array(measured, np.float64)
        self.commanded[7] = self._gripper.opening
        self._gate.stand(self.commanded)

    def freeze(self) -> None:
        """Rest at the commanded pose at once: the arm is in fault and nothing is sent to it."""
        self._stop = None
        self._gate.rest(self.commanded)

    def follow(self, now_ns: int) -> None:
        """Command what the knots say is due."""
        self._gate.track.evaluate(now_ns, self.commanded)
        self.commanded[7] = self._gripper.decide(float(self.commanded[7]), now_ns)

    def begin_stop(self, now_ns: int) -> None:
        """Begin the stop from the motion that the knots command now."""
        # Past the end of its knots the arm has no motion to speak of but the last one they gave.
        start_ns = min(now_ns, self.end_ns)
        setpoint, twist, acceleration = self._gate.track.motion(start_ns)
        setpoint[7] = self._gripper.opening
        envelope = self._gate.limits.envelope
        self._stop = StopMotion(setpoint, twist, acceleration, start_ns, envelope)

    def go_on_stopping(self, now_ns: int) -> bool:
        """Command what the stop says is due; return whether the arm has come to rest with it."""
        if self._stop is None:
            return False
        self._stop.evaluate(now_ns, self.commanded)
        if now_ns < self._stop.end_ns:
            return False
        self.freeze()
        return True
