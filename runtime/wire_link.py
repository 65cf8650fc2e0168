"""ZeroMQ sockets opened safely, and messages through them that are never trusted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import msgspec
import zmq

from dvla.runtime.addresses import ArmAddresses, check_endpoint
from dvla.runtime.curve import Curve
from dvla.runtime.errors import WireError
from dvla.runtime.messages import SCHEMA, Envelope
from dvla.runtime.zap import guard

MAX_PER_CALL = 64
"""Messages taken in one call: a flood must not hold a loop."""
MAX_DISCARDED = 64
"""Frames thrown away in one call. ZeroMQ caps the size of a frame and not the number of frames, so
a message of very many is thrown away over several calls."""
TCP_GIVE_UP_MS = 2000
"""A TCP connection whose other end is gone is given up; only then can a new one be made. It is the
kernel that notices: ZeroMQ's own heartbeats abort the process when a reader is slow (its issue
3937)."""
_KEEPALIVE: dict[int, int | bytes] = {
    zmq.TCP_KEEPALIVE: 1,
    zmq.TCP_KEEPALIVE_IDLE: 1,
    zmq.TCP_KEEPALIVE_INTVL: 1,
    zmq.TCP_KEEPALIVE_CNT: 2,
}
TCP_SEND_BYTES = 64 * 1024
"""What the kernel may hold back: the old commands that a network which heals delivers first."""


_ENVELOPE: msgspec.msgpack.Decoder[Envelope] = msgspec.msgpack.Decoder(Envelope)
T = TypeVar("T")
Frames = list[bytes]


class Plug(NamedTuple):
    """How the socket of a class is opened.

    Attributes:
        kind: of socket.
        endpoint: its name among ``ArmAddresses``.
        bind: whether it binds there or connects.
        max_bytes: of a message; a longer one closes the connection.
        options: that ZeroMQ takes before the socket is opened.
        watched: whether ``await_peer`` may be called.
    """

    kind: int
    endpoint: str
    bind: bool
    max_bytes: int
    options: dict[int, int | bytes]
    watched: bool = False


class Link:
    """One socket, opened safely: private endpoint, no lingering, size cap, options first.

    Args:
        addresses: of the arm.
        context: of the socket; the process's own when None.

    Attributes:
        guarded: only clients on the allow-list come in.

    Raises:
        WireError: the endpoint is not one that may be opened.
    """

    plug: ClassVar[Plug]

    def __init__(self, addresses: ArmAddresses, *, context: zmq.Context[Any] | None = None) -> None:
        plug, curve = self.plug, addresses.curve
        endpoint: str = getattr(addresses, plug.endpoint)
        check_endpoint(endpoint, curve)
        if endpoint.startswith("ipc://"):
            curve = None  # its folder is private to this user: nobody else gets there
        self.guarded = curve is not None and plug.bind
        context = context or zmq.Context.instance()
        if self.guarded:
            assert curve is not None
            guard(context, curve.allowed)  # before the bind: without a list everybody comes in
        self.socket = context.socket(plug.kind)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.MAXMSGSIZE, plug.max_bytes)
        if endpoint.startswith("tcp://"):
            _keep_alive(self.socket, endpoint)
        for option, value in plug.options.items():
            self.socket.setsockopt(option, value)
        if curve is not None:
            _set_keys(self.socket, curve, server=plug.bind)
        self._endpoint = endpoint
        self._monitor: zmq.Socket[Any] | None = None
        if plug.watched:
            self._monitor = self.socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED)
        try:
            if plug.bind:
                self.socket.bind(endpoint)
            else:
                self.socket.connect(endpoint)
        except zmq.ZMQError as error:
            self.socket.close()
            raise WireError(f"{endpoint} cannot be opened: {error}") from error

    def await_peer(self, timeout_s: float) -> None:
        """Wait once until the other end is there; for sockets that are ``watched``.

        Raises:
            WireError: it is not.
        """
        assert self._monitor is not None
        there = self._monitor.poll(int(timeout_s * 1e3), zmq.POLLIN)
        self._stop_watching()
        if not there:
            raise WireError(
                f"nobody is connected at {self._endpoint}",
                expected=f"an answer within {timeout_s:g} s",
                next_command="look at the controller: dvla-arm state",
            )

    def close(self) -> None:
        """Close the socket; what was not sent is dropped."""
        self._stop_watching()
        self.socket.close()

    def _stop_watching(self) -> None:
        """Close the monitor too: ``disable_monitor`` leaves that to whoever drops it last."""
        if self._monitor is not None:
            self.socket.disable_monitor()
            self._monitor.close(linger=0)
            self._monitor = None


def _keep_alive(socket: zmq.Socket[Any], endpoint: str) -> None:
    """Let a TCP socket notice a dead peer, and hold little back for a slow one."""
    socket.setsockopt(zmq.TCP_MAXRT, TCP_GIVE_UP_MS)
    socket.setsockopt(zmq.SNDBUF, TCP_SEND_BYTES)
    socket.setsockopt(zmq.IPV6, int("[" in endpoint))
    for option, value in _KEEPALIVE.items():
        socket.setsockopt(option, value)


def _set_keys(socket: zmq.Socket[Any], curve: Curve, *, server: bool) -> None:
    """Make a socket a CURVE server or client."""
    socket.setsockopt(zmq.CURVE_PUBLICKEY, curve.public.encode())
    socket.setsockopt(zmq.CURVE_SECRETKEY, curve.secret.encode())
    if server:
        socket.setsockopt(zmq.CURVE_SERVER, 1)
        socket.setsockopt(zmq.ZAP_DOMAIN, b"dvla")
    else:
        socket.setsockopt(zmq.CURVE_SERVERKEY, curve.server.encode())


class Sender(Link):
    """Encodes into one buffer of its own and never waits.

    Attributes:
        dropped: messages that no queue took.
    """

    def __init__(self, addresses: ArmAddresses, *, context: zmq.Context[Any] | None = None) -> None:
        super().__init__(addresses, context=context)
        self.dropped = 0
        self._encoder = msgspec.msgpack.Encoder()
        self._buffer = bytearray()

    def _send(self, message: object) -> bool:
        self._encoder.encode_into(message, self._buffer)
        try:
            self.socket.send(self._buffer, zmq.NOBLOCK)
        except zmq.Again:
            self.dropped += 1
            return False
        return True


class Inlet(Link):
    """Takes whole messages off a socket, a bounded number of frames in a call.

    Attributes:
        frame_count: of a message.
        malformed: what arrived and was not a message.
    """

    frame_count: ClassVar[int] = 1

    def __init__(self, addresses: ArmAddresses, *, context: zmq.Context[Any] | None = None) -> None:
        super().__init__(addresses, context=context)
        self.malformed = 0
        self._discarding = False

    def _messages(self) -> Iterator[Frames]:
        """Yield the frames of the messages that wait; a call takes a bounded number of either."""
        left = MAX_DISCARDED
        for _ in range(MAX_PER_CALL):
            if self._discarding:
                left = self._discard(left)
                if self._discarding:
                    return
            frames = self._frames()
            if not frames:
                return
            if len(frames) == self.frame_count and not self._discarding:
                yield frames
            else:
                self.malformed += 1

    def _frames(self) -> Frames:
        """Return the frames of the next message, as many as one has; none when nothing waits."""
        frames: Frames = []
        try:
            while len(frames) < self.frame_count:
                frames.append(self.socket.recv(zmq.NOBLOCK))
                if not self.socket.getsockopt(zmq.RCVMORE):
                    return frames
        except zmq.Again:
            return frames
        self._discarding = True  # there are more
        return frames

    def _discard(self, left: int) -> int:
        """Throw away the rest of a message, at most ``left`` frames; returns how many more may."""
        try:
            while left and self._discarding:
                self.socket.recv(zmq.NOBLOCK)
                self._discarding = bool(self.socket.getsockopt(zmq.RCVMORE))
                left -= 1
        except zmq.Again:
            self._discarding = False
        return left


class Receiver(Inlet, Generic[T]):
    """Decodes what arrives; counts and drops what is not a message of this schema.

    Attributes:
        message: its type, or a union of types.
        foreign: the newest of what was malformed that was a message of another schema.
    """

    message: ClassVar[Any]
    foreign: Envelope | None = None

    def __init__(self, addresses: ArmAddresses, *, context: zmq.Context[Any] | None = None) -> None:
        super().__init__(addresses, context=context)
        self._decoder: msgspec.msgpack.Decoder[T] = msgspec.msgpack.Decoder(self.message)

    def _decode(self, frame: bytes) -> T | None:
        if len(frame) <= self.plug.max_bytes:
            try:
                message = self._decoder.decode(frame)
            except (msgspec.MsgspecError, ValueError, RecursionError):
                pass
            else:
                if getattr(message, "schema", SCHEMA) == SCHEMA:
                    return message
            self._look_at_envelope(frame)
        self.malformed += 1
        return None

    def _look_at_envelope(self, frame: bytes) -> None:
        """Keep what a message of another schema says of itself."""
        try:
            envelope = _ENVELOPE.decode(frame)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return
        if envelope.schema != SCHEMA:
            self.foreign = envelope

    def drain(self) -> list[T]:
        """Return what has arrived, oldest first; at most ``MAX_PER_CALL`` messages."""
        messages = []
        for frames in self._messages():
            message = self._decode(frames[0])
            if message is not None:
                messages.append(message)
        return messages
