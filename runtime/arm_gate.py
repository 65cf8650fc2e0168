"""The gate of one arm: what is asked of a command before it may become knots of the motion.

It holds what commands are judged against besides their own header: the arm's limits, the slow
envelope while a slow move runs, the knots that are being played, and the joints of those knots.
"""

from __future__ import annotations

from dvla.runtime.joint_gate import JointGate
from dvla.runtime.limits import ArmLimits, slow_envelope
from dvla.runtime.messages import Command
from dvla.runtime.playback import KnotTrack
from dvla.runtime.pose import Float64
from dvla.runtime.safety import (
    Standing,
    Verdict,
    check_header,
    check_motion,
    check_start,
    check_values,
)


class ArmGate:
    """Judges commands, and takes those that pass into the motion.

    Args:
        limits: of the arm.
        setpoint: (8,) commanded pose at rest.
        q: (n,) measured joints.

    Attributes:
        limits: as enforced.
        track: what passed.
        slow: the motion of a command is judged by the slow envelope.
    """

    def __init__(self, limits: ArmLimits, setpoint: Float64, q: Float64) -> None:
        self.track = KnotTrack(setpoint)
        self.slow = False
        self._joints: JointGate | None = None
        self._set(limits, setpoint, q)

    def _set(self, limits: ArmLimits, setpoint: Float64, q: Float64) -> None:
        self.limits = limits
        self._slow = slow_envelope(limits.envelope)
        self._joints = JointGate(limits, setpoint, q) if limits.joints else None

    def relimit(self, limits: ArmLimits, setpoint: Float64) -> None:
        """Enforce other limits from now on; the arm is at rest at ``setpoint`` (8,)."""
        q = self._joints.q if self._joints is not None else setpoint[:0]
        self._set(limits, setpoint, q)

    def admit(self, command: Command, standing: Standing, now_ns: int) -> Verdict:
        """Judge a command; if it passes, its setpoints are knots from now on."""
        verdict = check_header(command, standing, now_ns, self.limits)
        if not verdict.ok:
            return verdict
        setpoints = command.setpoints_array()
        if setpoints is None:
            return Verdict("size", f"{len(command.setpoints)} bytes")
        verdict = check_values(setpoints, command.t_obs_ns, self.limits)
        if not verdict.ok:
            return verdict
        joint = self.track.joint(command.t_due_ns, command.period_ns, len(setpoints), now_ns)
        if joint.problem:
            return Verdict(joint.problem)
        verdict = check_start(joint.kept, setpoints[joint.first_row], self.limits)
        if not verdict.ok:
            return verdict
        rows, period_s = setpoints[joint.first_row :], command.period_ns * 1e-9
        envelope = self._slow if self.slow else self.limits.envelope
        verdict = check_motion(joint.kept, rows, period_s, self.limits, envelope)
        if verdict.ok and self._joints is not None:
            verdict = self._joints.check(joint, rows, command.period_ns)
        if verdict.ok:
            self.track.splice(joint, setpoints, command.period_ns)
            if self._joints is not None:
                self._joints.splice(joint, command.period_ns)
        return verdict

    def play(self, setpoint: Float64, now_ns: int) -> None:
        """Take what the driver is sent (8,), from which its joints follow."""
        if self._joints is not None:
            self._joints.play(setpoint, now_ns)

    def rest(self, setpoint: Float64) -> None:
        """Forget what passed: the arm rests at ``setpoint`` (8,), where it was commanded to."""
        self.track.rest(setpoint)
        if self._joints is not None:
            self._joints.rest()

    def stand(self, setpoint: Float64) -> None:
        """Forget what passed: the arm stands at ``setpoint`` (8,), however it came there."""
        self.track.rest(setpoint)
        if self._joints is not None:
            self._joints.stand(setpoint)
