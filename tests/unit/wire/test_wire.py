"""The wire on real sockets: order, garbage, sizes, schemas, conflation, leases, leaks."""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import sys
import time
import typing
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
import zmq
from arm_doubles import HOME

from dvla.runtime.addresses import ArmAddresses, arm_folder, check_endpoint
from dvla.runtime.errors import LeaseError, WireError
from dvla.runtime.events import Event, Note
from dvla.runtime.lock import InstanceLock, lock_arm, lock_events
from dvla.runtime.messages import (
    SCHEMA,
    ArmState,
    ClockRequest,
    Command,
    HoldRequest,
    LeaseRequest,
    Reply,
    Request,
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
from dvla.runtime.wire_control import MAX_CONTROL_BYTES, ControlClient, ControlServer

ROOT = Path(__file__).resolve().parents[3]
LAYOUT = (2, "870a746fa4b2906e")
"""The schema's number, and a digest of the fields of its messages."""


@pytest.fixture
def addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ArmAddresses:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return ArmAddresses.local("test")


@pytest.fixture
def context() -> Iterator[zmq.Context]:
    """A context whose end proves that no socket was leaked: it would wait for them for ever."""
    context = zmq.Context()
    yield context
    leaked = [s for s in context._sockets if not s.closed]
    context.destroy(linger=0)
    assert not leaked, "a socket was not closed"


@pytest.fixture
def opened(context: zmq.Context) -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as stack:
        yield stack


def until(condition: Callable[[], bool], timeout_s: float = 5.0) -> None:
    """Give the sockets' threads time; fail only when it is clear that nothing comes."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "nothing came"
        time.sleep(0.002)


def command(sequence: int) -> Command:
    return Command(
        session=7,
        sequence=sequence,
        generation=0,
        t_obs_ns=1,
        t_due_ns=2,
        valid_until_ns=3,
        arm_epoch=1,
        period_ns=4_000_000,
        setpoints=np.repeat(HOME[None], 28, axis=0).tobytes(),
    )


def state(sequence: int) -> ArmState:
    pose = tuple(HOME.tolist())
    return ArmState(
        session=1,
        sequence=sequence,
        t_ns=sequence,
        mode="hold",
        reason="",
        arm_epoch=1,
        lease_session=0,
        command_sequence=-1,
        measured=pose,
        twist=(0.0,) * 6,
        q=(0.0,) * 7,
        commanded=pose,
        tracking_m=0.0,
        tracking_rad=0.0,
        accepted=0,
        rejected={},
    )


def open_in(opened: contextlib.ExitStack, link: object) -> None:
    opened.callback(link.close)  # type: ignore[attr-defined]


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
    stranger = context.socket(zmq.PUB)
    opened.callback(stranger.close)
    stranger.setsockopt(zmq.LINGER, 0)
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
    stranger = context.socket(zmq.PUB)
    opened.callback(stranger.close)
    stranger.setsockopt(zmq.LINGER, 0)
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


def echo(request: Request, now_ns: int) -> Reply:
    return Reply(session=request.session, sequence=request.sequence, ok=True, text=str(now_ns))


def test_requests_are_acknowledged_and_garbage_is_not(addresses, context, opened) -> None:  # type: ignore[no-untyped-def]
    import threading

    server = ControlServer(addresses, context=context)
    open_in(opened, server)
    done = threading.Event()

    def serve() -> None:
        while not done.is_set():
            server.serve(echo, 42)
            time.sleep(0.002)

    thread = threading.Thread(target=serve)
    thread.start()
    client = ControlClient(addresses, context=context)
    open_in(opened, client)
    try:
        for junk in (b"junk", b"", bytes(MAX_CONTROL_BYTES)):
            client.socket.send(junk)
        client.socket.send_multipart([b"two", b"frames"])
        request = LeaseRequest(session=7, sequence=3, holder="test")
        reply = client.ask(request, timeout_s=10.0)
    finally:
        done.set()
        thread.join()
    assert (reply.ok, reply.session, reply.sequence, reply.text) == (True, 7, 3, "42")
    assert server.malformed >= 3


def in_schema(message: object, schema: int, **more: object) -> bytes:
    """Return a message as a program of another version may have encoded it."""
    fields = msgspec.msgpack.decode(msgspec.msgpack.encode(message))
    return msgspec.msgpack.encode(fields | {"schema": schema} | more)


@pytest.mark.parametrize("more", [{}, {"haste": 3}], ids=["same fields", "a field more"])
def test_a_request_of_another_version_is_refused_in_words_that_it_understands(
    more, addresses, context, opened
) -> None:  # type: ignore[no-untyped-def]
    server = ControlServer(addresses, context=context)
    open_in(opened, server)
    asker = context.socket(zmq.DEALER)
    opened.callback(asker.close)
    asker.setsockopt(zmq.LINGER, 0)
    asker.connect(addresses.control)
    for request in (
        LeaseRequest(session=7, sequence=3, holder="test"),
        ClockRequest(session=7, sequence=3),
    ):
        asker.send(in_schema(request, SCHEMA + 1, **more))
        until(lambda: server.serve(echo, 42) == 1)
        reply = msgspec.msgpack.decode(asker.recv(), type=Reply)
        assert (reply.ok, reply.session, reply.sequence) == (False, 7, 3)
        assert reply.schema == SCHEMA + 1 and reply.clock_ns == 0
        assert f"wire schema {SCHEMA + 1}, this program speaks {SCHEMA}" in reply.text
    asker.send(b"junk")
    until(lambda: server.serve(echo, 42) == 0 and server.malformed == 3)


@pytest.mark.parametrize("schema", [SCHEMA, SCHEMA + 1], ids=["refused", "answered in another"])
def test_a_controller_of_another_version_is_said_to_be_one(
    schema, addresses, context, opened
) -> None:  # type: ignore[no-untyped-def]
    import threading

    controller = context.socket(zmq.ROUTER)
    opened.callback(controller.close)
    controller.bind(addresses.control)
    text = "the request is not understood: it speaks wire schema 1, this program speaks 2"

    def answer() -> None:
        who, _ = controller.recv_multipart()
        reply = Reply(session=1, sequence=1, ok=False, text=text)
        controller.send_multipart([who, in_schema(reply, schema)])

    thread = threading.Thread(target=answer)
    thread.start()
    client = ControlClient(addresses, context=context)
    open_in(opened, client)
    with pytest.raises(WireError, match=r"do not understand each other\..*wire schema"):
        client.ask(HoldRequest(session=1, sequence=1, reason="x"), timeout_s=10.0)
    thread.join()


def test_a_state_of_another_version_is_noticed(addresses, context, opened) -> None:  # type: ignore[no-untyped-def]
    listener = StateSubscriber(addresses, context=context)
    open_in(opened, listener)
    arm = context.socket(zmq.PUB)
    opened.callback(arm.close)
    arm.setsockopt(zmq.LINGER, 0)
    arm.bind(addresses.state)

    def noticed() -> bool:
        arm.send(in_schema(state(1), SCHEMA + 1, mood="calm"))
        return listener.newest() is None and listener.foreign is not None

    until(noticed)
    assert f"speaks wire schema {SCHEMA + 1}" in listener.foreign.words


def test_the_messages_of_a_schema_do_not_change() -> None:
    kinds = (Command, ArmState, Reply, *typing.get_args(Request))
    fields = [
        f"{kind.__name__}.{field.name}: {field.type}"
        for kind in kinds
        for field in msgspec.structs.fields(kind)
    ]
    found = hashlib.sha256("\n".join(fields).encode()).hexdigest()[:16]
    assert (SCHEMA, found) == LAYOUT, (
        "a message has changed: raise SCHEMA, and tell its layout here"
    )


def test_a_silent_arm_is_an_error_that_says_so(addresses, context, opened) -> None:  # type: ignore[no-untyped-def]
    client = ControlClient(addresses, context=context)
    open_in(opened, client)
    with pytest.raises(WireError, match=r"arm 'test' did not answer HoldRequest"):
        client.ask(HoldRequest(session=1, sequence=1, reason="x"), timeout_s=0.02)


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


@pytest.mark.parametrize(
    "endpoint",
    ["tcp://0.0.0.0:5555", "tcp://*:5555", "tcp://192.168.0.4:5555", "tcp://localhost:1"],
)
def test_tcp_beyond_the_loopback_is_refused(endpoint: str) -> None:
    with pytest.raises(WireError, match="CURVE"):
        check_endpoint(endpoint)


def test_loopback_and_ipc_are_accepted_and_the_rest_is_not(addresses: ArmAddresses) -> None:
    for endpoint in ("tcp://127.0.0.1:5555", "tcp://[::1]:5555", *addresses.endpoints):
        check_endpoint(endpoint)
    with pytest.raises(WireError, match="not an endpoint"):
        check_endpoint("udp://127.0.0.1:1")
    with pytest.raises(WireError, match="too long"):
        check_endpoint("ipc:///" + "x" * 107)


@pytest.mark.parametrize("name", ["", "../x", "A", "a/b", "a" * 33, "a\n"])
def test_an_arms_name_cannot_leave_its_folder(name: str) -> None:
    with pytest.raises(WireError, match="name is not valid"):
        arm_folder(name)


def test_a_folder_that_is_not_private_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    folder = arm_folder("arm")
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o755)
    with pytest.raises(WireError, match="open to others"):
        arm_folder("arm")
    folder.rmdir()
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(WireError, match="is not a folder"):
        arm_folder("arm")


# -- locks -------------------------------------------------------------------------------------


def test_a_second_controller_is_refused_with_the_holders_pid(addresses: ArmAddresses) -> None:
    with lock_arm(addresses, session=7):
        with pytest.raises(LeaseError, match=rf"process {os.getpid()} .*session 7") as caught:
            lock_arm(addresses, session=8)
        assert caught.value.exit_code == 2
        assert "kill" in str(caught.value)
        lock_events(addresses, session=8).release()
    lock_arm(addresses, session=8).release()
    assert list(Path(addresses.folder).iterdir()) == []


def test_closing_leaves_no_socket_and_no_lock(addresses, context) -> None:  # type: ignore[no-untyped-def]
    lock = lock_arm(addresses, session=7)
    links = [
        CommandSubscriber(addresses, context=context),
        StatePublisher(addresses, context=context),
    ]
    links.append(ControlServer(addresses, context=context))
    assert len(list(Path(addresses.folder).iterdir())) == 4
    for link in links:
        link.close()
    lock.release()
    lock.release()
    assert list(Path(addresses.folder).iterdir()) == []


def test_what_a_killed_controller_left_is_taken_over(
    addresses: ArmAddresses, tmp_path: Path
) -> None:
    code = (
        "import time\n"
        "from dvla.runtime.addresses import ArmAddresses\n"
        "from dvla.runtime.lock import lock_arm\n"
        "from dvla.runtime.wire import StatePublisher\n"
        "a = ArmAddresses.local('test')\n"
        "lock = lock_arm(a, session=3)\n"
        "state = StatePublisher(a)\n"
        "print('up', flush=True)\n"
        "time.sleep(60)\n"
    )
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment, cwd=ROOT
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == b"up\n"
        with pytest.raises(LeaseError, match=rf"process {child.pid} "):
            lock_arm(addresses, session=4)
    finally:
        child.kill()
        child.wait()
    left = {path.name for path in Path(addresses.folder).iterdir()}
    assert left == {"arm.lock", "state"}
    with lock_arm(addresses, session=4):
        assert {path.name for path in Path(addresses.folder).iterdir()} == {"arm.lock"}


def test_a_lock_on_an_unlinked_file_is_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between a second one's open and flock, the first unlinks the file."""
    import fcntl

    path = tmp_path / "x.lock"
    real, calls = fcntl.flock, []

    def flock(fd: int, operation: int) -> None:
        calls.append(fd)
        if len(calls) == 1:
            path.unlink()
        real(fd, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    lock = InstanceLock(path, "x", session=1)
    assert len(calls) == 2
    with pytest.raises(LeaseError):
        InstanceLock(path, "x", session=2)
    lock.release()
