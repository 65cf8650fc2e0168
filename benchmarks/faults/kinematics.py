"""An arm's kinematics in plain numpy: frames, one damped Gauss-Newton step, distances.

It judges what the compiled gate let through, so it shares nothing with it but the arm's tables. The
tests of the compiled kinematics compare the two.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dvla.runtime.limits import JointLimits
from dvla.runtime.pose import quaternion_from_matrix
from dvla.runtime.rotation import rotation_between

Float64 = NDArray[np.float64]
POSTURE_WEIGHT = DAMPING = 1e-6


class PlainArm:
    """The arm that some joint limits describe.

    Args:
        limits: of its joints.
    """

    def __init__(self, limits: JointLimits) -> None:
        self.limits, self.geometry = limits, limits.geometry
        self.lower = np.array(limits.lower) + limits.margin_rad
        self.upper = np.array(limits.upper) - limits.margin_rad

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

    def step(self, q: Float64, setpoint: Float64) -> Float64:
        """Return q after one step; joints that would leave their range end there."""
        frames = self.frames(q)
        weights = np.array([1.0] * 3 + [self.geometry.turn_m_per_rad] * 3)
        jacobian = weights[:, None] * self.jacobian(frames)
        wanted = weights * self.miss(frames, setpoint)
        pull = POSTURE_WEIGHT * (np.array(self.geometry.posture) - q)
        fixed: dict[int, float] = {}
        while True:
            free = [i for i in range(len(q)) if i not in fixed]
            left = wanted - sum((jacobian[:, i] * move for i, move in fixed.items()), np.zeros(6))
            j = jacobian[:, free]
            h = j.T @ j + (POSTURE_WEIGHT + DAMPING) * np.eye(len(free))
            moves = np.linalg.solve(h, j.T @ left + pull[free])
            over = {}
            for i, move in zip(free, moves, strict=True):
                target = np.clip(q[i] + move, self.lower[i], self.upper[i])
                if target != q[i] + move:
                    over[i] = target - q[i]
            if not over:
                out = q.copy()
                for i, move in [*zip(free, moves, strict=True), *fixed.items()]:
                    out[i] += move
                return out
            fixed |= over

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
