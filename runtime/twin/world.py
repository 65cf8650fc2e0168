"""The world of the twin: physics that keeps a given time, and episodes one after another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from dvla.runtime.clock import NS_PER_S
from dvla.runtime.events import EpisodeEnded, EpisodeStarted, EventSink
from dvla.runtime.twin.bodies import twin_body
from dvla.runtime.twin.dependencies import import_mujoco
from dvla.runtime.twin.episodes import EpisodeJudge, Outcome
from dvla.runtime.twin.objects import EpisodeSpec, Task, draw_episode, task_code
from dvla.runtime.twin.scene import PHYSICS_STEP_S, build_model, dress_object
from dvla.runtime.twin.scene import object_start as start_of
from dvla.runtime.twin.scenes.choice import SceneChoice
from dvla.runtime.twin.scenes.disturb import Disturbances
from dvla.runtime.twin.scenes.draw import draw_scene
from dvla.runtime.twin.scenes.judge import SceneJudge
from dvla.runtime.twin.scenes.model import build_scene, joint_name, scene_starts
from dvla.runtime.twin.scenes.spec import SceneSpec
from dvla.runtime.twin.snapshot import ARM_DOF, OTHERS_SHAPE, TwinSnapshot, pack_snapshot

STEP_NS = round(PHYSICS_STEP_S * NS_PER_S)
MAX_CATCH_UP_S = 0.1
"""Physics behind by more than this skips the rest, counted: a stalled host must not spiral."""
_GRIP_LEAD_M = 0.005
_JUDGE_EVERY_STEPS = 5
Float64 = NDArray[np.float64]
_Start = tuple[Float64, Float64]


class WorldConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the world of the twin is made of.

    Attributes:
        robot: whose twin.
        arm_model: MJCF file that replaces the arm's look.
        task: what objects to draw; any by default.
        scene: scenes of the benchmark in place of the plain pick scene; then ``task`` says nothing.
        auto_restart: begin the next episode (next seed) ``pause_s`` after one ends; the arm stays
            where it is. Otherwise the world goes on with nothing judged.
        pause_s: time between an end and the next start [s].
    """

    robot: str = "franka"
    arm_model: Path | None = None
    task: Task = Task()
    scene: SceneChoice | None = None
    auto_restart: bool = False
    pause_s: float = 1.0


