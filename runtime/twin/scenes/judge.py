"""How an episode of a scene ends."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dvla.runtime.clock import NS_PER_S
from dvla.runtime.twin.episodes import (
    GOAL_M,
    LIFTED_M,
    LOST_DISTANCE_M,
    SUCCESS_DISTANCE_M,
    Outcome,
)
from dvla.runtime.twin.layout import FRANKA_LAYOUT, TableLayout
from dvla.runtime.twin.scenes.choice import EPISODE_S
from dvla.runtime.twin.scenes.spec import Container, SceneSpec, Thing

_FLOOR_SLACK_M = 0.002


def half_box(thing: Thing, quaternion: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return half the sides (3,) of the box along the base's axes that holds an object [m].

    Args:
        thing: the object.
        quaternion: (4,) its attitude, order w, x, y, z.
    """
    r, half = thing.radius_m, thing.half_length_m
    if thing.kind == "ball":
        return np.full(3, r)
    w, x, y, z = quaternion
    rotation = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
    if thing.kind in ("can", "cup"):
        axis = rotation[:, 2]
        return np.asarray(half * np.abs(axis) + r * np.sqrt(np.maximum(0.0, 1.0 - axis * axis)))
    sides = np.array([half if thing.kind == "brick" else r, r, r])
    return np.asarray(np.abs(rotation) @ sides)


def placed(thing: Thing, pose: NDArray[np.float64], container: Container) -> bool:
    """Return whether an object is in a container: its box within the container's.

    Sideways the object's box must lie within the container's outer box; its lowest point below
    the rim and over the floor. It may stick out at the top, as it does in any bowl.

    Args:
        thing: the object.
        pose: (7,) position [m] and quaternion.
        container: that stands on the table.
    """
    half = half_box(thing, pose[3:7])
    away = np.abs(pose[:2] - np.array(container.position)) + half[:2]
    lowest = float(pose[2] - half[2])
    return bool((away <= container.half_m).all()) and (
        -_FLOOR_SLACK_M < lowest < container.height_m
    )


class SceneJudge:
    """Watches one episode of a scene.

    Pick: the first target is within 7 cm of the TCP and the TCP within 7 cm of the goal, off the
    table. Place and long: every target is placed and let go, and the TCP is at the goal. In a long
    task the targets must come into the container in the order of the instruction; a later one
    there before an earlier one ends the episode as ``wrong_order``. Dropped: a target was lifted,
    got away and is not placed. Out of reach: a target left the part of the table that is served.

    Args:
        scene: the episode.
        start_ns: when it began.
        layout: of the arm's table.
    """

    def __init__(
        self, scene: SceneSpec, start_ns: int, layout: TableLayout = FRANKA_LAYOUT
    ) -> None:
        self.start_ns = start_ns
        self._layout = layout
        self._scene = scene
        self._lifted = [False] * scene.targets
        self._delivered = [False] * scene.targets
        self._goal = np.array(GOAL_M)

    def look(
        self, poses: list[NDArray[np.float64]], tcp_at: NDArray[np.float64], now_ns: int
    ) -> Outcome | None:
        """Say how the episode ended, or None while it goes on.

        Args:
            poses: (7,) of each object, targets first.
            tcp_at: (3,) [m].
            now_ns: when.
        """
        at_goal = float(np.linalg.norm(tcp_at - self._goal)) < SUCCESS_DISTANCE_M
        container = self._scene.container
        done: list[bool] = []
        within: list[bool] = []
        for index in range(self._scene.targets):
            thing, pose = self._scene.things[index], poses[index]
            apart_m = float(np.linalg.norm(pose[:3] - tcp_at))
            held = apart_m < SUCCESS_DISTANCE_M and pose[2] - thing.rest_z_m > LIFTED_M
            inside = container is not None and placed(thing, pose, container)
            within.append(inside)
            done.append(inside and apart_m > SUCCESS_DISTANCE_M if container else held and at_goal)
            if held:
                self._lifted[index] = True
            elif self._lifted[index] and apart_m > LOST_DISTANCE_M and not inside:
                return "dropped"
            in_x = self._layout.served_x[0] < pose[0] < self._layout.served_x[1]
            if not in_x or abs(pose[1]) > self._layout.served_y:
                return "out_of_reach"
        if all(done) and at_goal:
            return "success"
        if container is not None and self._out_of_order(within, done):
            return "wrong_order"
        if now_ns - self.start_ns >= EPISODE_S[self._scene.choice.task] * NS_PER_S:
            return "timeout"
        return None

    def _out_of_order(self, within: list[bool], done: list[bool]) -> bool:
        """Say whether a later object is in the container before an earlier one.

        An earlier one is there with the hand still near it, or near it again; and one that was
        let go there came first, though a later one may knock it.

        Args:
            within: which objects are in the container.
            done: which of them are let go.
        """
        self._delivered = [past or now for past, now in zip(self._delivered, done, strict=True)]
        there = [past or now for past, now in zip(self._delivered, within, strict=True)]
        return any(done[index] and not all(there[:index]) for index in range(len(done)))
