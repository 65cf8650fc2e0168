"""Messages of more frames than one has: a turn of a loop throws away a bounded number of them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import zmq
from wire_doubles import command, echo, open_in, stranger_in, until

from dvla.runtime.clock_offset import SAME_CLOCK
from dvla.runtime.events import Note
from dvla.runtime.messages import HoldRequest
from dvla.runtime.twin.snapshot import pack_snapshot
from dvla.runtime.twin.world import TwinWorld
from dvla.runtime.wire import CommandPublisher, CommandSubscriber, EventPuller
from dvla.runtime.wire_control import ControlClient, ControlServer
from dvla.runtime.wire_link import MAX_DISCARDED, MAX_PER_CALL
from dvla.runtime.wire_news import SnapshotStream

FRAMES = 10_000
HOLD = HoldRequest(session=1, sequence=1, reason="")
NOTE = Note(t_ns=1, source="test", text="x")


class CountingSocket:
    """A socket that counts the frames that are taken from it."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self.taken = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)

    def recv(self, *args: Any) -> Any:
        frame = self._socket.recv(*args)
        self.taken += 1
        return frame

    def recv_multipart(self, *args: Any) -> Any:
        frames = self._socket.recv_multipart(*args)
        self.taken += len(frames)
        return frames


def serve(server: ControlServer, socket: CountingSocket) -> int:
    """Take a turn, which must not take more than its share; returns how many were answered."""
    before = socket.taken
    answered = server.serve(echo, 42)
    assert socket.taken - before <= 2 * MAX_PER_CALL + MAX_DISCARDED
    return answered


@pytest.fixture
def server(addresses, context, opened) -> ControlServer:  # type: ignore[no-untyped-def]
    server = ControlServer(addresses, context=context)
    open_in(opened, server)
    return server


@pytest.fixture
def counted(server: ControlServer) -> CountingSocket:
    socket = CountingSocket(server.socket)
    server.socket = socket  # type: ignore[assignment]
    return socket


def test_many_frames_are_thrown_away_over_several_turns(  # type: ignore[no-untyped-def]
    server, counted, addresses, context, opened
) -> None:
    stranger = stranger_in(opened, context, zmq.DEALER)
    stranger.connect(addresses.control)
    stranger.send_multipart([b"x"] * FRAMES)
    stranger.send(msgspec.msgpack.encode(HOLD))
    until(lambda: serve(server, counted) == 1)
    assert server.malformed == 1 and counted.taken == 1 + FRAMES + 2
    assert stranger.poll(5_000) and b"42" in stranger.recv()


def test_who_leaves_in_the_middle_of_it_harms_nobody(  # type: ignore[no-untyped-def]
    server, counted, addresses, context, opened
) -> None:
    stranger = stranger_in(opened, context, zmq.DEALER)
    stranger.connect(addresses.control)
    stranger.send_multipart([b"x"] * FRAMES)
    until(lambda: bool(serve(server, counted) or server.malformed))
    stranger.close()
    client = ControlClient(addresses, context=context)
    open_in(opened, client)
    client.socket.send(msgspec.msgpack.encode(HOLD))
    until(lambda: serve(server, counted) == 1)
    assert server.malformed == 1 and counted.taken == 1 + FRAMES + 2


@pytest.mark.parametrize("extra", [1, MAX_DISCARDED - 1, MAX_DISCARDED, MAX_DISCARDED + 1])
def test_a_frame_too_many_counts_once_whatever_follows(  # type: ignore[no-untyped-def]
    extra, server, addresses, context, opened
) -> None:
    stranger = stranger_in(opened, context, zmq.DEALER)
    stranger.connect(addresses.control)
    request = msgspec.msgpack.encode(HOLD)
    for _ in range(3):
        stranger.send_multipart([request] * (1 + extra))
        stranger.send(request)
    answered: list[int] = []

    def served() -> bool:
        answered.append(server.serve(echo, 42))
        return sum(answered) == 3

    until(served)
    assert server.malformed == 3


