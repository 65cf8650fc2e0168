"""What the supervisor tells its children: one struct, sent as JSON through their standard input."""

from __future__ import annotations

import msgspec

from dvla.runtime.arm_link import ArmLink
from dvla.runtime.cameras.frame_ring import FrameShape
from dvla.runtime.cameras.spec import CameraSpec
from dvla.runtime.config import SchedulerConfig, ServoConfig
from dvla.runtime.limits import ArmLimits
from dvla.runtime.overrides import SafetyOverride
from dvla.runtime.policy_api import HISTORY_STEPS
from dvla.runtime.robots import robot_by_name
from dvla.runtime.robots.hardware import Hardware


class Rings(msgspec.Struct, frozen=True, kw_only=True):
    """File descriptors of the shared memory, inherited by the children.

    Attributes:
        heartbeat: the heartbeat board; ``heartbeat_rows`` maps process names to rows.
        stream: the ActionStream between policy and servo.
        snapshot: the twin's snapshots.
        servo_ticks: rows of ``SERVO_TICK``.
        arm_calls: rows of ``ARM_CALL``.
        status: the recorder's newest RunStatus as JSON.
        clock: a ``ClockBoard``: the offset of the arm's clock.
        frames: camera frames by feature name.
    """

    heartbeat: int
    heartbeat_rows: dict[str, int]
    stream: int
    snapshot: int
    servo_ticks: int
    arm_calls: int
    status: int
    clock: int
    frames: dict[str, int]


NO_RINGS = Rings(
    heartbeat=-1,
    heartbeat_rows={},
    stream=-1,
    snapshot=-1,
    servo_ticks=-1,
    arm_calls=-1,
    status=-1,
    clock=-1,
    frames={},
)
"""Before shared memory is made."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of one run, the same for all of its processes.

    Attributes:
        session: random id of this run on the wire.
        supervisor_pid: parent of all processes.
        robot: name in the registry of robots.
        arm_name: the arm's own name: one lock and one set of sockets each.
        run_folder: where the recorder writes.
        policy: "bundle", "oracle", or the name of an installed policy.
        bundle: path of the bundle, with ``backend`` to run it on.
        noise_scale: of its sampling; None is the bundle's own.
        task: instruction; empty takes the twin's own.
        inject_latency_s: added to the policy's own latency.
        inject_camera_s: how much older than its time stamp a twin's picture is.
        inject_arm_s: how late a twin's arm hears its commands.
        chunk_size, control_period_s, history_steps, state_width: of the policy.
        seed: of the twin's episodes.
        arm_model: replaces the look of the twin.
        engine_threads: threads of the engine, 0 lets the engine choose.
        engine_cpus: CPUs that the engine stays on; empty for all.
        camera_specs: cameras by feature name; the twin's where none is named.
        camera_tolerance_s: how far a frame may be from its wanted time.
        mcap_bytes: size of the MCAP files that the recorder writes as well; 0 for none.
        must_record: the run ends when its recording does.
        episode: that ``--robot replay`` plays, as DATASET[:N].
        shadow: the arm controller begins in shadow: everything runs, nothing moves.
        start_pose: (8,) setpoint of the slow move before the policy; empty for none.
        hardware: where the real arm is; None for the digital twin.
        arm_link: how the arm controller is reached; by its name on this host when not given.
        arm_alone: the arm controller is not part of the run: ``dvla-arm run`` started it.
        sim: the arm is a digital twin.
        overrides: of the limits that its gate enforces.
        pids: of the processes started before this one.
    """

    session: int
    supervisor_pid: int
    robot: str
    arm_name: str
    run_folder: str
    policy: str
    scheduler: SchedulerConfig
    servo: ServoConfig
    rings: Rings
    cameras: dict[str, FrameShape]
    bundle: str = ""
    backend: str = "onnxruntime"
    noise_scale: float | None = None
    task: str = ""
    inject_latency_s: float = 0.0
    inject_camera_s: float = 0.0
    inject_arm_s: float = 0.0
    chunk_size: int = 20
    control_period_s: float = 0.04
    history_steps: tuple[int, ...] = HISTORY_STEPS
    state_width: int = 6
    seed: int = 0
    arm_model: str = ""
    engine_threads: int = 0
    engine_cpus: tuple[int, ...] = ()
    camera_fps: float = 25.0
    camera_specs: dict[str, CameraSpec] = {}
    camera_tolerance_s: float = 0.025
    episode: str = ""
    mcap_bytes: int = 0
    must_record: bool = False
    shadow: bool = False
    start_pose: tuple[float, ...] = ()
    hardware: Hardware | None = None
    arm_link: ArmLink | None = None
    arm_alone: bool = False
    sim: bool = True
    overrides: tuple[SafetyOverride, ...] = ()
    pids: dict[str, int] = {}

    @property
    def limits(self) -> ArmLimits:
        """What the gate of this arm enforces."""
        return robot_by_name(self.robot).limits_for(sim=self.sim)

    @property
    def has_world(self) -> bool:
        """Whether there is a world whose snapshots begin the episodes: of a twin, or a replay."""
        return self.sim or bool(self.episode)

    @property
    def link(self) -> ArmLink:
        """How the arm controller is reached."""
        return self.arm_link or ArmLink(name=self.arm_name)
