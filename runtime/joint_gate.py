"""The gate's part for joints: what a command means for each of them, and for the arm's body.

A command is a path of the TCP; what can hurt an arm is what its joints make of it. So the inverse
kinematics that drivers solve at play time is solved here first, row by row from the joints of the
knots that are being played, and judged. The solver keeps range, velocity, acceleration and jerk of
every joint, here and in the driver, and lets the elbow and then the pose lag: by how much is
judged, and the distance to singularities, of links to each other and to the planes. Stops from a
few rows of each command are solved so at a few instants, and judged by the same.
"""

from __future__ import annotations

import numpy as np

from dvla.runtime.ik import DifferentialIk, make_chain
from dvla.runtime.limits import ArmLimits
from dvla.runtime.messages import MAX_SETPOINTS
from dvla.runtime.playback import Joint
from dvla.runtime.pose import Float64
from dvla.runtime.safety import ACCEPTED, RELATIVE_TOLERANCE, Verdict
from dvla.runtime.stopping import limits_by_order

SETTLE_TURNS = 60
"""Gauss-Newton steps to where the joints rest; the elbow follows its posture by halves."""
TRUST_M, TRUST_RAD = 0.05, 0.5
"""Measured joints that are further from the commanded pose say nothing about the elbow."""
SHORTEST_TICK_S = 0.001
SAME = 1e-9
"""Manipulabilities of an arm that stands still differ by less."""
STOP_SHARE = 0.9
"""Of the manipulability where a command begins, for the stops from it, down to half of the limit.
Out of where a stop has ended, too near to a singularity, an arm must be able to go."""
HELD_SHARE = 0.999
"""Of its bound: a joint whose change takes that much is held back by it."""
AT_END_RAD = 1e-3
"""A joint brakes before its end, and comes this near at once."""
STOPS = 4
"""Rows of a command from which the stop is judged: evenly spaced, the last one among them."""
STOP_SHARES = np.arange(1, 17) / 16
"""Of a stop's duration, where its joints are judged."""
_ORDERS = ("velocity", "acceleration", "jerk")
_UNITS = ("rad/s", "rad/s2", "rad/s3")


