"""An arm's kinematics in plain numpy: frames, one damped Gauss-Newton step, distances.

It judges what the compiled gate let through, so it shares nothing with it but the arm's tables. The
tests of the compiled kinematics compare the two.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dvla.runtime.limits import JointLimits
from dvla.runtime.pose import quaternion_from_matrix
from dvla.runtime.rotation import rotation_between

Float64 = NDArray[np.float64]
POSTURE_WEIGHT = 1e-6
ELBOW_HALF_S = 0.05
LEVER_M, MUCH = 1.0, 1e-3
BRAKE_SHARE, ELBOW_SHARE, CALM = 0.8, 0.5, 5.0
ROUNDING = 1e-14
CATCH_UP_S = 0.1
"""In which half of what the pose lags by is caught up."""


@dataclass(frozen=True)
class PlainPace:
    """How joints moved until now.

    Attributes:
        velocity: (n,) of the last step [rad/s].
        time_s: that the last step took.
        owed: (6,) from the TCP to the setpoint of the last step [m, rad].
    """

    velocity: Float64
    time_s: float
    owed: Float64


class PlainArm:
    """The arm that some joint limits describe.

    Args:
        limits: of its joints.
    """

    def __init__(self, limits: JointLimits) -> None:
        self.limits, self.geometry = limits, limits.geometry
        self.lower = np.array(limits.lower) + limits.margin_rad
        self.upper = np.array(limits.upper) - limits.margin_rad
        self.accelerations = np.array(limits.acceleration)
        self.brakes = BRAKE_SHARE * self.accelerations
        self.calm_s = CALM * self.accelerations / np.array(limits.jerk)

    def frames(self, q: Float64) -> list[Float64]:
        """Return the frames (4, 4) of the base, after each joint, and of the TCP."""
        frames = [np.eye(4)]
        for (a, alpha, d, theta), angle in zip(self.geometry.rows, q, strict=True):
            ca, sa = np.cos(alpha), np.sin(alpha)
            c, s = np.cos(angle + theta), np.sin(angle + theta)
            about_x = np.array([[1, 0, 0, a], [0, ca, -sa, 0], [0, sa, ca, 0], [0, 0, 0, 1.0]])
            about_z = np.array([[c, -s, 0, 0], [s, c, 0, 0], [0, 0, 1, d], [0, 0, 0, 1.0]])
            frames.append(frames[-1] @ about_x @ about_z)
        return [*frames, frames[-1] @ np.array(self.geometry.tool)]

    def jacobian(self, frames: list[Float64]) -> Float64:
        """Return the Jacobian (6, n) of the TCP [m/rad, -]."""
        tcp = frames[-1][:3, 3]
        columns = [
            np.concatenate([np.cross(f[:3, 2], tcp - f[:3, 3]), f[:3, 2]]) for f in frames[1:-1]
        ]
        return np.array(columns).T

    def miss(self, frames: list[Float64], setpoint: Float64) -> Float64:
        """Return (6,) from the TCP to a setpoint (8,) [m, rad]."""
        tcp = frames[-1]
        turn = rotation_between(quaternion_from_matrix(tcp[:3, :3]), setpoint[3:7])
        return np.concatenate([setpoint[:3] - tcp[:3, 3], turn])

    def room(
        self, q: Float64, time_s: float, speeds: Float64, pace: PlainPace | None = None
    ) -> tuple[Float64, Float64]:
        """Return the least and the most (n,) that joints may change by in a time.

        Where the pace so far is known their speed changes by no more than it may, unless a joint
        would leave its range by that.
        """
        down, up = np.maximum(q - self.lower, 0.0), np.maximum(self.upper - q, 0.0)
        if np.isinf(time_s):
            return self.lower - q, self.upper - q
        least = np.minimum(speeds, nearing(down, self.brakes, time_s)) * time_s
        most = np.minimum(speeds, nearing(up, self.brakes, time_s)) * time_s
        least, most = -np.minimum(least, down), np.minimum(most, up)
        if pace is None:
            return least, most
        change = self.accelerations * (0.5 * (pace.time_s + time_s))
        slowest = np.minimum((pace.velocity - change) * time_s, most)
        fastest = np.maximum((pace.velocity + change) * time_s, least)
        return np.maximum(least, slowest), np.minimum(most, fastest)

    def step(
        self,
        q: Float64,
        setpoint: Float64,
        time_s: float = np.inf,
        speeds: Float64 | None = None,
        pace: PlainPace | None = None,
    ) -> Float64:
        """Return q after one step of a time; no joint goes further than it may."""
        frames = self.frames(q)
        weights = np.array([1.0] * 3 + [self.geometry.turn_m_per_rad] * 3)
        jacobian = weights[:, None] * self.jacobian(frames)
        wanted = self.miss(frames, setpoint)
        if pace is not None:
            wanted = wanted - 0.5 ** (time_s / CATCH_UP_S) * pace.owed
        wanted = weights * wanted
        speeds = np.full(len(q), np.inf) if speeds is None else speeds
        least, most = self.room(q, time_s, speeds, pace)
        pull = POSTURE_WEIGHT * (np.array(self.geometry.posture) - q)
        damping = POSTURE_WEIGHT / (2.0 ** min(time_s / ELBOW_HALF_S, 1.0) - 1.0)
        h = jacobian.T @ jacobian + (POSTURE_WEIGHT + damping) * np.eye(len(q))
        if len(q) > 6 and np.isfinite(time_s):
            way = np.abs(np.linalg.solve(h, pull))
            distance = way * (POSTURE_WEIGHT + damping) / POSTURE_WEIGHT
            delay_s = np.maximum(time_s, self.calm_s)
            braked = nearing(distance, ELBOW_SHARE * self.brakes, delay_s) * time_s
            pull *= min(1.0, float((braked / np.maximum(way, 1e-300)).min()))
        pull += jacobian.T @ wanted
        move, bound = solve_between(h, pull, least, most)
        if bound:
            left = wanted - jacobian @ move
            bend = np.linalg.norm(left[:3]) * LEVER_M
            bend += np.linalg.norm(left[3:]) * self.geometry.turn_m_per_rad
            h += np.eye(len(q)) * bend**2 / (bend + MUCH)
            move, _ = solve_between(h, pull, least, most)
        return np.asarray(q + move)

    def track(
        self, q: Float64, setpoint: Float64, time_s: float, pace: PlainPace | None
    ) -> tuple[Float64, PlainPace]:
        """Return q after one step at a pace, or at any where it is None, and the pace then."""
        after = self.step(q, setpoint, time_s, pace=pace)
        owed = self.miss(self.frames(after), setpoint)
        return after, PlainPace((after - q) / time_s, time_s, owed)

    def manipulability(self, frames: list[Float64]) -> float:
        """Return sqrt(det(J J^T))."""
        jacobian = self.jacobian(frames)
        return float(np.sqrt(max(0.0, np.linalg.det(jacobian @ jacobian.T))))

    def _ends(self, frames: list[Float64]) -> list[tuple[Float64, Float64, float, int]]:
        found = []
        for c in self.geometry.capsules:
            f = frames[c.link]
            start, end = (f[:3, :3] @ np.array(p) + f[:3, 3] for p in (c.start, c.end))
            found.append((start, end, c.radius_m, c.link))
        return found

    def self_clearance(self, frames: list[Float64], steps: int = 60) -> float:
        """Sampled: never less than the true distance, and more by less than a step."""
        ends = self._ends(frames)
        share = np.linspace(0.0, 1.0, steps)[:, None]
        nearest = np.inf
        for i, j in self.geometry.pairs:
            (a0, a1, ra, _), (b0, b1, rb, _) = ends[i], ends[j]
            a, b = a0 + share * (a1 - a0), b0 + share * (b1 - b0)
            gaps = np.linalg.norm(a[:, None] - b[None], axis=-1)
            nearest = min(nearest, float(gaps.min()) - ra - rb)
        return nearest

    def plane_clearance(self, frames: list[Float64]) -> float:
        """Return the least distance of the links to a plane [m]."""
        return min(
            float(np.array(plane.normal) @ end) - plane.offset_m - radius
            for start, stop, radius, link in self._ends(frames)
            for end in (start, stop)
            for plane in self.limits.planes
            if link >= 2
        )


def nearing(left: Float64, brakes: Float64, delay_s: Float64 | float) -> Float64:
    """Return the speeds (n,) from which joints still stop within what is left, after a delay."""
    rate = brakes * delay_s
    return np.asarray(2.0 * brakes * left / (np.sqrt(rate**2 + 2.0 * brakes * left) + rate))


def solve_between(h: Float64, g: Float64, least: Float64, most: Float64) -> tuple[Float64, bool]:
    """Return what minimises x h x / 2 - g x between two bounds, and whether any of them binds.

    The first unknown that is on the wrong side changes it, until none is (Murty, 1974).
    """
    side = np.zeros(len(g), int)
    while True:
        free = side == 0
        x = np.where(side < 0, least, most)
        x[free] = np.linalg.solve(
            h[np.ix_(free, free)], g[free] - h[np.ix_(free, ~free)] @ x[~free]
        )
        pull = g - h @ x
        low, high = free & (x < least - ROUNDING), free & (x > most + ROUNDING)
        wrong = np.flatnonzero(low | high | (side * pull < -ROUNDING))
        if not len(wrong):
            return np.clip(x, least, most), not free.all()
        first = wrong[0]
        side[first] = -1 if low[first] else 1 if high[first] else 0
