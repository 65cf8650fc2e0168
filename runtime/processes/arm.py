"""The arm process of a twin: physics, driver and arm controller at one rate, behind the wire."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from dvla.bindings import ServoClock, SharedRing
from dvla.runtime.addresses import ArmAddresses
from dvla.runtime.clock import monotonic_ns
from dvla.runtime.errors import ConfigError
from dvla.runtime.events import Event, EventSink, Note
from dvla.runtime.lock import lock_arm
from dvla.runtime.messages import ShutdownRequest
from dvla.runtime.phase import Phase
from dvla.runtime.processes.child import Child, run_child
from dvla.runtime.processes.settings import Settings
from dvla.runtime.replay.journal import JournaledArmController
from dvla.runtime.robots import robot_by_name
from dvla.runtime.twin.objects import Task, parse_task
from dvla.runtime.wire import (
    CommandSubscriber,
    ControlServer,
    EventPusher,
    StatePublisher,
)

STATE_EVERY = 2  # controller ticks per published state
SHUTDOWN_WAIT_NS = 1_500_000_000


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
        from dvla.runtime.twin.driver import TwinDriver
        from dvla.runtime.twin.ik import DifferentialIk
        from dvla.runtime.twin.world import TwinWorld, WorldConfig

        arm_model = Path(settings.arm_model) if settings.arm_model else None
        self._gate = GatedSink(events)
        self._seed = settings.seed
        self._steps_before, self._lost_before_ns = 0, 0
        config = WorldConfig(arm_model=arm_model, task=_task(settings), auto_restart=True)
        self.world = TwinWorld(config, self._gate)
        self.world.reset(settings.seed, now_ns)
        driver = TwinDriver(self.world, DifferentialIk(self.period_s, arm_model))
        limits = robot_by_name(settings.robot).limits
        self.controller = JournaledArmController(
            driver,
            limits,
            events,
            now_ns,
            session=settings.session,
            calls=calls,
            shadow=settings.shadow,
        )

    period_s = 0.004

    def tick(self, now_ns: int, phase: Phase) -> bool:
        """Advance physics and control to ``now_ns``.

        Episodes begin when the arm first follows the policy; returns whether that was in this turn.
        """
        self.controller.tick(now_ns)
        acts = phase is Phase.POLICY and self.controller.mode == "follow"
        begins = acts and not self._gate.open
        if begins:
            self._gate.open = True
            self.world.reset(self._seed, now_ns, keep_arm=True)
            self._steps_before, self._lost_before_ns = self.world.steps, self.world.lost_ns
        return begins

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


class ArmLinks:
    """The controller's sockets; bound under the arm's lock.

    Args:
        addresses: of the arm.
    """

    def __init__(self, addresses: ArmAddresses) -> None:
        self.commands = CommandSubscriber(addresses)
        self.states = StatePublisher(addresses)
        self.control = ControlServer(addresses)

    def close(self) -> None:
        """Close them all."""
        for link in (self.commands, self.states, self.control):
            link.close()


def body(child: Child) -> None:
    """Control the arm until told to stop, then stop, hold and leave nothing behind."""
    settings = child.settings
    addresses = ArmAddresses.local(settings.arm_name)
    with lock_arm(addresses, session=settings.session), closing(ArmLinks(addresses)) as links:
        events = EventPusher(addresses)
        clock = ServoClock(round(TwinArm.period_s * 1e9))
        calls = SharedRing.attach(settings.rings.arm_calls)
        arm = TwinArm(settings, events, clock.wait(), calls)
        snapshots = SharedRing.attach(settings.rings.snapshot)
        child.ready(child.enter_realtime().text)
        _turn(child, arm, links, clock, snapshots)
        events.emit(Note(t_ns=monotonic_ns(), source="arm", text=timekeeping(arm, clock)))
        arm.controller.close()


def timekeeping(arm: TwinArm, clock: ServoClock) -> str:
    """Say in words whether physics and control have kept up with the clock."""
    return (
        f"{arm.timekeeping()}; control turned {clock.ticks} times with {clock.overruns} overruns, "
        f"p99 {clock.lateness_percentile_ns(99) / 1e6:.2f} ms late"
    )


def _turn(
    child: Child, arm: TwinArm, links: ArmLinks, clock: ServoClock, snapshots: SharedRing
) -> None:
    """Turn the loop until the controller has shut down, or has not managed to in time."""
    shutdown_ns = 0
    session = child.settings.session
    # A faulted arm moves no more: there is no stop to wait for.
    while arm.controller.mode != "shutdown" and not (
        shutdown_ns and arm.controller.mode == "fault"
    ):
        now_ns = clock.wait()
        for command in links.commands.drain():
            arm.controller.on_command(command, now_ns)
        links.control.serve(arm.controller.handle, now_ns)
        if arm.tick(now_ns, child.phase):
            clock.reset_statistics()
        snapshots.publish(arm.world.snapshot_bytes(), arm.world.t_ns)
        if clock.ticks % STATE_EVERY == 0:
            links.states.send(arm.controller.state(now_ns))
        child.beat(now_ns)
        if child.stopping and not shutdown_ns:
            shutdown_ns = now_ns
            arm.controller.handle(ShutdownRequest(session=session, sequence=0), now_ns)
        if shutdown_ns and now_ns - shutdown_ns > SHUTDOWN_WAIT_NS:
            break


if __name__ == "__main__":
    run_child("arm", body)
