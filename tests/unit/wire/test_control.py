"""Requests on real sockets: acknowledgements, garbage, silence."""

from __future__ import annotations

import time

import pytest
from wire_doubles import echo, open_in

from dvla.runtime.errors import WireError
from dvla.runtime.messages import (
    HoldRequest,
    LeaseRequest,
)
from dvla.runtime.wire_control import MAX_CONTROL_BYTES, ControlClient, ControlServer


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


def test_a_silent_arm_is_an_error_that_says_so(addresses, context, opened) -> None:  # type: ignore[no-untyped-def]
    client = ControlClient(addresses, context=context)
    open_in(opened, client)
    with pytest.raises(WireError, match=r"arm 'test' did not answer HoldRequest"):
        client.ask(HoldRequest(session=1, sequence=1, reason="x"), timeout_s=0.02)
