"""The configuration of a run: flags, a YAML file and the run folder's record are this one type."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import tyro

from dvla.engines.errors import UsageError
from dvla.runtime.arm_link import LOCAL, ArmLink
from dvla.runtime.config import Bootstrap, Resume, SchedulerConfig, SeamMode, ServoConfig
from dvla.runtime.errors import ConfigError
from dvla.runtime.overrides import parse_override
from dvla.runtime.pose import setpoints_from_actions
from dvla.runtime.robots import Robot, robot_by_name, robot_with_twin
from dvla.runtime.run_inputs import REPLAY, check_inputs
from dvla.runtime.twin.objects import parse_task

MAX_DURATION_S = 24 * 3600.0
MAX_INJECTED_MS = 10_000.0


class RunConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Close the loop: cameras, policy, stream, servo, arm controller, arm.

    Without --sim the real arm is meant; this version drives digital twins only.
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
    policy: Literal["bundle", "oracle"] = "bundle"
    """The bundle's network, or the oracle: an expert that sees the twin's true state."""
    backend: str = "onnxruntime"
    """Engine backend of the bundle."""
    task: str = ""
    """Instruction; the twin makes its own when empty."""
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
    inject_latency_ms: float = 0.0
    """Latency added to the policy's own [ms]."""
    servo_hz: int = 250
    """Commands per second to the arm controller."""
    engine_threads: int = 0
    """Threads of the engine; 0 lets it choose."""
    seed: int = 0
    """Seed of the twin's episodes."""
    arm_model: Path | None = None
    """MJCF file that replaces the look of the twin's arm."""
    arm_name: str = ""
    """Name of the arm: one lock and one set of sockets each; the robot's name when empty."""
    arm_address: str = ""
    """Arm controller to connect to instead of starting one: tcp://HOST:PORT, or local (by
    --arm-name on this host); dvla-arm run starts it."""
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
        )

    def servo(self) -> ServoConfig:
        """Return the servo's settings."""
        return ServoConfig(rate_hz=self.servo_hz)


def check(config: RunConfig) -> Robot:
    """Return the robot, or say what is wrong with the configuration.

    Raises:
        ConfigError: a value is out of its bounds, or the robot is unknown.
        UsageError: its parts do not go together.
    """
    check_inputs(config)
    replays = config.robot == REPLAY
    robot = robot_by_name(config.robot) if replays else robot_with_twin(config.robot)
    if not config.sim and not replays:
        raise UsageError(
            f"this version of dvla-run drives digital twins only, not a real {robot.name}",
            expected="--sim",
            next_command=f"dvla-run --robot {robot.name} --sim --policy oracle",
        )
    if config.policy == "oracle" and config.bundle is not None:
        raise UsageError(
            "--policy oracle runs no network, so --bundle has no meaning with it",
            next_command="leave one of the two out",
        )
    if config.policy == "oracle" and config.seam == "rtc":
        raise UsageError(
            "--seam rtc guides the sampling of a network; the oracle samples nothing",
            expected="--seam switch, blend or ensemble with --policy oracle",
        )
    if config.policy == "bundle" and config.bundle is None:
        raise UsageError(
            "nothing to run: --bundle is missing",
            expected="--bundle BUNDLE, made by dvla-export, or --policy oracle",
            next_command="dvla-export MODEL -o BUNDLE",
        )
    for name, value, high in (
        ("--duration", config.duration, MAX_DURATION_S),
        ("--inject-latency-ms", config.inject_latency_ms, MAX_INJECTED_MS),
    ):
        if not 0.0 <= value <= high:
            raise ConfigError(f"{name} is out of bounds", got=value, expected=f"0 to {high:g}")
    if config.keys and not config.arm_address:
        raise UsageError(
            "--keys has a meaning only with --arm-address",
            expected="--arm-address tcp://HOST:PORT, where dvla-arm run listens",
        )
    config.arm_link(robot.name).check()
    _check_modes(config)
    if config.task and config.policy == "oracle":
        parse_task(config.task)
    config.scheduler()
    config.servo()
    for text in config.override:
        parse_override(text)
    return robot


def _check_modes(config: RunConfig) -> None:
    if config.shadow and config.execute:
        raise UsageError("--shadow and --execute exclude each other", next_command="leave one out")
    for flag, given in (("--yes", config.yes), ("--return-to-start", config.return_to_start)):
        if given and not config.execute:
            raise UsageError(
                f"{flag} has no meaning without --execute", next_command="leave it out"
            )
    if config.execute and not config.may_execute:
        raise UsageError(
            "--execute needs a set-up that may move its arm",
            got="no --config file that says so",
            expected="--config FILE with may_execute: true in it",
        )
    if config.start_pose is not None:
        x, y, z, *angles = config.start_pose
        bounds = ((x, 2.0), (y, 2.0), (z, 2.0), *((angle, 2.0 * np.pi) for angle in angles))
        if not all(abs(value) <= bound for value, bound in bounds):
            raise ConfigError(
                "--start-pose is out of bounds",
                got=config.start_pose,
                expected="x y z within 2 m, angles within 2 pi rad",
            )


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
