"""The seam: where one chunk takes over from another, how it is crossed and how far it jumps."""

from __future__ import annotations

import msgspec
import numpy as np

from dvla.runtime.pose import Float64
from dvla.runtime.timeline import Int64, Timeline, knot_mask, select

ALARM_RATIO = 3.0
"""A seam is alarming beyond this many times the largest step inside the new chunk ..."""
ALARM_FLOOR_M = 0.01
"""... and beyond this [m]: a chunk that stands still makes any step look large."""
ALARM_FLOOR_RAD = 0.05
"""The same for rotation [rad]."""


class SeamJump(msgspec.Struct, frozen=True, kw_only=True):
    """The step of one control period across a seam against the largest one inside the chunk."""

    seam_m: float = 0.0
    seam_rad: float = 0.0
    in_chunk_m: float = 0.0
    in_chunk_rad: float = 0.0

    @property
    def alarming(self) -> bool:
        """Whether the step is far out of proportion with the chunk's own motion."""
        return self.seam_m > max(ALARM_FLOOR_M, ALARM_RATIO * self.in_chunk_m) or (
            self.seam_rad > max(ALARM_FLOOR_RAD, ALARM_RATIO * self.in_chunk_rad)
        )


def step_size(a: Float64, b: Float64) -> tuple[Float64, Float64]:
    """Return the distances between setpoints: a, b (..., 8) -> (...) [m], (...) [rad]."""
    metres = np.linalg.norm(b[..., :3] - a[..., :3], axis=-1)
    # The chord between unit quaternions is well conditioned where the arc cosine of their product
    # is not: near zero, where almost every step lies.
    qa, qb = a[..., 3:7], b[..., 3:7]
    chord = np.minimum(np.linalg.norm(qb - qa, axis=-1), np.linalg.norm(qb + qa, axis=-1))
    return metres, 4.0 * np.arcsin(np.clip(chord / 2.0, 0.0, 1.0))


def slerp(a: Float64, b: Float64, fraction: Float64) -> Float64:
    """Interpolate unit quaternions along the shorter arc: a, b (n, 4), fraction (n,) -> (n, 4)."""
    product = np.sum(a * b, axis=-1, keepdims=True)
    b = np.where(product < 0, -b, b)
    angle = np.arccos(np.clip(np.abs(product), 0.0, 1.0))
    sine = np.sin(angle)
    f = fraction[:, None]
    near = sine < 1e-9
    safe = np.where(near, 1.0, sine)
    weight_a = np.where(near, 1.0 - f, np.sin((1.0 - f) * angle) / safe)
    weight_b = np.where(near, f, np.sin(f * angle) / safe)
    mixed = weight_a * a + weight_b * b
    return np.asarray(mixed / np.linalg.norm(mixed, axis=-1, keepdims=True), np.float64)


def mix(a: Float64, b: Float64, fraction: Float64) -> Float64:
    """Interpolate poses; the gripper is b's: it is a decision, not a pose.

    Args:
        a: (n, 8) setpoints.
        b: (n, 8) setpoints.
        fraction: (n,) from 0 (a) to 1 (b).

    Returns:
        (n, 8).
    """
    position = a[:, :3] + fraction[:, None] * (b[:, :3] - a[:, :3])
    return np.concatenate([position, slerp(a[:, 3:7], b[:, 3:7], fraction), b[:, 7:]], axis=1)


def resample(timeline: Timeline, t_ns: Int64) -> Float64:
    """Return what a timeline asks for at instants of the due grid, clamped at its two ends.

    Args:
        timeline: at least one row.
        t_ns: (n,) instants.

    Returns:
        (n, 8) setpoints, linear in position and along the arc in rotation.
    """
    knots = select(timeline, knot_mask(timeline))
    due_ns, setpoints = knots.due_ns, knots.setpoints
    after = np.clip(np.searchsorted(due_ns, t_ns, side="right"), 1, max(1, len(due_ns) - 1))
    before, after = after - 1, np.minimum(after, len(due_ns) - 1)
    span = np.maximum(due_ns[after] - due_ns[before], 1)
    fraction = np.clip((t_ns - due_ns[before]) / span, 0.0, 1.0)
    return mix(setpoints[before], setpoints[after], fraction)


def same_hemisphere(old: Timeline, setpoints: Float64, first: int) -> Float64:
    """Return setpoints (H, 8) whose quaternions have the sign of the old plan's last one."""
    if not len(old) or float(old.setpoints[-1, 3:7] @ setpoints[first, 3:7]) >= 0.0:
        return setpoints
    turned = setpoints.copy()
    turned[:, 3:7] *= -1.0
    return turned


def blend(old: Timeline, setpoints: Float64, due_ns: int, first: int, steps: int) -> Float64:
    """Cross-fade from the old plan's future to a new chunk.

    The fade lasts as long as the old plan does, at most ``steps``: a fade against an old plan that
    has ended would pull the arm back to where that one stopped.

    Args:
        old: the plan before the seam.
        setpoints: (H, 8), the new chunk.
        due_ns: when action ``first`` of the new chunk is due.
        first: first action of the new chunk that comes into force.
        steps: actions that are faded.

    Returns:
        (H, 8), the new chunk with up to ``steps`` actions from ``first`` on faded in.
    """
    t_ns = due_ns + np.arange(min(steps, len(setpoints) - first)) * old.period_ns
    t_ns = t_ns[t_ns < old.end_ns] if len(old) else t_ns[:0]
    if not len(t_ns):
        return setpoints
    fraction = np.arange(1, len(t_ns) + 1) / (len(t_ns) + 1.0)
    faded = setpoints.copy()
    rows = slice(first, first + len(t_ns))
    faded[rows] = mix(resample(old, t_ns), setpoints[rows], fraction)
    return faded


def seam_jump(old: Timeline, setpoints: Float64, due_ns: int, first: int) -> SeamJump:
    """Measure the step across a seam: from the old plan a period earlier to the first new action.

    A period earlier, because the grids of two chunks differ in phase: so the step is that of one
    control period and compares with the steps inside the chunk. Without an old plan it is 0.

    Args:
        old: the plan before the seam.
        setpoints: (H, 8), the new chunk as it will be executed.
        due_ns: when action ``first`` is due.
        first: first action that comes into force.
    """
    inside_m, inside_rad = step_size(setpoints[:-1], setpoints[1:])
    seam_m = seam_rad = 0.0
    if len(old):
        before = resample(old, np.array([due_ns - old.period_ns]))[0]
        across_m, across_rad = step_size(before, setpoints[first])
        seam_m, seam_rad = float(across_m), float(across_rad)
    return SeamJump(
        seam_m=seam_m,
        seam_rad=seam_rad,
        in_chunk_m=float(inside_m.max(initial=0.0)),
        in_chunk_rad=float(inside_rad.max(initial=0.0)),
    )
