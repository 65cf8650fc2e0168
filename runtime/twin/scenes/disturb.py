"""Forces on the objects of a scene while physics runs."""

from __future__ import annotations

from typing import Any

import numpy as np

from dvla.runtime.clock import NS_PER_S
from dvla.runtime.twin.scene import INERTIA_RATIO
from dvla.runtime.twin.scenes.model import joint_name
from dvla.runtime.twin.scenes.spec import SceneSpec

_ON_TABLE_M = 0.005


class Disturbances:
    """Pushes at their times, and a force across the velocity of what rolls in curves.

    Args:
        scene: the episode.
        model: MuJoCo's, made of it.
        start_ns: when it began.
    """

    def __init__(self, scene: SceneSpec, model: Any, start_ns: int) -> None:
        self._pushes = [
            (
                start_ns + round(push.start_s * NS_PER_S),
                start_ns + round((push.start_s + push.duration_s) * NS_PER_S),
                model.body(joint_name(push.thing)).id,
                np.array([*push.force, *push.torque]),
            )
            for push in scene.pushes
        ]
        self._curves = [
            (
                model.body(joint_name(index)).id,
                model.joint(joint_name(index)).qposadr[0],
                model.joint(joint_name(index)).dofadr[0],
                thing.rest_z_m + _ON_TABLE_M,
                thing.turn_rate * thing.mass_kg * (1.0 + INERTIA_RATIO.get(thing.kind, 0.0)),
            )
            for index, thing in enumerate(scene.things)
            if thing.turn_rate
        ]

    def apply(self, data: Any, now_ns: int) -> None:
        """Set the forces of the step that begins at a time."""
        if not self._pushes and not self._curves:
            return
        data.xfrc_applied[:] = 0.0
        for start_ns, end_ns, body, wrench in self._pushes:
            if start_ns <= now_ns < end_ns:
                data.xfrc_applied[body] += wrench
        for body, qpos_at, dof_at, top_m, gain in self._curves:
            if data.qpos[qpos_at + 2] < top_m:
                vx, vy = data.qvel[dof_at], data.qvel[dof_at + 1]
                data.xfrc_applied[body, 0] -= gain * vy
                data.xfrc_applied[body, 1] += gain * vx