class TwinWorld:
    """Arm, table and objects; time moves only in ``advance``.

    Args:
        config: what it is made of.
        sink: takes EpisodeStarted and EpisodeEnded.
    """

    def __init__(self, config: WorldConfig | None = None, sink: EventSink | None = None) -> None:
        self._mujoco = import_mujoco()
        self._config = config or WorldConfig()
        self._sink = sink
        self.body = twin_body(self._config.robot)
        self.body.refuse_look(self._config.arm_model)
        self._dof = len(self.body.joints)
        self._load(build_model(self._config.arm_model, self.body))
        self._commanded = np.zeros(8)
        self._commanded_velocity = np.zeros(3)
        self._finger_goal_m = self.body.finger_travel_m
        self._t_ns = 0
        self._next_start_ns: int | None = None
        self.steps = 0
        self.lost_ns = 0
        self.episode = -1
        self.outcome: Outcome | None = None
        self.spec: EpisodeSpec | SceneSpec
        self._scene: SceneSpec | None = None
        self._judge: EpisodeJudge | SceneJudge
        self._disturbances: Disturbances | None = None
        self._sink = None  # what happens before the first reset of the owner is not news
        self.reset(0, 0)
        self._sink = sink

    def _load(self, model: Any, objects: int = 1) -> None:
        """Take a model: the arm's joints and the objects' by their names."""
        self.model, self.data = model, self._mujoco.MjData(model)
        names = (*self.body.joints, *self.body.fingers)
        self._qpos_at = np.array([model.joint(name).qposadr[0] for name in names])
        self._qvel_at = np.array([model.joint(name).dofadr[0] for name in names])
        self._ctrl_at = np.array([model.actuator(name).id for name in names])
        free = [model.joint(joint_name(index)) for index in range(objects)]
        self._object_qpos = [slice(j.qposadr[0], j.qposadr[0] + 7) for j in free]
        self._object_qvel = [slice(j.dofadr[0], j.dofadr[0] + 6) for j in free]
        self._site = model.site(self.body.tcp_site).id
        self._jacobian = np.zeros((6, model.nv))

    def _set_up(self, seed: int, now_ns: int) -> list[_Start]:
        """Draw the episode, put its objects into the model and return how they start."""
        choice, layout = self._config.scene, self.body.layout
        if choice is None:
            self.spec = draw_episode(seed, self._config.task, layout)
            dress_object(self.model, self.spec)
            self._judge = EpisodeJudge(self.spec, now_ns, layout)
            return [start_of(self.spec)]
        scene = draw_scene(seed, choice, layout)
        if self._scene is not scene:
            arm = [self.data.qpos[self._qpos_at], self.data.qvel[self._qvel_at]]
            targets = self.data.ctrl[self._ctrl_at]
            self._load(build_scene(scene, self._config.arm_model, self.body), len(scene.things))
            self.data.qpos[self._qpos_at], self.data.qvel[self._qvel_at] = arm
            self.data.ctrl[self._ctrl_at] = targets
        self.spec = self._scene = scene
        self._judge = SceneJudge(scene, now_ns, layout)
        self._disturbances = Disturbances(scene, self.model, now_ns)
        return scene_starts(scene)

    def reset(self, seed: int, now_ns: int, *, keep_arm: bool = False) -> EpisodeSpec | SceneSpec:
        """Begin an episode: its objects on the table, the arm at home unless it is kept.

        Args:
            seed: names the episode.
            now_ns: the time that physics has from here on.
            keep_arm: leave the arm as it is and replace only the objects.
        """
        starts = self._set_up(seed, now_ns)
        self._t_ns = now_ns
        self._first_step = self.steps
        self._next_start_ns = None
        self.episode += 1
        self.outcome = None
        if not keep_arm:
            self._mujoco.mj_resetData(self.model, self.data)
            open_m = self.body.finger_travel_m
            home = np.array([*self.body.start_q, open_m, open_m])
            self.data.qpos[self._qpos_at] = home
            self.data.ctrl[self._ctrl_at] = home
            self._finger_goal_m = open_m
        rows = zip(self._object_qpos, self._object_qvel, starts, strict=True)
        for qpos_at, qvel_at, (qpos, qvel) in rows:
            self.data.qpos[qpos_at] = qpos
            self.data.qvel[qvel_at] = qvel
        self._mujoco.mj_forward(self.model, self.data)
        if not keep_arm:
            self._commanded = self.measured()
            self._commanded_velocity = np.zeros(3)
        self._emit_started(now_ns)
        return self.spec

    def advance(self, now_ns: int) -> int:
        """Step physics up to ``now_ns``; return how many steps that took."""
        behind_ns = now_ns - self._t_ns
        if behind_ns > MAX_CATCH_UP_S * NS_PER_S:
            lost_ns = behind_ns - round(MAX_CATCH_UP_S * NS_PER_S)
            self.lost_ns += lost_ns
            self._t_ns += lost_ns
        steps = max(0, (now_ns - self._t_ns) // STEP_NS)
        for _ in range(steps):
            self._step()
        return int(steps)

    def _step(self) -> None:
        """Step once: fingers move at their own speed, the judge looks now and then."""
        fingers = self._ctrl_at[self._dof :]
        reach = self.body.finger_speed * PHYSICS_STEP_S
        target = self.data.ctrl[fingers]
        if self._scene is not None:
            # The grip is at its full force with this lead; more would delay letting go. (The plain
            # scene never lets go, and stays as its records have it.)
            target = np.maximum(target, self.data.qpos[self._qpos_at[self._dof :]] - _GRIP_LEAD_M)
        self.data.ctrl[fingers] = target + np.clip(self._finger_goal_m - target, -reach, reach)
        if self._disturbances is not None:
            self._disturbances.apply(self.data, self._t_ns)
        self._mujoco.mj_step(self.model, self.data)
        self.steps += 1
        self._t_ns += STEP_NS
        if self._next_start_ns is not None and self._t_ns >= self._next_start_ns:
            self.reset(self.spec.seed + 1, self._t_ns, keep_arm=True)
        elif self.outcome is None and (self.steps - self._first_step) % _JUDGE_EVERY_STEPS == 0:
            self._look()

    def _look(self) -> None:
        """Let the judge look, and end the episode when it says so."""
        tcp_at = self.data.site_xpos[self._site]
        poses = [self.data.qpos[at] for at in self._object_qpos]
        outcome = self._judge.look(poses, tcp_at, self._t_ns)
        if outcome is None:
            return
        self.outcome = outcome
        if self._config.auto_restart:
            self._next_start_ns = self._t_ns + round(self._config.pause_s * NS_PER_S)
        if self._sink is not None:
            self._sink.emit(
                EpisodeEnded(
                    t_ns=self._t_ns,
                    episode=self.episode,
                    outcome=outcome,
                    duration_s=(self._t_ns - self._judge.start_ns) / NS_PER_S,
                )
            )

    def _emit_started(self, now_ns: int) -> None:
        if self._sink is not None:
            self._sink.emit(
                EpisodeStarted(
                    t_ns=now_ns,
                    episode=self.episode,
                    seed=self.spec.seed,
                    text=self.spec.instruction,
                )
            )

    def drive(self, q: Float64, finger_m: float, setpoint: Float64, velocity: Float64) -> None:
        """Give the servos their targets.

        Args:
            q: (n,) [rad].
            finger_m: travel of each finger [m].
            setpoint: (8,) that they stand for; kept for snapshots.
            velocity: (3,) of the setpoint's position [m/s]; kept for snapshots.
        """
        self.data.ctrl[self._ctrl_at[: self._dof]] = q
        self._finger_goal_m = finger_m
        self._commanded = setpoint.copy()
        self._commanded_velocity = velocity.copy()

    @property
    def t_ns(self) -> int:
        """Time of physics [ns]."""
        return self._t_ns

    @property
    def q(self) -> NDArray[np.float64]:
        """Arm joint positions (n,) [rad], a copy."""
        return np.array(self.data.qpos[self._qpos_at[: self._dof]])

    @property
    def dq(self) -> NDArray[np.float64]:
        """Arm joint velocities (n,) [rad/s], a copy."""
        return np.array(self.data.qvel[self._qvel_at[: self._dof]])

    def measured(self) -> NDArray[np.float64]:
        """Return the measured TCP pose and gripper opening as a setpoint (8,)."""
        setpoint = np.empty(8)
        setpoint[:3] = self.data.site_xpos[self._site]
        self._mujoco.mju_mat2Quat(setpoint[3:7], self.data.site_xmat[self._site])
        width = float(self.data.qpos[self._qpos_at[self._dof :]].sum())
        setpoint[7] = np.clip(width / self.body.finger_travel_m - 1.0, -1.0, 1.0)
        return setpoint

    def twist(self) -> NDArray[np.float64]:
        """Return the measured TCP velocity (6,) [m/s, rad/s] in the base frame."""
        linear, angular = self._jacobian[:3], self._jacobian[3:]
        self._mujoco.mj_jacSite(self.model, self.data, linear, angular, self._site)
        return np.asarray(self._jacobian @ self.data.qvel)

    def snapshot(self) -> TwinSnapshot:
        """Return the whole state now."""
        kind, colour = task_code(self._config.task)
        qpos, qvel = self.data.qpos, self.data.qvel
        others = np.zeros(OTHERS_SHAPE)
        for row, at, rate in zip(
            others, self._object_qpos[1:], self._object_qvel[1:], strict=False
        ):
            row[:7], row[7:] = qpos[at], qvel[rate]
        choice = self._config.scene
        return TwinSnapshot(
            arm=self.body.code,
            episode=self.episode,
            seed=self.spec.seed,
            kind=kind,
            colour=colour,
            scene=choice.code if choice else 0,
            t_ns=self._t_ns,
            qpos=self._in_slots(qpos[self._qpos_at], qpos[self._object_qpos[0]]),
            qvel=self._in_slots(qvel[self._qvel_at], qvel[self._object_qvel[0]]),
            others=others,
            measured=self.measured(),
            twist=self.twist(),
            commanded=self._commanded.copy(),
            commanded_velocity=self._commanded_velocity.copy(),
        )

    def _in_slots(self, own: Float64, thing: Float64) -> Float64:
        """Return a snapshot's row of the arm's own joints and fingers, and the first object."""
        unused = np.zeros(ARM_DOF - self._dof)
        return np.concatenate([own[: self._dof], unused, own[self._dof :], thing])

    def snapshot_bytes(self) -> bytes:
        """Return the whole state now as ``SNAPSHOT_BYTES`` bytes, for a shared ring."""
        return pack_snapshot(self.snapshot())
