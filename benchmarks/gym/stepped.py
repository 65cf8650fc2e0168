"""An episode one action at a time: the closed loop of the benchmark, driven from outside."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from dvla.benchmarks.dom.episode import ClosedLoop
from dvla.benchmarks.dom.latency import Latency
from dvla.benchmarks.dom.observing import CAMERA_PERIOD_NS
from dvla.benchmarks.dom.result import CellConfig, EpisodeOutcome
from dvla.runtime.chunk import Chunk
from dvla.runtime.clock import NS_PER_S
from dvla.runtime.config import SchedulerConfig, ServoConfig
from dvla.runtime.limits import ArmLimits
from dvla.runtime.observation import Observation
from dvla.runtime.oracle.expert import ExpertConfig
from dvla.runtime.oracle.scene_expert import rollout_of
from dvla.runtime.pose import Float64, setpoints_from_actions
from dvla.runtime.robots import robot_with_twin
from dvla.runtime.twin.snapshot import TwinSnapshot
from dvla.runtime.twin.world import TwinWorld

STEP_S = CAMERA_PERIOD_NS / NS_PER_S
"""T: one action, one picture of each camera."""
TURNS = CAMERA_PERIOD_NS // ServoConfig().period_ns
NO_LATENCY = Latency(median_ms=0.0)
SCHEDULER = SchedulerConfig(lead_s=-STEP_S / 2)
"""A knot stands at the middle of its action's period; half a period later is the end of the step,
where the hand is meant to be. So an action is interpolated to from the one before it."""

APART_M = 0.08
"""Further from the last action than this, the arm has not followed it."""


class GivenAction:
    """A ``ChunkPolicy`` that answers with the action that it was given last.

    The servo plans 20 ms ahead, into the next step, before that step's action is known. There the
    motion goes on as it went from the action before to this one, at most as fast as the shaper
    lets it and within the workspace; a repeated action would brake the arm in every step.

    Args:
        limits: of the arm.
    """

    chunk_size = 2
    control_period_s = STEP_S

    def __init__(self, limits: ArmLimits) -> None:
        shaper, workspace = limits.shaper, limits.workspace
        self._reach = np.array([shaper.linear_velocity] * 3 + [shaper.angular_velocity] * 3)
        self._reach *= STEP_S
        self._lower, self._upper = np.array(workspace.lower), np.array(workspace.upper)
        self._actions: Float64 | None = None
        self._velocity: Float64 = np.zeros(3)

    def give(self, action: NDArray[np.float32]) -> None:
        """Take the action of the next step (7,)."""
        given = np.array(action, np.float64)
        change = np.zeros(6) if self._actions is None else given[:6] - self._actions[0, :6]
        change[3:] = (change[3:] + np.pi) % (2 * np.pi) - np.pi
        self._velocity = change[:3] / STEP_S
        on = given.copy()
        on[:6] += np.clip(change, -self._reach, self._reach)
        within = np.clip(on[:3], self._lower, self._upper)
        inside = (self._lower <= given[:3]) & (given[:3] <= self._upper)
        on[:3] = np.where(inside, within, on[:3])
        self._actions = np.stack([given, on])

    def motion(self) -> tuple[Float64, Float64] | None:
        """Return the last action as a setpoint (8,) and its velocity (3,) [m/s]; None before it."""
        if self._actions is None:
            return None
        return setpoints_from_actions(self._actions)[0], self._velocity

    def predict(
        self,
        observation: Observation,
        noise: NDArray[np.float32] | None = None,
        seed: int | None = None,
    ) -> Chunk:
        """Return the given action and where it leads; noise and seed change nothing."""
        assert self._actions is not None
        return Chunk(
            actions=self._actions.astype(np.float32),
            t_obs_ns=observation.t_obs_ns,
            inference_s=0.0,
            control_period_s=self.control_period_s,
        )

    def reset(self) -> None:
        """Forget the action before."""
        self._actions = None


class SteppedEpisode:
    """One episode from its first picture on.

    Args:
        config: of ``stepped_config``.
        world: of the twin; it is reset.
        seed: of the episode.

    Raises:
        RobotFault: the arm does not follow.
    """

    def __init__(self, config: CellConfig, world: TwinWorld, seed: int) -> None:
        self._policy = GivenAction(robot_with_twin(config.robot).twin_limits)
        self._loop = ClosedLoop(config, self._policy, world, seed)
        self._world = world
        self._loop.begin()

    def step(self, action: NDArray[np.float32]) -> EpisodeOutcome | None:
        """Play one control period out; return how the episode ended, or None.

        Args:
            action: (7,) absolute pose at the end of the step [m, rad] and gripper.
        """
        self._policy.give(action)
        for _ in range(TURNS):
            self._loop.turn()
            if self._loop.outcome is not None:
                break
        return self._loop.outcome

    @property
    def outcome(self) -> EpisodeOutcome | None:
        """How the episode ended, or None while it goes on."""
        return self._loop.outcome

    @property
    def snapshot(self) -> TwinSnapshot:
        """The true state now."""
        return self._world.snapshot()

    def expert_action(self, config: ExpertConfig | None = None) -> NDArray[np.float32]:
        """Return what the expert, which sees the true state, would do next (7,) [m, rad, -].

        Its motion goes on from the last action, which the hand is about to reach, unless the arm
        stopped on the way. Its actions hold about the middle of their periods; a step's is for the
        end of it.
        """
        snapshot = self.snapshot
        going_on = self._policy.motion()
        if going_on is not None:
            commanded, velocity = going_on
            apart_m = float(np.linalg.norm(commanded[:3] - snapshot.commanded[:3]))
            if apart_m < APART_M:
                snapshot = msgspec.structs.replace(
                    snapshot, commanded=commanded, commanded_velocity=velocity
                )
        first, second = rollout_of(config, snapshot).run(2, STEP_S)
        return np.array([*(first[:6] + second[:6]) / 2, first[6]], np.float32)

    def measures(self) -> dict[str, float | str]:
        """Return what happened so far: time, way, and what the arm's gate and shaper did."""
        state = self._loop.state
        return {
            "mode": state.mode,
            "reason": state.reason,
            "elapsed_s": round(self._loop.elapsed_s, 3),
            "path_m": self._loop.path_m,
            "tracking_m": state.tracking_m,
            "accepted": state.accepted,
            "rejected": sum(state.rejected.values()),
            "saturated_ticks": self._loop.saturated_ticks,
        }

    def close(self) -> None:
        """Let go of the stream."""
        self._loop.close()


def stepped_config(robot: str) -> CellConfig:
    """Return a cell without latency whose actions are reached at the end of their step."""
    return CellConfig(policy="given", robot=robot, latency=NO_LATENCY, scheduler=SCHEDULER)
