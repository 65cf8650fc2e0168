"""The arm of a digital twin: its world, driver and controller."""

from __future__ import annotations

from pathlib import Path

from dvla.bindings import SharedRing
from dvla.runtime.errors import ConfigError
from dvla.runtime.events import Event, EventSink
from dvla.runtime.phase import Phase
from dvla.runtime.processes.settings import Settings
from dvla.runtime.replay.journal import JournaledArmController
from dvla.runtime.robots.base import ArmDriver
from dvla.runtime.robots.delayed import DelayedDriver
from dvla.runtime.twin.objects import Task, parse_task

PERIOD_S = 0.004


class GatedSink:
    """Passes events on once it is opened; what the twin does before the run begins is not news.

    Args:
        sink: where they go.
    """

    def __init__(self, sink: EventSink) -> None:
        self._sink = sink
        self.open = False

    def emit(self, event: Event) -> None:
        """Take an event."""
        if self.open:
            self._sink.emit(event)


class TwinArm:
    """The twin's world, driver and controller, and the moment at which its episodes begin.

    Args:
        settings: of the run.
        events: where events go.
        now_ns: start of physics.
        calls: takes the journal of the controller.
    """

    def __init__(
        self, settings: Settings, events: EventSink, now_ns: int, calls: SharedRing
    ) -> None:
        from dvla.runtime.ik import DifferentialIk
        from dvla.runtime.twin.driver import TwinDriver
        from dvla.runtime.twin.world import TwinWorld, WorldConfig

        arm_model = Path(settings.arm_model) if settings.arm_model else None
        self._gate = GatedSink(events)
        self._seed = settings.seed
        self._begun_for = 0
        self._steps_before, self._lost_before_ns = 0, 0
        config = WorldConfig(
            robot=settings.robot, arm_model=arm_model, task=_task(settings), auto_restart=True
        )
        self.world = TwinWorld(config, self._gate)
        self.world.reset(settings.seed, now_ns)
        ik = DifferentialIk(PERIOD_S, self.world.body.joint_limits)
        driver: ArmDriver = TwinDriver(self.world, ik)
        if settings.inject_arm_s:
            driver = DelayedDriver(driver, round(settings.inject_arm_s * 1e9))
        self.controller = JournaledArmController(
            driver,
            settings.limits,
            events,
            now_ns,
            session=settings.session,
            calls=calls,
            shadow=settings.shadow,
            twin=True,
            robot=settings.robot,
            overrides=settings.overrides,
        )

    def tick(self, now_ns: int, phase: Phase) -> bool:
        """Advance physics and control to ``now_ns``.

        Episodes begin when the arm first follows a commander's policy; returns whether that was
        in this turn.
        """
        self.controller.tick(now_ns)
        commander = self.controller.commander
        acts = phase is Phase.POLICY and self.controller.mode == "follow"
        begins = acts and commander != self._begun_for
        if begins:
            self._gate.open, self._begun_for = True, commander
            self.world.reset(self._seed, now_ns, keep_arm=True)
            self._steps_before, self._lost_before_ns = self.world.steps, self.world.lost_ns
        return begins

    def snapshot(self) -> tuple[bytes, int]:
        """Return the world as bytes, and its time."""
        return self.world.snapshot_bytes(), self.world.t_ns

    def timekeeping(self) -> str:
        """Say in words whether physics has kept up with the clock since the run began."""
        steps = self.world.steps - self._steps_before
        lost_ms = (self.world.lost_ns - self._lost_before_ns) / 1e6
        return f"physics took {steps} steps and skipped {lost_ms:.0f} ms"


def _task(settings: Settings) -> Task:
    """Return what the twin's objects are drawn from: what the task names, or anything."""
    if not settings.task:
        return Task()
    try:
        return parse_task(settings.task)
    except ConfigError:
        if settings.policy == "oracle":
            raise
        return Task()  # a network may be asked for anything
