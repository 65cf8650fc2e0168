"""The allow-list: answers ZeroMQ's question whether a CURVE client may come in (ZAP, RFC 27).

ZeroMQ asks once per handshake, from its I/O thread through an inproc socket. A thread of its own
answers and sleeps otherwise; no handler means that every client is let in, so it starts first.
"""

from __future__ import annotations

import threading
from typing import Any

import zmq
import zmq.utils.z85

from dvla.runtime.errors import WireError

ENDPOINT = "inproc://zeromq.zap.01"
VERSION = b"1.0"
POLL_MS = 200


class AllowList:
    """Lets in the clients whose public keys are listed, and counts the others.

    Args:
        context: whose CURVE servers are guarded; one list per context.
        allowed: public keys, Z85.

    Raises:
        WireError: the context has a list already.
    """

    def __init__(self, context: zmq.Context[Any], allowed: tuple[str, ...]) -> None:
        self._allowed = {zmq.utils.z85.decode(key) for key in allowed}
        self.refused = 0
        self._stop = threading.Event()
        self._socket: zmq.Socket[bytes] = context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.LINGER, 0)
        try:
            self._socket.bind(ENDPOINT)
        except zmq.ZMQError as error:
            self._socket.close()
            raise WireError(f"this process guards its sockets already: {error}") from error
        self._thread = threading.Thread(target=self._serve, name="zap", daemon=True)
        self._thread.start()

    def add(self, allowed: tuple[str, ...]) -> None:
        """Let more clients in."""
        self._allowed |= {zmq.utils.z85.decode(key) for key in allowed}

    def close(self) -> None:
        """Stop answering; from then on nobody new comes in."""
        self._stop.set()
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while not self._stop.is_set():
            if self._socket.poll(POLL_MS, zmq.POLLIN):
                frames = self._socket.recv_multipart()
                self._answer(frames)

    def _answer(self, frames: list[bytes]) -> None:
        try:
            split = frames.index(b"") + 1
        except ValueError:
            return
        route, question = frames[:split], frames[split:]
        if len(question) < 2:
            return
        known = (
            len(question) == 7
            and question[0] == VERSION
            and question[5] == b"CURVE"
            and question[6] in self._allowed
        )
        self.refused += not known
        verdict = [b"200", b"OK"] if known else [b"400", b"this key is not on the allow-list"]
        self._socket.send_multipart([*route, VERSION, question[1], *verdict, b"", b""])


_lists: dict[int, AllowList] = {}


def guard(context: zmq.Context[Any], allowed: tuple[str, ...]) -> AllowList:
    """Return the allow-list of a context, with these clients on it."""
    key = id(context)
    if key in _lists and not _lists[key]._socket.closed:
        _lists[key].add(allowed)
    else:
        _lists[key] = AllowList(context, allowed)
    return _lists[key]


def refused_by(context: zmq.Context[Any]) -> int:
    """Return how many clients a context's allow-list has turned away."""
    allow_list = _lists.get(id(context))
    return allow_list.refused if allow_list is not None else 0
