"""Commands, states and events on real sockets: order, garbage, sizes, conflation, leaks."""

from __future__ import annotations

import time

import msgspec
import numpy as np
import pytest
import zmq
from arm_doubles import HOME
from wire_doubles import command, open_in, state, stranger_in, until

from dvla.runtime.events import Event, Note
from dvla.runtime.messages import (
    SCHEMA,
    Command,
)
from dvla.runtime.wire import (
    MAX_COMMAND_BYTES,
    CommandPublisher,
    CommandSubscriber,
    EventPuller,
    EventPusher,
    StatePublisher,
    StateStream,
    StateSubscriber,
)


def test_a_command_arrives_as_it_was_sent(addresses, context, opened) -> None:  # type: ignore[no-untyped-def]
    arm = CommandSubscriber(addresses, context=context)
    servo = CommandPublisher(addresses, context=context)
    open_in(opened, arm)
    open_in(opened, servo)
    got: list[Command] = []

    def arrived() -> bool:
        servo.send(command(5))
        got.extend(arm.drain())
        return bool(got)

    until(arrived)
    assert got[0] == command(5)
    assert np.array_equal(got[0].setpoints_array()[0], HOME)
    assert arm.malformed == 0


def test_conflation_keeps_the_newest_and_the_stream_keeps_all(addresses, context, opened) -> None:  # type: ignore[no-untyped-def]
    arm = StatePublisher(addresses, context=context)
    newest = StateSubscriber(addresses, context=context)
    stream = StateStream(addresses, context=context)
    for link in (arm, newest, stream):
        open_in(opened, link)

    def connected() -> bool:
        arm.send(state(0))
        return newest.newest() is not None and bool(stream.drain())

    until(connected)
    for sequence in range(1, 61):
        arm.send(state(sequence))
    seen: list[int] = []

    def drained() -> bool:
        seen.extend(s.sequence for s in stream.drain())
        return bool(seen) and seen[-1] == 60

    until(drained)
    assert [s for s in seen if s] == list(range(1, 61))

    def conflated() -> bool:
        arm.send(state(60))  # libzmq's conflating pipe may hold the last one back
        found = newest.newest()
        return found is not None and found.sequence == 60

    until(conflated)
    assert len(newest.drain()) <= 1


def test_commands_that_waited_are_one_command(addresses, context, opened) -> None:  # type: ignore[no-untyped-def]
    arm = CommandSubscriber(addresses, context=context)
    servo = CommandPublisher(addresses, context=context)
    open_in(opened, arm)
    open_in(opened, servo)

    def connected() -> bool:
        servo.send(command(0))
        return bool(arm.drain())

    until(connected)
    sent = range(1, 200)
    for sequence in sent:
        servo.send(command(sequence))
    seen: list[int] = []

    def newest() -> bool:
        # As the servo does, at a rate: libzmq's conflating pipe may hold the last one back.
        servo.send(command(sent[-1]))
        seen.extend(c.sequence for c in arm.drain())
        return sent[-1] in seen

    until(newest)
    assert seen == sorted(seen)
    assert len(seen) < len(sent)


def test_a_closed_link_leaves_no_monitor_behind(addresses, context) -> None:  # type: ignore[no-untyped-def]
    servo = CommandPublisher(addresses, context=context)
    servo.close()  # ``servo`` still lives, as it does in a traceback
    assert not [s for s in context._sockets if not s.closed]
    servo.close()


@pytest.mark.parametrize(
    "frames",
    [
        [b""],
        [b"garbage"],
        [b"\xff" * 100],
        [msgspec.msgpack.encode(state(1))],
        [msgspec.msgpack.encode(msgspec.structs.replace(command(1), schema=SCHEMA + 1))],
        [msgspec.msgpack.encode({"type": "command", "session": 7, "extra": 1})],
        [b"\x81" * 5000],
    ],
    ids=["empty", "text", "bytes", "other message", "other schema", "unknown field", "deep"],
)
def test_what_is_no_command_is_counted_and_dropped(frames, addresses, context, opened) -> None:  # type: ignore[no-untyped-def]
    arm = CommandSubscriber(addresses, context=context)
    open_in(opened, arm)
    stranger = stranger_in(opened, context, zmq.PUB)
    stranger.connect(addresses.commands)

    def counted() -> bool:
        stranger.send_multipart(frames)
        assert arm.drain() == []
        return arm.malformed > 0

    until(counted)


def test_an_oversized_command_never_arrives_and_the_next_one_does(
    addresses, context, opened
) -> None:  # type: ignore[no-untyped-def]
    arm = CommandSubscriber(addresses, context=context)
    open_in(opened, arm)
    stranger = stranger_in(opened, context, zmq.PUB)
    stranger.connect(addresses.commands)
    big = msgspec.msgpack.encode(
        msgspec.structs.replace(command(666), setpoints=bytes(MAX_COMMAND_BYTES))
    )
    for _ in range(20):
        stranger.send(big)
        time.sleep(0.005)
        assert arm.drain() == []
    servo = CommandPublisher(addresses, context=context)
    open_in(opened, servo)

    def arrived() -> bool:
        servo.send(command(1))
        return any(c.sequence == 1 for c in arm.drain())

    until(arrived)


def test_events_arrive_and_a_full_queue_drops_and_counts(addresses, context, opened) -> None:  # type: ignore[no-untyped-def]
    pusher = EventPusher(addresses, context=context)
    open_in(opened, pusher)
    note = Note(t_ns=1, source="test", text="x")
    for _ in range(10_050):
        pusher.emit(note)
    assert pusher.dropped >= 50
    puller = EventPuller(addresses, context=context)
    open_in(opened, puller)
    got: list[Event] = []

    def arrived() -> bool:
        got.extend(puller.drain())
        return bool(got)

    until(arrived)
    assert got[0] == note


# -- addresses ---------------------------------------------------------------------------------
