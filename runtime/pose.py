"""Setpoints: the pose row that stream, servo, wire and arm share, and Euler conversions.

A *setpoint* is float64 (8,): ``x, y, z`` [m], ``qw, qx, qy, qz`` (unit quaternion, robot base
frame), ``gripper`` [-] (+1 open, -1 closed). Policies speak extrinsic xyz Euler angles; they are
converted once, when a chunk enters the scheduler.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SETPOINT_WIDTH = 8
Float64 = NDArray[np.float64]


def quaternion_from_euler(euler: NDArray[np.floating]) -> Float64:
    """Convert extrinsic xyz Euler angles to unit quaternions.

    Args:
        euler: (..., 3) [rad]; R = Rz(rz) Ry(ry) Rx(rx).

    Returns:
        (..., 4) float64, order w, x, y, z.
    """
    half = np.asarray(euler, np.float64) / 2.0
    cx, cy, cz = np.moveaxis(np.cos(half), -1, 0)
    sx, sy, sz = np.moveaxis(np.sin(half), -1, 0)
    return np.stack(
        [
            cz * cy * cx + sz * sy * sx,
            cz * cy * sx - sz * sy * cx,
            cz * sy * cx + sz * cy * sx,
            sz * cy * cx - cz * sy * sx,
        ],
        axis=-1,
    )


def euler_from_quaternion(quaternion: NDArray[np.floating]) -> Float64:
    """Convert unit quaternions to extrinsic xyz Euler angles, each in (-pi, pi].

    Args:
        quaternion: (..., 4), order w, x, y, z.

    Returns:
        (..., 3) float64 [rad].
    """
    w, x, y, z = np.moveaxis(np.asarray(quaternion, np.float64), -1, 0)
    rx = np.arctan2(2 * (w * x + y * z), 1 - 2 * (x * x + y * y))
    ry = np.arcsin(np.clip(2 * (w * y - z * x), -1.0, 1.0))
    rz = np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
    return np.stack([rx, ry, rz], axis=-1)


def state_input(states: NDArray[np.floating], width: int) -> NDArray[np.float32]:
    """Return what a network takes of the observed states: the newest, and perhaps its motion.

    A camera on the hand sees how things move against the hand; how they move over the table follows
    from that and from the hand's own motion, which no single pose tells.

    Args:
        states: (..., n_obs, S) [m, rad], oldest first; poses where S is 6.
        width: S for the newest alone; 12 for the newest pose followed by its change since the
            oldest, angles in [-pi, pi).

    Returns:
        (..., width) float32 [m, rad].

    Raises:
        ValueError: the width is neither.
    """
    newest = np.asarray(states[..., -1, :], np.float64)
    if width == newest.shape[-1]:
        return np.ascontiguousarray(newest, np.float32)
    if (newest.shape[-1], width) != (6, 12):
        raise ValueError(f"states of {newest.shape[-1]} numbers do not make an input of {width}")
    moved = newest - states[..., 0, :]
    moved[..., 3:] = (moved[..., 3:] + np.pi) % (2.0 * np.pi) - np.pi
    return np.concatenate([newest, moved], axis=-1).astype(np.float32)


def unwrap_near(angles: NDArray[np.floating], reference: NDArray[np.floating]) -> Float64:
    """Shift angles by multiples of 2 pi so that each lies within pi of the reference.

    Args:
        angles: (..., n) [rad].
        reference: (n,) or broadcastable [rad].

    Returns:
        (..., n) float64 [rad].
    """
    turns = np.round((np.asarray(reference, np.float64) - angles) / (2 * np.pi))
    return np.asarray(angles, np.float64) + 2 * np.pi * turns


def setpoints_from_actions(actions: NDArray[np.floating]) -> Float64:
    """Convert absolute actions to setpoints whose quaternions keep one sign from row to row.

    The gripper of an action stays the number that the policy made of it, within [-1, 1]; the arm
    decides (``dvla.runtime.gripper``).

    Args:
        actions: (H, 7) [m, rad, -], finite.

    Returns:
        (H, 8) float64.
    """
    actions = np.asarray(actions, np.float64)
    quaternion = quaternion_from_euler(actions[:, 3:6])
    same_side = np.sum(quaternion[1:] * quaternion[:-1], axis=-1) >= 0
    quaternion[1:] *= np.cumprod(np.where(same_side, 1.0, -1.0))[:, None]
    gripper = np.clip(actions[:, 6:7], -1.0, 1.0)
    return np.concatenate([actions[:, :3], quaternion, gripper], axis=1)


def actions_from_setpoints(setpoints: NDArray[np.floating]) -> NDArray[np.float32]:
    """Convert setpoints back to absolute actions, each angle in (-pi, pi].

    Args:
        setpoints: (n, 8).

    Returns:
        (n, 7) float32 [m, rad, -].
    """
    setpoints = np.asarray(setpoints, np.float64)
    euler = euler_from_quaternion(setpoints[:, 3:7])
    return np.concatenate([setpoints[:, :3], euler, setpoints[:, 7:]], axis=1, dtype=np.float32)


def state_from_setpoint(setpoint: NDArray[np.floating]) -> Float64:
    """Convert setpoints to the policy's 6-D state, rx and rz wrapped to [0, 2 pi).

    Args:
        setpoint: (..., 8).

    Returns:
        (..., 6) float64 [m, rad].
    """
    setpoint = np.asarray(setpoint, np.float64)
    euler = euler_from_quaternion(setpoint[..., 3:7])
    euler[..., 0] %= 2 * np.pi
    euler[..., 2] %= 2 * np.pi
    return np.concatenate([setpoint[..., :3], euler], axis=-1)


def quaternion_from_matrix(matrix: Float64) -> Float64:
    """Return the unit quaternion (4,), w first and not negative, of a rotation matrix (3, 3)."""
    m, trace = matrix, float(np.trace(matrix))
    # Four times the quaternion times itself, transposed: nothing cancels in the longest row.
    outer = np.empty((4, 4))
    outer[0, 0] = 1.0 + trace
    outer[0, 1:] = outer[1:, 0] = m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1]
    outer[1:, 1:] = m + m.T + (1.0 - trace) * np.eye(3)
    row: Float64 = outer[int(np.argmax(np.diagonal(outer)))]
    row = row / np.sqrt(row @ row)
    return row if row[0] >= 0.0 else -row