def test_events_of_two_frames_are_none(addresses, context, opened) -> None:  # type: ignore[no-untyped-def]
    puller = EventPuller(addresses, context=context)
    open_in(opened, puller)
    stranger = stranger_in(opened, context, zmq.PUSH)
    stranger.connect(addresses.events)
    event = msgspec.msgpack.encode(NOTE)
    for frames in ([event, event], [b"x"] * (5 * MAX_DISCARDED), [event]):
        stranger.send_multipart(frames)
    got: list[Any] = []

    def arrived() -> bool:
        got.extend(puller.drain())
        return bool(got)

    until(arrived)
    assert got == [NOTE] and puller.malformed == 2


def test_commands_of_many_frames_are_none_and_the_next_one_is_heard(
    addresses, context, opened
) -> None:  # type: ignore[no-untyped-def]
    arm = CommandSubscriber(addresses, context=context)
    open_in(opened, arm)
    stranger = stranger_in(opened, context, zmq.PUB)
    stranger.connect(addresses.commands)

    def thrown_away() -> bool:
        stranger.send_multipart([b"x", b"y", b"z"])
        return not arm.drain() and arm.malformed > 20

    until(thrown_away)
    servo = CommandPublisher(addresses, context=context)
    open_in(opened, servo)

    def heard() -> bool:
        stranger.send_multipart([b"x"] * 200)
        servo.send(command(5))
        return arm.drain() == [command(5)]

    until(heard)


def test_a_world_of_many_frames_is_none_and_the_next_one_is_seen(
    addresses, context, opened
) -> None:  # type: ignore[no-untyped-def]
    controller = stranger_in(opened, context, zmq.PUB)
    controller.bind(addresses.snapshots)
    stream = SnapshotStream(addresses, lambda: SAME_CLOCK, context=context)
    open_in(opened, stream)
    packed = pack_snapshot(TwinWorld().snapshot())

    def thrown_away() -> bool:
        controller.send_multipart([packed, packed])
        return stream.newest() is None and stream.malformed > 20

    until(thrown_away)

    def seen() -> bool:
        controller.send_multipart([b"x"] * 200)
        controller.send(packed)
        return stream.newest() is not None

    until(seen)


def test_of_what_waits_the_newest_of_each_session_counts(addresses, context, opened) -> None:  # type: ignore[no-untyped-def]
    arm = CommandSubscriber(addresses, context=context)
    open_in(opened, arm)
    other = stranger_in(opened, context, zmq.PUB)
    other.connect(addresses.commands)
    encode = msgspec.msgpack.encode
    until(lambda: bool(other.send(encode(command(0))) or arm.drain()))
    theirs = msgspec.structs.replace(command(9), session=8)
    for each in (command(1), theirs, command(2)):
        other.send(encode(each))
    until(lambda: bool(arm.socket.poll(100, zmq.POLLIN)))
    waited: dict[int, int] = {}

    def all_there() -> bool:
        waited.update({each.session: each.sequence for each in arm.drain()})
        return waited == {7: 2, 8: 9}

    until(all_there)


def test_what_a_stall_has_left_is_behind_after_one_turn(addresses, context, opened) -> None:  # type: ignore[no-untyped-def]
    arm = CommandSubscriber(addresses, context=context)
    open_in(opened, arm)
    waiting = [msgspec.msgpack.encode(command(sequence)) for sequence in range(3 * MAX_PER_CALL)]

    class Full:
        """A socket in which they wait, and nothing comes after them."""

        def recv(self, _flags: int) -> bytes:
            if not waiting:
                raise zmq.Again
            return waiting.pop(0)

        def getsockopt(self, _option: int) -> int:
            return 0

    real, arm.socket = arm.socket, Full()
    try:
        assert arm.drain() == [command(3 * MAX_PER_CALL - 1)]
    finally:
        arm.socket = real
