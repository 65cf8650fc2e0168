"""The expert's decision at one instant, and its rollout over the steps of a chunk.

The expert keeps nothing between calls: every phase is read off the state (hand over the object?
low enough? fingers on it? holding?), so a dropped or late chunk does no harm.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np
from numpy.typing import NDArray

from dvla.runtime.oracle.attitude import LeaningHand
from dvla.runtime.oracle.grasp import grasp_yaw, grasp_z_m, within_reach
from dvla.runtime.oracle.motion import RollingMotion
from dvla.runtime.pose import euler_from_quaternion
from dvla.runtime.twin.bodies import body_of_code
from dvla.runtime.twin.episodes import GOAL_M
from dvla.runtime.twin.objects import EpisodeSpec
from dvla.runtime.twin.scenes.spec import Thing
from dvla.runtime.twin.snapshot import TwinSnapshot


class ExpertConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the expert moves.

    Attributes:
        lead_s: how far commands run ahead of where the hand shall be: the lag of the arm behind
            its command, and of the stream's interpolation and shaping before it.
        arm_lag_s: first-order lag assumed when rolling the arm forward.
        speed: largest speed of commands [m/s]; carry_speed: with an object in the hand.
        acceleration: largest acceleration of commands [m/s2].
        braking: largest deceleration in the object's frame on arrival [m/s2].
        closing_speed: largest speed in the plane in the object's frame [m/s].
        gain: pull of a command towards its target in the plane [1/s].
        sink_speed / sink_braking / sink_gain: the same for height [m/s, m/s2, 1/s].
        hover_m: height of the TCP over the grasp while the hand is not over the object.
        over_m: distance in the plane within which the hand may go all the way down.
        funnel_m: distance over which the hand rises from there to the hover height.
        turned: angle to the yaw of the grasp within which it may go all the way down over the kinds
            of ``turned_over``; at twice as much it hovers [rad].
        turned_over: kinds of object over which the hand turns first: what is gripped askew turns in
            the fingers and is lost.
        close_m: distance in the plane within which the fingers close.
        close_above_m: height over the grasp from which they may begin to close.
        finger_speed: assumed closing speed of both fingers together [m/s].
        dwell_s: time on the object before lifting.
        yaw_rate / lean_rate: at which the hand turns and leans [rad/s].
    """

    lead_s: float = 0.11
    arm_lag_s: float = 0.12
    speed: float = 0.95
    carry_speed: float = 0.6
    acceleration: float = 5.0
    braking: float = 3.0
    closing_speed: float = 0.8
    gain: float = 8.0
    sink_speed: float = 0.6
    sink_braking: float = 1.5
    sink_gain: float = 10.0
    hover_m: float = 0.065
    over_m: float = 0.016
    funnel_m: float = 0.03
    turned: float = 0.3
    turned_over: tuple[str, ...] = ("brick",)
    close_m: float = 0.010
    close_above_m: float = 0.02
    finger_speed: float = 0.1
    dwell_s: float = 0.12
    yaw_rate: float = 1.2
    lean_rate: float = 0.85


PIPER_EXPERT = ExpertConfig(
    speed=0.37,
    carry_speed=0.34,
    acceleration=2.0,
    braking=1.2,
    closing_speed=0.3,
    sink_speed=0.22,
    sink_braking=0.5,
    hover_m=0.055,
    turned=0.15,
    turned_over=("brick", "box", "can"),
    yaw_rate=0.6,
)
"""Within what the PiPER's shaper lets the hand do: 0.4 m/s, 2.2 m/s2 and 1 rad/s."""
EXPERTS = {"franka": ExpertConfig(), "piper": PIPER_EXPERT}

_SUBSTEPS = 2
_TURN_KEPT = 0.35
"""How far the hand's own yaw counts when one is chosen [rad]."""
_GRASP_SLACK_M = 0.006
_LIFTED_M = 0.01
_IN_HAND_M = 0.025
GOAL = np.array(GOAL_M)


