"""The servo process: pace, sample, shape, dispatch; one Python thread and nothing beside it."""

from __future__ import annotations

import numpy as np

from dvla.bindings import ActionStream, ServoClock, SharedRing
from dvla.runtime.addresses import ArmAddresses
from dvla.runtime.clock import monotonic_ns
from dvla.runtime.clock_board import ClockBoard
from dvla.runtime.clock_offset import command_for, state_from
from dvla.runtime.errors import LeaseError
from dvla.runtime.messages import LeaseRequest
from dvla.runtime.phase import Phase
from dvla.runtime.processes.child import Child, run_child
from dvla.runtime.servo import ServoCore
from dvla.runtime.start_move import PhasedPlanner, make_planner
from dvla.runtime.telemetry import SERVO_TICK
from dvla.runtime.wire import CommandPublisher, StateSubscriber
from dvla.runtime.wire_control import ControlClient

CONNECT_S = 5.0


def take_lease(addresses: ArmAddresses, session: int) -> None:
    """Become the arm's one commander.

    Raises:
        LeaseError: the arm refuses.
        WireError: the arm does not answer.
    """
    client = ControlClient(addresses)
    try:
        reply = client.ask(LeaseRequest(session=session, sequence=1, holder="dvla-run"), 2.0)
    finally:
        client.close()
    if not reply.ok:
        raise LeaseError(f"arm {addresses.name!r} grants no lease: {reply.text}")


def body(child: Child) -> None:
    """Follow the stream at the servo rate until told to stop."""
    settings = child.settings
    stream = ActionStream.attach(settings.rings.stream)
    ticks = SharedRing.attach(settings.rings.servo_ticks)
    addresses = settings.link.connecting()
    clock_of_arm = ClockBoard(SharedRing.attach(settings.rings.clock))
    commands = CommandPublisher(addresses)
    states = StateSubscriber(addresses)
    limits = settings.limits
    planner = make_planner(stream, limits, settings.servo, settings.start_pose)
    core = ServoCore(stream, limits, settings.servo, session=settings.session, planner=planner)
    # The lease is kept by commands alone: nothing may delay the first of them.
    commands.await_peer(CONNECT_S)
    take_lease(addresses, settings.session)
    clock = ServoClock(settings.servo.period_ns)
    row = np.zeros(1, SERVO_TICK)
    row_bytes = row.view(np.uint8)
    child.ready(child.enter_realtime().text)
    while not child.stopping:
        woke_ns = clock.wait()
        state, offset = states.newest(), clock_of_arm.offset
        if state is not None:
            state = state_from(state, offset, woke_ns)
        if isinstance(planner, PhasedPlanner):
            planner.wants_move = child.phase is Phase.MOVE
            planner.seen_ns = state.t_ns if state is not None else 0
        command = core.tick(clock.deadline_ns, state)
        if command is not None:
            commands.send(command_for(command, offset, woke_ns))
        core.fill(row[0])
        row["deadline_ns"] = clock.deadline_ns
        row["state_sequence"] = state.sequence if state is not None else 0
        row["state_t_ns"] = state.t_ns if state is not None else 0
        row["lateness_ns"] = clock.lateness_ns
        row["overruns"] = clock.overruns
        row["busy_ns"] = monotonic_ns() - woke_ns
        ticks.publish(row_bytes, clock.deadline_ns)
        child.beat(woke_ns)
    commands.close()
    states.close()


if __name__ == "__main__":
    run_child("servo", body)
