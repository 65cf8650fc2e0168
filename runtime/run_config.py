"""The configuration of a run: flags, a YAML file and the run folder's record are this one type."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import tyro

from dvla.runtime.arm_link import LOCAL, ArmLink
from dvla.runtime.config import (
    Bootstrap,
    GuideFade,
    Resume,
    SchedulerConfig,
    SeamMode,
    ServoConfig,
)
from dvla.runtime.errors import ConfigError
from dvla.runtime.pose import setpoints_from_actions
from dvla.runtime.robots import Robot
from dvla.runtime.robots.hardware import FULL_SPEED_PERCENT

BUNDLE, ORACLE = "bundle", "oracle"


class RunConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Close the loop: cameras, policy, stream, servo, arm controller, arm.

    Without --sim the real arm is meant, in shadow unless --execute is given: over its own
    connection (--can, --host), or by a controller that runs elsewhere (--arm-address).
    """

    robot: str = "franka"
    """Robot to run on; replay plays a recorded episode (--episode) and moves nothing."""
    sim: bool = False
    """Run on the robot's digital twin."""
    shadow: bool = False
    """Everything runs and nothing moves: commands are judged, counted and played to nobody. On
    real arms that is so unless --execute is given; on the twin it has to be asked for."""
    execute: bool = False
    """Move the arm, after a preflight that passed in shadow on this very set-up. The --config file
    has to say may_execute: true. On the twin it goes through the same sequence."""
    yes: bool = False
    """Confirm --execute without typing the arm's name; for scripts that answer for it."""
    start_pose: tuple[float, float, float, float, float, float] | None = None
    """Where the policy starts: x y z [m], extrinsic xyz Euler angles [rad] in the base frame. With
    --execute the arm first moves there slowly. The robot's own when not given."""
    return_to_start: bool = False
    """With --execute: on a normal end, move slowly back to the start pose."""
    may_execute: tyro.conf.Suppress[tyro.conf.Fixed[bool]] = False
    """Set in a --config file alone: whether this set-up may move an arm at all."""
    camera: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """A camera of the policy, ROLE=KIND:SOURCE[,key=value...], as opst=v4l2:/dev/video0 or
    wrist=realsense:SERIAL,fit=crop-resize; once for each; the twin's otherwise."""
    camera_tolerance_ms: float = 25.0
    """How far a frame may be from the time that an observation wants it at [ms]."""
    latency: Path | None = None
    """Delays of this set-up, found by dvla-calibrate latency: setpoints are due earlier by the
    arm's, and pictures are dated earlier by their camera's."""
    episode: str = ""
    """Recorded episode of --robot replay, DATASET[:N]: a LeRobot dataset, or a run folder."""
    bundle: Path | None = None
    """Bundle written by dvla-export."""
    policy: str = BUNDLE
    """The bundle's network; oracle: an expert that sees the twin's true state; stop-and-go: a small
    motion about the start, to measure a set-up by; or NAME[:ARGUMENT] of a policy that an installed
    package offers."""
    backend: str = "onnxruntime"
    """Engine backend of the bundle."""
    noise_scale: float | None = None
    """What the noise that a bundle's chunks are sampled from is multiplied with; its own when not
    given. Less makes successive chunks more alike."""
    task: str = ""
    """Instruction; the twin makes its own when empty, a real arm needs one."""
    duration: float = 20.0
    """How long to run [s]; 0 runs until Ctrl-C."""
    ci: bool = True
    """Continuous inference: start the next inference as soon as the previous one ends."""
    laas: bool = True
    """Latency-aware action streaming: drop stale actions; the newest observation wins."""
    bootstrap: Bootstrap = "anchor"
    """First chunk after a start or a hold: anchor it at its arrival, or discard what is stale."""
    resume: Resume = "discard"
    """First chunk after an underrun: discard what is stale, or anchor it at its arrival."""
    seam: SeamMode = "switch"
    """How one chunk takes over from another: switch at once; blend over --blend-steps; ensemble
    averages all chunks that cover an instant; rtc guides the network's sampling by the previous
    chunk (both with --laas; without it chunks do not overlap)."""
    blend_steps: int = 4
    """Steps of the cross-fade of --seam blend."""
    guide: GuideFade = "published"
    """How the guide of --seam rtc fades behind what the arm is committed to: as published; aged,
    faster the older its observation is, for fast objects and policies that are late."""
    inject_latency_ms: float = 0.0
    """Latency added to the policy's own [ms]."""
    inject_camera_ms: float = 0.0
    """With --sim: pictures show what was this long before their time stamps [ms]."""
    inject_arm_ms: float = 0.0
    """With --sim: the arm hears its commands this late [ms]."""
    servo_hz: int = 250
    """Commands per second to the arm controller, 60 to 1000; its turns, 250 per second, take the
    newest."""
    engine_threads: int = 0
    """Threads of the engine; 0 lets it choose, or has one for each of --engine-cpus."""
    engine_cpus: tuple[int, ...] = ()
    """CPUs that the engine stays on, which leaves the others to the servo; all when not given."""
    seed: int = 0
    """Seed of the twin's episodes."""
    arm_model: Path | None = None
    """MJCF file that replaces the look of the twin's arm."""
    arm_name: str = ""
    """Name of the arm: one lock and one set of sockets each; the robot's name when empty."""
    arm_address: str = ""
    """Arm controller to connect to instead of starting one: tcp://HOST:PORT, or local (by
    --arm-name on this host); dvla-arm run starts it."""
    can: str = ""
    """CAN bus of a real PiPER, can0 or slcan:/dev/ttyACM0: the run starts its controller."""
    speed_percent: int = FULL_SPEED_PERCENT
    """Share of full joint speed with which a real PiPER follows (--can) [%]."""
    host: str = ""
    """Address of a real Franka's control box: the run starts its controller."""
    load_kg: float = 0.0
    """What a real Franka carries besides its hand (--host), as set in its Desk [kg]."""
    realtime: bool = True
    """Insist on a real-time kernel for a real Franka (--host)."""
    keys: str = ""
    """Name of this host's key (dvla-keys make); beyond the loopback TCP needs keys."""
    arm_key: str = "arm"
    """Public key of the arm controller: its name among the keys, its file, or itself."""
    override: tuple[str, ...] = ()
    """Limits of the arm to widen for a time: NAME=VALUE:SECONDS:REASON, recorded with the run."""
    out: Path = Path("runs")
    """Folder in which the run folder is made."""
    mcap: bool = False
    """Record the run as MCAP as well, every picture included, beside the run folder's own files."""
    viz: bool = False
    """Show the run in rerun while it goes on, from a process of its own; implies --mcap. Without a
    display run.rrd is written into the run folder."""
    mcap_mb: int = 256
    """Size of each MCAP file [MiB]; the next one is begun when it is full."""
    require_recording: bool = False
    """End the run when its recorder is starved or its disk is full, instead of saying so and going
    on."""
    plain: bool = False
    """Log lines instead of the live panel."""
    json: bool = False
    """Print the summary as JSON."""
    debug: bool = False
    """Show tracebacks."""

    def arm_link(self, robot: str) -> ArmLink:
        """Return how the arm controller is reached."""
        return ArmLink(
            name=self.arm_name or robot,
            address=self.arm_address or LOCAL,
            keys=self.keys,
            arm_key=self.arm_key,
        )

    @property
    def in_shadow(self) -> bool:
        """Whether the arm controller begins in shadow; with --execute it does, too."""
        return self.shadow or self.execute or not self.sim

    def goal(self, robot: Robot) -> tuple[float, ...]:
        """Return the setpoint (8,) of the start pose; empty where the policy starts anywhere."""
        pose = self.start_pose or robot.start_pose
        if not pose:
            return ()
        setpoint = setpoints_from_actions(np.array([[*pose, 1.0]]))[0]
        return tuple(setpoint.tolist())

    def scheduler(self) -> SchedulerConfig:
        """Return the scheduler's switches."""
        return SchedulerConfig(
            ci=self.ci,
            laas=self.laas,
            bootstrap=self.bootstrap,
            resume=self.resume,
            seam=self.seam,
            blend_steps=self.blend_steps,
            guide=self.guide,
        )

    def servo(self) -> ServoConfig:
        """Return the servo's settings."""
        return ServoConfig(rate_hz=self.servo_hz)


def load_run_config(path: Path) -> RunConfig:
    """Read a run configuration from YAML; the keys are the flags' names with underscores.

    Raises:
        ConfigError: it cannot be read, or holds an unknown key or a wrong type.
    """

    def decode_path(kind: type, value: Any) -> Any:
        return Path(value) if kind is Path else value

    try:
        config = msgspec.yaml.decode(path.read_bytes(), type=RunConfig, dec_hook=decode_path)
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(
            f"the configuration {path} cannot be used",
            got=str(error),
            expected="a YAML mapping whose keys are the flags of dvla-run",
            next_command="dvla-run --help",
        ) from error
    for name in ("execute", "yes"):
        if getattr(config, name):
            raise ConfigError(
                f"the configuration {path} sets {name}",
                expected=f"--{name} on the command line: a file allows motion (may_execute: true), "
                "a person asks for it",
            )
    return config