class JointGate:
    """Judges commands by the joints that they lead to.

    Args:
        limits: of the arm; its ``joints`` are not None.
        setpoint: (8,) commanded pose at rest.
        q: (n,) measured joints.
    """

    def __init__(self, limits: ArmLimits, setpoint: Float64, q: Float64) -> None:
        from dvla.bindings import FACTS, REPORT

        joints = limits.joints
        assert joints is not None
        self._limits = joints
        self._envelope = limits_by_order(limits.envelope)
        self._chain = make_chain(joints)
        n = self._chain.joints
        self._lower = np.asarray(joints.lower) + joints.margin_rad
        self._upper = np.asarray(joints.upper) - joints.margin_rad
        self._bounds = np.array([joints.velocity, joints.acceleration, joints.jerk])
        self._q_rows = np.empty((MAX_SETPOINTS, n))
        self._facts = np.empty((1, FACTS))
        self._report = np.empty(REPORT)
        self._knots = np.empty((0, n))
        self._start_ns = 0
        self._period_ns = 1
        self._pending = self._knots, 0
        self._ik = DifferentialIk(SHORTEST_TICK_S, joints)
        measured = np.asarray(q, np.float64)
        if len(measured) == n and np.isfinite(measured).all():
            self._ik.reset(measured)
        self.stand(setpoint)
        if self._facts[0, 0] > TRUST_M or self._facts[0, 1] > TRUST_RAD:
            self._ik.reset(np.asarray(joints.geometry.posture))
            self.stand(setpoint)

    @property
    def q(self) -> Float64:
        """The joints (n,) [rad] that the driver was sent last, as far as they are known here."""
        return self._ik.q

    def play(self, setpoint: Float64, now_ns: int) -> None:
        """Take what the driver is sent (8,): its solver is this one, and so are its joints."""
        self._ik.step(setpoint, now_ns)

    def rest(self) -> None:
        """Forget all knots: the arm has come to rest, and its elbow may still move."""
        self._knots = self._knots[:0]

    def stand(self, setpoint: Float64) -> None:
        """Forget all knots; the joints are those that rest at ``setpoint`` (8,)."""
        self.rest()
        row = np.ascontiguousarray(setpoint, np.float64)[None]
        self._chain.follow(self._ik.q, row, self._q_rows, self._facts, SETTLE_TURNS)
        self._ik.reset(self._q_rows[0])

    def check(self, joint: Joint, rows: Float64, period_ns: int) -> Verdict:
        """Judge the rows (m, 8) that a command adds after ``joint``; ``splice`` takes them over."""
        kept_q = self._kept(joint, period_ns)
        m = len(rows)
        self._pending = kept_q, m
        self._chain.judge(
            kept_q, joint.kept, rows, period_ns * 1e-9, self._bounds, self._envelope, STOP_SHARES,
            STOPS, self._q_rows, self._report,
        )  # fmt: skip
        report = self._report.tolist()
        shares, joints = report[5:11:2], report[6:11:2]
        least = self._limits.min_manipulability
        verdict = self._body(report[:5], self._q_rows[:m], min(least, report[16]), "")
        held = [order for order in range(3) if shares[order] >= HELD_SHARE]
        if held and verdict.reason == "unreachable":
            verdict = self._held(held[0], joints[held[0]], verdict.detail)
        elif held[:1] == [0] and verdict.ok:
            verdict = self._held(0, joints[0], "nothing is left for a stop")
        for order in range(3):
            if verdict.ok:
                verdict = self._over(order, shares[order], joints[order])
        if verdict.ok:
            begun = report[16]
            least = min(least, max(STOP_SHARE * begun, min(begun, least / 2.0)))
            verdict = self._body(report[11:16], self._q_rows[:m], least, " in the stop")
        return verdict

    def splice(self, joint: Joint, period_ns: int) -> None:
        """Take over the joints of the command that was judged last."""
        kept_q, m = self._pending
        self._knots = np.concatenate([kept_q, self._q_rows[:m]])
        self._start_ns, self._period_ns = joint.kept_start_ns, period_ns

    def _kept(self, joint: Joint, period_ns: int) -> Float64:
        """Return the joints of the kept knots."""
        count = len(joint.kept)
        if not len(self._knots):  # the TCP rests, and the elbow goes on to its posture
            past_s = np.arange(1 - count, 1) * period_ns * 1e-9
            return self._ik.q + past_s[:, None] * self._ik.velocity
        index = (joint.kept_start_ns - self._start_ns) // period_ns
        return self._knots[index : index + count]

    def _held(self, order: int, joint: float, away: str) -> Verdict:
        """Name the joint that could not follow, where one could not."""
        bound = self._bounds[order, int(joint)]
        return Verdict(
            f"joint_{_ORDERS[order]}",
            f"joint {int(joint) + 1} at its {bound:.4g} {_UNITS[order]}: {away}",
        )

    def _over(self, order: int, share: float, joint: float) -> Verdict:
        # Written so that NaN fails as well.
        if share <= 1.0 + RELATIVE_TOLERANCE:
            return ACCEPTED
        bound = self._bounds[order, int(joint)]
        return Verdict(
            f"joint_{_ORDERS[order]}",
            f"joint {int(joint) + 1}: {share * bound:.4g} over {bound:.4g} {_UNITS[order]}",
        )

    def _body(self, facts: list[float], q: Float64, least: float, where: str) -> Verdict:
        """Judge what holds at single instants: reach, singularities, distances."""
        limits = self._limits
        miss_m, miss_rad, manipulability, apart_m, plane_m = facts
        # All written so that NaN fails as well.
        if not (miss_m <= limits.max_miss_m and miss_rad <= limits.max_miss_rad):
            miss = f"{1e3 * miss_m:.1f} mm, {np.degrees(miss_rad):.1f} deg away{where}"
            ends = ((q <= self._lower + AT_END_RAD) | (q >= self._upper - AT_END_RAD)).any(axis=0)
            if ends.any():
                names = ", ".join(f"joint {index + 1}" for index in np.flatnonzero(ends))
                return Verdict("joint_position", f"{names} at the end of its range, TCP {miss}")
            return Verdict("unreachable", f"the joints stay {miss}")
        if not manipulability >= least - SAME:
            return Verdict(
                "singularity", f"manipulability {manipulability:.3g} under {least:g}{where}"
            )
        if not apart_m >= limits.self_clearance_m:
            return Verdict("self_collision", f"links {1e3 * apart_m:.0f} mm apart{where}")
        if not plane_m >= limits.plane_clearance_m:
            return Verdict("plane", f"a link {1e3 * plane_m:.0f} mm from a plane{where}")
        return ACCEPTED