class Rollout:
    """The expert, the arm's lag, the fingers and the object, rolled forward from a snapshot.

    Args:
        config: how the expert moves; as is right for the snapshot's arm when None.
        spec: the object to pick up.
        snapshot: the true state at the observation's time.
        index: of the object in the snapshot.
    """

    def __init__(
        self,
        config: ExpertConfig | None,
        spec: EpisodeSpec | Thing,
        snapshot: TwinSnapshot,
        index: int = 0,
    ) -> None:
        self._body = body_of_code(snapshot.arm)
        self._config = config = config or EXPERTS[self._body.name]
        self._snapshot = snapshot
        self._hand = np.array(snapshot.measured[:3])
        self._command = np.array(snapshot.commanded[:3])
        self._velocity = np.array(snapshot.commanded_velocity)
        self._yaw = float(euler_from_quaternion(snapshot.commanded[3:7])[2])
        self._leaning: LeaningHand | None = None
        if self._body.wrist is not None:
            self._leaning = LeaningHand(
                self._body.wrist, config.lean_rate, self._command, snapshot.commanded[3:7]
            )
            self._yaw = self._leaning.yaw
        self._aim(spec, index)
        self._width = snapshot.finger_width_m
        self._t_s = 0.0
        self._gripper = 1.0 if snapshot.commanded[7] > 0.0 else -1.0
        still = abs(float(snapshot.qvel[7] + snapshot.qvel[8])) < 0.02
        lifted = self._object[2] > spec.rest_z_m + _LIFTED_M
        held = self._touching() and (still or lifted)
        self._on_object_s = config.dwell_s if held else 0.0
        self._attached = self._on_object_s > 0.0
        if held and self._leaning is not None:
            self._yaw_target = self._yaw  # what is held is not turned in the hand again

    def _aim(self, spec: EpisodeSpec | Thing, index: int) -> None:
        """Take an object as the one to pick up, as the snapshot had it."""
        pose, velocity = self._snapshot.object_at(index)
        self._spec, self.index = spec, index
        self._free = RollingMotion(pose[:3], velocity[:3], spec.deceleration)
        self._object = np.array(pose[:3])
        self._object_velocity = np.array(velocity[:3])
        self._yaw_target = grasp_yaw(spec, pose[3:7], self._preferred_yaw(pose))

    def _preferred_yaw(self, pose: NDArray[np.float64]) -> float:
        """Return the yaw whose neighbour among those that take the object alike is chosen [rad].

        Straight ahead, or in the arm's own plane where its last joint ends; and a little towards
        where the hand has turned: of two yaws that are equally far, the one that it has begun to
        turn to stays the nearer, whichever way the object turns a little.
        """
        straight = math.atan2(pose[1], pose[0]) if self._body.wrist is not None else 0.0
        turned = math.remainder(self._yaw - straight, 2 * math.pi)
        return straight + max(-_TURN_KEPT, min(_TURN_KEPT, turned))

    def run(self, steps: int, period_s: float) -> NDArray[np.float64]:
        """Return absolute actions (steps, 7) [m, rad, -] on the grid of the control period.

        Action i holds over [i T, (i + 1) T): it is the command at the middle of that interval.
        """
        actions = np.empty((steps, 7))
        dt = period_s / _SUBSTEPS
        for step in range(steps):
            for substep in range(_SUBSTEPS):
                self._advance(dt)
                if substep == 0:
                    actions[step] = (*self._command, *self._attitude(period_s), self._gripper)
        return actions

    def _attitude(self, period_s: float) -> tuple[float, float, float]:
        """Return the hand's attitude at the command, extrinsic xyz [rad]."""
        if self._leaning is None:
            return math.pi, 0.0, self._yaw
        return self._leaning.euler(self._command, self._yaw, period_s)

    def _advance(self, dt: float) -> None:
        """Decide, move the command, and let arm, fingers and object follow."""
        config = self._config
        target, feed_forward, speed = self._decide()
        wanted = feed_forward + self._approach(target - self._command)
        norm = float(np.linalg.norm(wanted))
        if norm > speed:
            wanted *= speed / norm
        change = wanted - self._velocity
        norm = float(np.linalg.norm(change))
        if norm > config.acceleration * dt:
            change *= config.acceleration * dt / norm
        self._velocity = self._velocity + change
        self._command = self._command + self._velocity * dt
        turn = self._yaw_target - self._yaw
        self._yaw += max(-config.yaw_rate * dt, min(config.yaw_rate * dt, turn))
        hand_velocity = (self._command - self._hand) / config.arm_lag_s
        self._hand = self._hand + hand_velocity * (1 - math.exp(-dt / config.arm_lag_s)) * (
            config.arm_lag_s
        )
        self._follow(hand_velocity, dt)

    def _approach(self, error: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the velocity towards the target, relative to it (3,) [m/s].

        Bounded in the target's frame, so that the hand meets an oncoming object where it will be
        instead of chasing where it is, and slow enough to come to rest in that frame.
        """
        config = self._config
        plane = math.hypot(error[0], error[1])
        braking = math.sqrt(2 * config.braking * plane)
        closing = min(config.gain * plane, braking, config.closing_speed)
        share = closing / plane if plane > 1e-9 else 0.0
        height = abs(float(error[2]))
        braking = math.sqrt(2 * config.sink_braking * height)
        sink = min(config.sink_gain * height, braking, config.sink_speed)
        return np.array([error[0] * share, error[1] * share, math.copysign(sink, error[2])])

    def _follow(self, hand_velocity: NDArray[np.float64], dt: float) -> None:
        """Move fingers and object."""
        config = self._config
        self._t_s += dt
        thickness = 2 * self._spec.radius_m
        if self._gripper > 0:
            self._width = min(self._body.opening_m, self._width + config.finger_speed * dt)
            self._attached, self._on_object_s = False, 0.0
        else:
            around = self._planar_distance() < 0.02
            floor = thickness if around else 0.0
            self._width = max(floor, self._width - config.finger_speed * dt)
            if self._touching():
                self._attached = True
                self._on_object_s += dt
        if self._attached:
            self._object = self._object + hand_velocity * dt
            self._object_velocity = hand_velocity
        else:
            self._object = self._free.position(self._t_s)
            self._object_velocity = self._free.velocity(self._t_s)

    def _decide(self) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
        """Return the command's target [m], its velocity [m/s] and the speed limit; set fingers."""
        config = self._config
        if self._attached and self._on_object_s >= config.dwell_s:
            self._gripper = -1.0
            return GOAL, np.zeros(3), config.carry_speed
        if self._closing():
            self._gripper = -1.0
            hover = 0.0
        else:
            self._gripper = 1.0
            hover = config.hover_m * self._funnel()
        target = self._object + self._object_velocity * config.lead_s
        target[2] = grasp_z_m(self._spec, self._body) + hover
        within = within_reach(target, self._body)
        feed_forward = self._object_velocity * (1, 1, 0)
        return within, feed_forward if within is target else np.zeros(3), config.speed

    def _closing(self) -> bool:
        """Return whether the fingers are, or should be, closing on the object."""
        begun = self._gripper < 0
        tolerance = self._config.close_m * (2.0 if begun else 1.0)
        low = self._hand[2] - grasp_z_m(self._spec, self._body) < self._config.close_above_m
        closed_on_nothing = self._width < 2 * self._spec.radius_m - _GRASP_SLACK_M
        return bool(low) and self._planar_distance() < tolerance and not closed_on_nothing

    def _touching(self) -> bool:
        """Return whether the fingers are on the object."""
        excess = self._width - 2 * self._spec.radius_m
        near = float(np.linalg.norm(self._hand - self._object)) < _IN_HAND_M
        return near and self._gripper < 0 and -_GRASP_SLACK_M < excess < 0.002

    def _funnel(self) -> float:
        """Return 0 where the hand may be all the way down, 1 where it must hover."""
        if self._width < self._body.opened_m:
            return 1.0
        excess = (self._planar_distance() - self._config.over_m) / self._config.funnel_m
        if self._spec.kind in self._config.turned_over:
            turn = abs(self._yaw_target - self._yaw)
            excess = max(excess, (turn - self._config.turned) / self._config.turned)
        return max(0.0, min(1.0, excess))

    def _planar_distance(self) -> float:
        return math.hypot(*(self._hand - self._object)[:2])
