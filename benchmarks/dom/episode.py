"""One episode in one process under a virtual clock, with the classes that drive real arms.

Twin, driver, arm controller, servo, stream, scheduler and policy loop are those of a run; only the
clock, the wire and the cameras' process are replaced. So latency is injected exactly, and the same
seed gives the same result on any machine, however loaded.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from dvla.benchmarks.dom.cameras import Exposures, Render
from dvla.benchmarks.dom.latency import VirtualRunner
from dvla.benchmarks.dom.motion import DimensionMeasures, MotionMeter
from dvla.benchmarks.dom.observing import (
    CAMERA_PERIOD_NS,
    ReadyWatch,
    assembler_for,
    frames_kept,
    period_ns_of,
    states_for,
)
from dvla.benchmarks.dom.result import CellConfig, EpisodeOutcome, EpisodeResult
from dvla.benchmarks.dom.seeded import seeded
from dvla.runtime.arm import ArmController
from dvla.runtime.clock import NS_PER_S, VirtualClock
from dvla.runtime.config import ServoConfig
from dvla.runtime.errors import RobotFault
from dvla.runtime.events import ArmModeChanged, Event
from dvla.runtime.ik import DifferentialIk
from dvla.runtime.messages import FollowRequest, LeaseRequest
from dvla.runtime.policy_api import ChunkPolicy
from dvla.runtime.policy_loop import PolicyLoop
from dvla.runtime.robots import robot_with_twin
from dvla.runtime.scheduler import Scheduler
from dvla.runtime.servo import ServoCore
from dvla.runtime.telemetry import SERVO_TICK
from dvla.runtime.timeline import Timeline, publish_timeline
from dvla.runtime.twin.driver import TwinDriver
from dvla.runtime.twin.scenes.spec import SceneSpec
from dvla.runtime.twin.snapshot import TwinSnapshot
from dvla.runtime.twin.world import TwinWorld

_SESSION, _ARM_SESSION = 1, 2
_HANDSHAKE_S = 0.5


class EventLog:
    """Keeps the events of an episode, in order."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def emit(self, event: Event) -> None:
        """Take an event."""
        self.events.append(event)


