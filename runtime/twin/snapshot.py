"""The state of the twin at one instant, as fixed-size bytes for a shared ring.

Another process renders it, and the privileged oracle reads it; the seed inside names the object.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from dvla.runtime.errors import WireError

ARM_DOF, FINGER_DOF = 7, 2
"""Slots; an arm of fewer axes leaves its last ones 0."""
OTHERS_SHAPE = (5, 13)
"""Objects beside the first; of each qpos (7,), then qvel (6,)."""
SNAPSHOT = np.dtype(
    [
        ("episode", "<i8"),
        ("seed", "<i8"),
        ("kind", "<i8"),  # 1 + index of the task's kind; 0 when the task names none
        ("colour", "<i8"),  # 1 + index of the task's colour; 0 when the task names none
        ("scene", "<i8"),  # code of the scene's choice; 0 for the plain pick scene
        ("arm", "<i8"),  # code of the arm's body; 0 for the Franka
        ("t_ns", "<i8"),
        ("qpos", "<f8", (16,)),  # 7 arm [rad], 2 fingers [m], object position [m], quaternion
        ("qvel", "<f8", (15,)),  # 7 arm [rad/s], 2 fingers [m/s], object [m/s, rad/s body frame]
        ("others", "<f8", OTHERS_SHAPE),  # zeros where there is none
        ("measured", "<f8", (8,)),  # TCP setpoint as measured
        ("twist", "<f8", (6,)),  # TCP velocity [m/s, rad/s], base frame
        ("commanded", "<f8", (8,)),  # setpoint that the driver was last given
        ("commanded_velocity", "<f8", (3,)),  # of its position [m/s]
    ]
)
_INTEGERS = ("episode", "seed", "kind", "colour", "scene", "arm", "t_ns")
_ARRAYS = ("qpos", "qvel", "others", "measured", "twist", "commanded", "commanded_velocity")
SNAPSHOT_BYTES = SNAPSHOT.itemsize
"""Slot size of a ring of snapshots."""


class TwinSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A decoded snapshot; arrays as in ``SNAPSHOT``, read-only."""

    episode: int
    seed: int
    kind: int
    colour: int
    scene: int
    arm: int = 0
    t_ns: int
    qpos: NDArray[np.float64]
    qvel: NDArray[np.float64]
    others: NDArray[np.float64]
    measured: NDArray[np.float64]
    twist: NDArray[np.float64]
    commanded: NDArray[np.float64]
    commanded_velocity: NDArray[np.float64]

    @property
    def object_position(self) -> NDArray[np.float64]:
        """Centre of the object (3,) in the base frame [m]."""
        return self.qpos[9:12]

    @property
    def object_quaternion(self) -> NDArray[np.float64]:
        """Attitude of the object (4,), order w, x, y, z."""
        return self.qpos[12:16]

    @property
    def object_velocity(self) -> NDArray[np.float64]:
        """Velocity of the object (3,) in the base frame [m/s]."""
        return self.qvel[9:12]

    def object_at(self, index: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return pose (7,) and velocity (6,) of an object, as MuJoCo has those of free joints.

        Args:
            index: in the scene; 0 is the first target.
        """
        if index == 0:
            return self.qpos[9:16], self.qvel[9:15]
        return self.others[index - 1, :7], self.others[index - 1, 7:]

    @property
    def finger_width_m(self) -> float:
        """Opening between the fingers [m]."""
        return float(self.qpos[7] + self.qpos[8])


def pack_snapshot(snapshot: TwinSnapshot) -> bytes:
    """Return a snapshot as ``SNAPSHOT_BYTES`` bytes."""
    record = np.zeros((), SNAPSHOT)
    for name in (*_INTEGERS, *_ARRAYS):
        record[name] = getattr(snapshot, name)
    return record.tobytes()


def unpack_snapshot(payload: bytes | bytearray | memoryview) -> TwinSnapshot:
    """Decode a snapshot.

    Raises:
        WireError: when the payload has another size.
    """
    if len(payload) != SNAPSHOT_BYTES:
        raise WireError(
            "A snapshot of the twin has the wrong size",
            got=f"{len(payload)} bytes",
            expected=f"{SNAPSHOT_BYTES} bytes",
        )
    record = np.frombuffer(bytes(payload), SNAPSHOT)[0]
    integers = {name: int(record[name]) for name in _INTEGERS}
    arrays = {name: np.asarray(record[name], np.float64) for name in _ARRAYS}
    return TwinSnapshot(**integers, **arrays)  # type: ignore[arg-type]
