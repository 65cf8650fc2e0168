"""The arm process: driver and arm controller at one rate, behind the wire.

``dvla-run`` starts it for its own run; ``dvla-arm run`` starts it to be commanded by others.
"""

from __future__ import annotations

from contextlib import closing
from typing import Protocol

import msgspec

from dvla.bindings import ServoClock, SharedRing
from dvla.runtime.addresses import ArmAddresses
from dvla.runtime.arm import ArmController
from dvla.runtime.clock import monotonic_ns
from dvla.runtime.events import EventSink, Note
from dvla.runtime.lock import lock_arm
from dvla.runtime.messages import ArmState, ShutdownRequest
from dvla.runtime.phase import Phase
from dvla.runtime.processes.child import Child, run_child
from dvla.runtime.processes.settings import Settings
from dvla.runtime.wire import CommandSubscriber, EventPusher, StatePublisher
from dvla.runtime.wire_control import ControlServer
from dvla.runtime.wire_guests import Guests
from dvla.runtime.wire_link import Link
from dvla.runtime.wire_news import NewsPublisher, SnapshotPublisher

PERIOD_NS = 4_000_000
STATE_EVERY = 2  # controller ticks per published state
GUESTS_EVERY = 50
SHUTDOWN_WAIT_NS = 1_500_000_000


class ControlledArm(Protocol):
    """An arm, real or twin, under its controller."""

    @property
    def controller(self) -> ArmController:
        """The controller of this arm."""

    def tick(self, now_ns: int, phase: Phase) -> bool:
        """Read, judge and command; returns whether a commander's motion began in this turn."""

    def snapshot(self) -> tuple[bytes, int] | None:
        """Return a twin's world as bytes and its time; a real arm has none."""

    def timekeeping(self) -> str:
        """Say in words whether the arm has kept up with the clock."""


class ArmLinks:
    """The controller's sockets; bound under the arm's lock.

    Args:
        addresses: of the arm.
        alone: the controller runs by itself, and publishes its events.
    """

    def __init__(self, addresses: ArmAddresses, *, alone: bool) -> None:
        self.commands = CommandSubscriber(addresses)
        self.states = StatePublisher(addresses)
        self.control = ControlServer(addresses)
        news = NewsPublisher(addresses) if alone else EventPusher(addresses)
        self.events: EventSink = news
        self.snapshots = SnapshotPublisher(addresses) if alone else None
        self._all: list[Link] = [self.commands, self.states, self.control, news]
        if self.snapshots is not None:
            self._all.append(self.snapshots)
        self._guests = Guests(*self._all)

    def look_after_guests(self) -> None:
        """Count who was refused since the last look."""
        self._guests.look()

    def send_state(self, state: ArmState) -> None:
        """Publish a state, with what the sockets have refused."""
        malformed = self.commands.malformed + self.control.malformed
        if malformed or self._guests.refused:
            state = msgspec.structs.replace(
                state, malformed=malformed, refused_peers=self._guests.refused
            )
        self.states.send(state)

    def close(self) -> None:
        """Close them all."""
        self._guests.close()
        for link in self._all:
            link.close()


def make_arm(
    settings: Settings, events: EventSink, clock: ServoClock, calls: SharedRing
) -> ControlledArm:
    """Return the arm that the settings name, ready to be controlled."""
    if settings.episode:
        from dvla.runtime.processes.replaying_arm import ReplayingArm

        return ReplayingArm(settings, events, clock.wait(), calls)
    if settings.hardware is not None:
        from dvla.runtime.processes.real_arm import RealArm

        return RealArm(settings, events, clock, PERIOD_NS * 1e-9, calls)
    from dvla.runtime.processes.twin_arm import TwinArm

    return TwinArm(settings, events, clock.wait(), calls)


def body(child: Child) -> None:
    """Control the arm until told to stop, then stop, hold and leave nothing behind."""
    settings = child.settings
    addresses = settings.link.serving()
    alone = settings.arm_alone
    with (
        lock_arm(addresses, session=settings.session),
        closing(ArmLinks(addresses, alone=alone)) as links,
    ):
        clock = ServoClock(PERIOD_NS)
        calls = SharedRing.attach(settings.rings.arm_calls)
        arm = make_arm(settings, links.events, clock, calls)
        snapshots = SharedRing.attach(settings.rings.snapshot)
        child.ready(child.enter_realtime().text)
        try:
            _turn(child, arm, links, clock, snapshots)
            text = timekeeping(arm, clock)
            links.events.emit(Note(t_ns=monotonic_ns(), source="arm", text=text))
        finally:
            arm.controller.close()


def timekeeping(arm: ControlledArm, clock: ServoClock) -> str:
    """Say in words whether physics and control have kept up with the clock."""
    return (
        f"{arm.timekeeping()}; control turned {clock.ticks} times with {clock.overruns} overruns, "
        f"p99 {clock.lateness_percentile_ns(99) / 1e6:.2f} ms late"
    )


def _turn(
    child: Child, arm: ControlledArm, links: ArmLinks, clock: ServoClock, ring: SharedRing
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
        publishes = clock.ticks % STATE_EVERY == 0
        snapshot = arm.snapshot()
        if snapshot is not None:
            ring.publish(*snapshot)
            if links.snapshots is not None and publishes:
                links.snapshots.send(snapshot[0])
        if publishes:
            links.send_state(arm.controller.state(now_ns))
        if clock.ticks % GUESTS_EVERY == 0:
            links.look_after_guests()
        child.beat(now_ns)
        if child.stopping and not shutdown_ns:
            shutdown_ns = now_ns
            arm.controller.handle(ShutdownRequest(session=session, sequence=0), now_ns)
        if shutdown_ns and now_ns - shutdown_ns > SHUTDOWN_WAIT_NS:
            break


if __name__ == "__main__":
    run_child("arm", body)
