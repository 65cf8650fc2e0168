"""The expert on scenes: pick, place and several objects in order, read off the state each time.

Where it stands in the task follows from where the objects are: a target over the container that
the hand does not hold is delivered, the first that is not is next. So it needs no memory either.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from dvla.runtime.oracle.expert import GOAL, ExpertConfig, Rollout
from dvla.runtime.twin.scenes.recall import spec_of
from dvla.runtime.twin.scenes.spec import Container, SceneSpec
from dvla.runtime.twin.snapshot import TwinSnapshot

_CLEAR_M = 0.05
"""Height of what is carried, or of the hand's tips, over the rim of a container."""
_BESIDE_M = 0.06
"""Hands that low keep this far from a container."""
_RELEASE_M = 0.03
"""Distance from the place to drop within which the hand goes down and opens."""
_BELOW_RIM_M = 0.010
_SPREAD_M = 0.025
"""Objects are dropped this far on either side of the container's middle."""
_LET_GO_M = 0.012
_HELD_M = 0.03

Decision = tuple[NDArray[np.float64], NDArray[np.float64], float]


def rollout_of(config: ExpertConfig | None, snapshot: TwinSnapshot) -> Rollout:
    """Return the expert's rollout for the task that a snapshot was taken in.

    Args:
        config: how the expert moves; as is right for the snapshot's arm when None.
        snapshot: the true state.
    """
    spec = spec_of(snapshot)
    if not isinstance(spec, SceneSpec):
        return Rollout(config, spec, snapshot)
    if spec.container is None:
        return Rollout(config, spec.things[0], snapshot)
    return SceneRollout(config, spec, spec.container, snapshot)


class SceneRollout(Rollout):
    """The expert's rollout for tasks that end in a container.

    Args:
        config: how the expert moves; as is right for the snapshot's arm when None.
        scene: the episode.
        container: where its targets go.
        snapshot: the true state at the observation's time.
    """

    def __init__(
        self,
        config: ExpertConfig | None,
        scene: SceneSpec,
        container: Container,
        snapshot: TwinSnapshot,
    ) -> None:
        self._scene, self._container = scene, container
        opened = snapshot.commanded[7] > 0.0
        self._next = 0
        while self._next < scene.targets and self._delivered(snapshot, self._next, opened):
            self._next += 1
        aimed = min(self._next, scene.targets - 1)
        super().__init__(config, scene.things[aimed], snapshot, aimed)
        self._let_go_at: NDArray[np.float64] | None = None
        if opened and self._next > 0:
            # The last delivered object may still be between the fingers.
            pose, _ = snapshot.object_at(self._next - 1)
            if float(np.linalg.norm(pose[:3] - snapshot.measured[:3])) < _HELD_M:
                self._let_go_at = np.array(pose[:3])

    def _delivered(self, snapshot: TwinSnapshot, index: int, opened: bool) -> bool:
        """Return whether a target is over the container and not in a closed hand."""
        pose, _ = snapshot.object_at(index)
        away = np.abs(pose[:2] - np.array(self._container.position))
        over = bool((away < self._container.half_m - 0.01).all())
        held = float(np.linalg.norm(pose[:3] - snapshot.measured[:3])) < _HELD_M and not opened
        return over and not held

    def _decide(self) -> Decision:
        """Return the command's target [m], its velocity [m/s] and the speed limit; set fingers."""
        config = self._config
        if self._attached and self._on_object_s >= config.dwell_s:
            return self._carry()
        if self._letting_go():
            self._gripper = 1.0
            return self._command.copy(), np.zeros(3), config.carry_speed
        if self._next >= self._scene.targets:
            self._gripper = 1.0
            return self._over_the_rim(GOAL.copy(), 0.0), np.zeros(3), config.speed
        target, velocity, speed = super()._decide()
        lifted = self._over_the_rim(target, 0.0)
        return lifted, velocity if lifted is target else np.zeros(3), speed

    def _carry(self) -> Decision:
        """Go over the container, down to its rim, and open."""
        container, thing = self._container, self._spec
        drop = np.array([*container.position, 0.0])
        if self._scene.targets > 1:
            drop[0] += _SPREAD_M if self._next % 2 else -_SPREAD_M
        away = math.hypot(*(self._hand - drop)[:2])
        self._gripper = -1.0
        low_m = container.height_m + thing.rest_z_m - _BELOW_RIM_M
        if away > _RELEASE_M:
            drop[2] = container.height_m + thing.rest_z_m + _CLEAR_M
            drop = self._over_the_rim(drop, thing.rest_z_m)
        else:
            drop[2] = low_m
            if self._hand[2] < low_m + _LET_GO_M:
                self._gripper = 1.0
        return drop, np.zeros(3), self._config.carry_speed

    def _over_the_rim(self, target: NDArray[np.float64], hangs_m: float) -> NDArray[np.float64]:
        """Return the target, or a point straight up while the hand is too low by the container.

        Args:
            target: (3,) [m].
            hangs_m: how far what is carried reaches below the TCP.
        """
        container = self._container
        away = math.hypot(*(self._command[:2] - np.array(container.position)))
        needed = container.height_m + hangs_m + _CLEAR_M
        beside = away < container.reach_m + _BESIDE_M
        if beside and self._hand[2] < needed - 0.02:
            return np.array([*self._command[:2], needed])
        return target

    def _letting_go(self) -> bool:
        """Return whether the fingers still open around what was dropped."""
        if self._let_go_at is None:
            return False
        thing = self._scene.things[self._next - 1]
        if self._width > 2 * thing.radius_m + _LET_GO_M:
            self._let_go_at = None
            return False
        return True

    def _follow(self, hand_velocity: NDArray[np.float64], dt: float) -> None:
        """Move fingers and object; what is let go over the container is delivered."""
        carried = self._attached
        super()._follow(hand_velocity, dt)
        if carried and not self._attached and self._gripper > 0:
            self._let_go_at = self._object.copy()
            self._next += 1
            if self._next < self._scene.targets:
                self._aim(self._scene.things[self._next], self._next)
