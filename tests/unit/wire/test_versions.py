"""Peers of another version: each is told so in words that it understands."""

from __future__ import annotations

import hashlib
import typing

import msgspec
import pytest
import zmq
from wire_doubles import echo, open_in, state, stranger_in, until

from dvla.runtime.errors import WireError
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
from dvla.runtime.wire import StateSubscriber
from dvla.runtime.wire_control import ControlClient, ControlServer

LAYOUT = (2, "870a746fa4b2906e")
"""The schema's number, and a digest of the fields of its messages."""


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
    asker = stranger_in(opened, context, zmq.DEALER)
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

    controller = stranger_in(opened, context, zmq.ROUTER)
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
    arm = stranger_in(opened, context, zmq.PUB)
    arm.bind(addresses.state)

    def noticed() -> bool:
        arm.send(in_schema(state(1), SCHEMA + 1, mood="calm"))
        return listener.newest() is None and listener.foreign is not None

    until(noticed)
    assert f"speaks wire schema {SCHEMA + 1}" in listener.foreign.words


def test_the_messages_of_a_schema_do_not_change() -> None:
    kinds = (Command, ArmState, Reply, *typing.get_args(Request))
    fields = [
        f"{kind.__name__}.{field.name}: {typing.get_type_hints(kind)[field.name]}"
        for kind in kinds
        for field in msgspec.structs.fields(kind)
    ]
    found = hashlib.sha256("\n".join(fields).encode()).hexdigest()[:16]
    assert (SCHEMA, found) == LAYOUT, (
        "a message has changed: raise SCHEMA, and tell its layout here"
    )