class ClosedLoop:
    """Everything between a policy and the twin for one episode.

    Args:
        config: the cell.
        policy: what infers.
        world: of the twin; it is reset.
        seed: of the episode.
        render: makes pictures; None for policies that need none.
        servo: rate and horizon of the servo; the runtime's own by default.
        watch_plan: called with every timeline that is published.
        watch_exposure: called with the true state at every control step.
    """

    def __init__(
        self,
        config: CellConfig,
        policy: ChunkPolicy,
        world: TwinWorld,
        seed: int,
        render: Render | None = None,
        *,
        servo: ServoConfig | None = None,
        watch_plan: Callable[[Timeline], object] | None = None,
        watch_exposure: Callable[[TwinSnapshot], object] | None = None,
    ) -> None:
        from dvla.bindings import ActionStream

        self.clock = VirtualClock()
        self.log = EventLog()
        self.world, self._seed = world, seed
        servo = servo or ServoConfig()
        self._tick_ns = servo.period_ns
        now_ns = self.clock.now_ns()
        world.reset(seed, now_ns)
        limits = robot_with_twin(config.robot).twin_limits
        ik = DifferentialIk(servo.period_ns / NS_PER_S, world.body.joint_limits)
        driver = TwinDriver(world, ik)
        self.arm = ArmController(driver, limits, self.log, now_ns, session=_ARM_SESSION)
        self._stream = ActionStream.create()
        self.servo = ServoCore(
            ActionStream.attach(self._stream.fd), limits, servo, session=_SESSION
        )
        self.scheduler = Scheduler(
            config.scheduler,
            chunk_size=policy.chunk_size,
            control_period_ns=period_ns_of(policy),
            sink=self.log,
            publish=self._publish,
        )
        self._watch_plan = watch_plan
        self._watch_exposure = watch_exposure
        self._states = states_for(policy, self._tick_ns)
        self._exposures = Exposures(frames_kept(policy))
        self._runner = VirtualRunner(config.latency, seed)
        self._loop = PolicyLoop(
            policy,
            assembler_for(policy, self._exposures, self._states, render),
            self.scheduler,
            runner=self._runner,
        )
        self._ready = ReadyWatch()
        self._started = False
        self._start_ns = self._epoch = 0
        self.state = self.arm.state(now_ns)
        self.ages_s: list[float] = []
        self.path_m = self.tracking_max_m = 0.0
        self._motion = MotionMeter() if config.dimension else None

    def run(self, max_s: float = math.inf) -> EpisodeOutcome:
        """Begin the episode and play it out.

        Args:
            max_s: cut the episode off after this time, as a timeout [s].

        Raises:
            RobotFault: the arm does not follow.
            StaleObservation: the policy is given nothing to see.
        """
        self.begin()
        while self.outcome is None:
            if self.elapsed_s >= max_s:
                return "timeout"
            self.turn()
        return self.outcome

    def begin(self) -> None:
        """Take the lease, wait until the arm follows, and put the object there.

        Raises:
            RobotFault: the arm does not follow.
        """
        now_ns = self.clock.now_ns()
        self.arm.handle(LeaseRequest(session=_SESSION, sequence=1, holder="benchmark"), now_ns)
        self.arm.handle(FollowRequest(session=_SESSION, sequence=2), now_ns)
        self._handshake()
        self._start()

    @property
    def outcome(self) -> EpisodeOutcome | None:
        """How the episode ended, or None while it goes on; a fault of the arm ends it too."""
        if self.world.outcome is None and self.arm.mode == "fault":
            return "fault"
        return self.world.outcome

    def _handshake(self) -> None:
        deadline_ns = self.clock.now_ns() + round(_HANDSHAKE_S * NS_PER_S)
        while not self.servo.synchronised:
            if self.clock.now_ns() > deadline_ns:
                raise RobotFault(
                    "The arm does not follow the servo",
                    got=f"mode {self.arm.mode}: {self.state.reason}, refused {self.state.rejected}",
                    expected=f"to follow within {_HANDSHAKE_S} s",
                )
            self.turn()

    def _start(self) -> None:
        """Put the object on the table, on the cameras' grid."""
        now_ns = self.clock.now_ns()
        self._start_ns = now_ns
        spec = self.world.reset(self._seed, now_ns, keep_arm=True)
        self._loop.new_episode(now_ns, now_ns, spec.instruction)
        self._epoch = self.state.arm_epoch
        self._started = True
        self._expose()

    def turn(self) -> None:
        """Take one servo period: cameras, policy, servo, gate, arm and physics."""
        now_ns = self.clock.now_ns()
        if self._started:
            self._runner.advance(now_ns)
            self._loop.tick(now_ns, self._exposures.at)
            self._ready.look(self._loop.unready, now_ns)
        command = self.servo.tick(now_ns, self.state)
        if command is not None:
            self.arm.on_command(command, now_ns)
            if command.t_obs_ns:
                self.ages_s.append((now_ns - command.t_obs_ns) / NS_PER_S)
        now_ns += self._tick_ns
        self.clock.advance_to(now_ns)
        self.arm.tick(now_ns)
        before = self.state
        self.state = self.arm.state(now_ns)
        self.path_m += math.dist(self.state.measured[:3], before.measured[:3])
        if self._started and self._motion is not None:
            self._motion.add(now_ns, self.state)
        self.tracking_max_m = max(self.tracking_max_m, self.state.tracking_m)
        self._states.add(now_ns, np.asarray(self.state.measured))
        self._watch_epoch(now_ns)
        if self._started and (now_ns - self._start_ns) % CAMERA_PERIOD_NS == 0:
            self._expose()

    def _expose(self) -> None:
        snapshot = self.world.snapshot()
        self._exposures.expose(snapshot)
        if self._watch_exposure is not None:
            self._watch_exposure(snapshot)

    def _publish(self, timeline: Timeline) -> None:
        publish_timeline(timeline, self._stream)
        if self._watch_plan is not None:
            self._watch_plan(timeline)

    def _watch_epoch(self, now_ns: int) -> None:
        """Tell the scheduler when the arm has stopped by itself, as the policy process does."""
        if self._started and self.state.arm_epoch != self._epoch:
            self._epoch = self.state.arm_epoch
            self.scheduler.on_hold(now_ns, self.state.reason)

    @property
    def elapsed_s(self) -> float:
        """Time since the object appeared [s]."""
        return (self.clock.now_ns() - self._start_ns) / NS_PER_S

    def of_a_dimension(self) -> DimensionMeasures:
        """What episodes of a dimension tell besides; nothing for the plain scene."""
        spec = self.world.spec
        if self._motion is None or not isinstance(spec, SceneSpec):
            return {}
        return self._motion.measures(spec, self.clock.now_ns(), self._tick_ns / NS_PER_S)

    @property
    def saturated_ticks(self) -> int:
        """Servo ticks on which the shaper limited the motion."""
        row = np.zeros(1, SERVO_TICK)[0]
        self.servo.fill(row)
        return int(row["saturated"])

    def close(self) -> None:
        """Let go of the stream."""
        self.arm.close()
        self._stream.close()


def run_episode(
    config: CellConfig,
    policy: ChunkPolicy,
    world: TwinWorld,
    seed: int,
    render: Render | None = None,
) -> EpisodeResult:
    """Run one episode.

    Args:
        config: the cell.
        policy: what infers; it is reset.
        world: of the twin; it is reset.
        seed: of the episode, its object and its latencies.
        render: makes pictures; None for policies that need none.
    """
    policy.reset()
    loop = ClosedLoop(config, seeded(policy, seed), world, seed, render)
    try:
        return _result(loop, loop.run(), seed)
    finally:
        loop.close()


def _result(loop: ClosedLoop, outcome: EpisodeOutcome, seed: int) -> EpisodeResult:
    """Add up what the episode left behind."""
    counters, state, spec = loop.scheduler.counters, loop.state, loop.world.spec
    ages_s = np.array(loop.ages_s or [0.0])
    return EpisodeResult(
        seed=seed,
        kind=spec.kind,
        speed=round(spec.speed, 4),
        outcome=outcome,
        success=outcome == "success",
        completion_s=round(loop.elapsed_s, 3),
        path_m=round(loop.path_m, 4),
        inferences=counters.inferences,
        chunks_merged=counters.chunks_merged,
        actions_stale=counters.actions_stale,
        actions_executed=counters.actions_executed,
        underruns=counters.underruns,
        seam_max_m=round(counters.seam_max_m, 5),
        accepted=state.accepted,
        rejected=sum(state.rejected.values()),
        rejected_by=dict(state.rejected),
        stops=sum(isinstance(e, ArmModeChanged) and e.mode == "stopping" for e in loop.log.events),
        saturated_ticks=loop.saturated_ticks,
        observation_age_p50_s=round(float(np.median(ages_s)), 4),
        observation_age_max_s=round(float(ages_s.max()), 4),
        tracking_max_m=round(loop.tracking_max_m, 4),
        **loop.of_a_dimension(),
    )
