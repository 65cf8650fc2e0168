"""The wire: small classes around ZeroMQ sockets, one message per frame, nothing ever trusted.

Setpoints and state go PUB/SUB with CONFLATE, which must be set before bind or connect: a slow
reader gets the newest message and no queue. Requests go DEALER/ROUTER and are acknowledged. Inside
loops nothing blocks and nothing raises: what cannot be decoded is counted and dropped.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec
import zmq

from dvla.runtime.addresses import ArmAddresses, check_endpoint
from dvla.runtime.clock_offset import SAME_CLOCK, ClockEstimator, ClockOffset, ClockSample
from dvla.runtime.curve import Curve
from dvla.runtime.errors import WireError
from dvla.runtime.events import AnyEvent, Event
from dvla.runtime.messages import (
    MAX_SETPOINTS,
    SCHEMA,
    ArmState,
    ClockRequest,
    Command,
    Reply,
    Request,
)
from dvla.runtime.pose import SETPOINT_WIDTH
from dvla.runtime.zap import guard

MAX_COMMAND_BYTES = MAX_SETPOINTS * SETPOINT_WIDTH * 8 + 1024
MAX_STATE_BYTES = 16 * 1024
MAX_CONTROL_BYTES = 4 * 1024
MAX_EVENT_BYTES = 64 * 1024
MAX_PER_CALL = 64
"""Messages taken in one call: a flood must not hold a loop."""
STREAM_QUEUE = 2000
EVENT_QUEUE = 10_000
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


def own_boot_id() -> str:
    """Return what names this boot of this host; its monotonic clock lives as long."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


T = TypeVar("T")
Frames = list[bytes]


class Link:
    """One socket, opened safely: private endpoint, no lingering, size cap, options first.

    Attributes:
        guarded: only clients on the allow-list come in.
    """

    def __init__(
        self,
        kind: int,
        endpoint: str,
        max_bytes: int,
        *,
        bind: bool,
        context: zmq.Context[Any] | None,
        options: dict[int, int | bytes],
        curve: Curve | None = None,
        watched: bool = False,
    ) -> None:
        check_endpoint(endpoint, curve)
        if endpoint.startswith("ipc://"):
            curve = None  # its folder is private to this user: nobody else gets there
        self.guarded = curve is not None and bind
        context = context or zmq.Context.instance()
        if self.guarded:
            assert curve is not None
            guard(context, curve.allowed)  # before the bind: without a list everybody comes in
        self.socket = context.socket(kind)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.MAXMSGSIZE, max_bytes)
        if endpoint.startswith("tcp://"):
            self.socket.setsockopt(zmq.TCP_MAXRT, TCP_GIVE_UP_MS)
            options = {**_KEEPALIVE, **options}
            self.socket.setsockopt(zmq.SNDBUF, TCP_SEND_BYTES)
            self.socket.setsockopt(zmq.IPV6, int("[" in endpoint))
        for option, value in options.items():
            self.socket.setsockopt(option, value)
        if curve is not None:
            _set_keys(self.socket, curve, server=bind)
        self._endpoint = endpoint
        self._monitor: zmq.Socket[Any] | None = None
        if watched:
            self._monitor = self.socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED)
        try:
            if bind:
                self.socket.bind(endpoint)
            else:
                self.socket.connect(endpoint)
        except zmq.ZMQError as error:
            self.socket.close()
            raise WireError(f"{endpoint} cannot be opened: {error}") from error

    def await_peer(self, timeout_s: float) -> None:
        """Wait once until the other end is there; for sockets opened ``watched``.

        Raises:
            WireError: it is not.
        """
        assert self._monitor is not None
        there = self._monitor.poll(int(timeout_s * 1e3), zmq.POLLIN)
        self.socket.disable_monitor()
        if not there:
            raise WireError(
                f"nobody is connected at {self._endpoint}",
                expected=f"an answer within {timeout_s:g} s",
                next_command="look at the controller: dvla-arm state",
            )

    def close(self) -> None:
        """Close the socket; what was not sent is dropped."""
        if self._monitor is not None:
            self.socket.disable_monitor()
        self.socket.close()


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

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
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


class Receiver(Link, Generic[T]):
    """Decodes what arrives; counts and drops what is not a message of this schema.

    Attributes:
        malformed: frames that were not a message.
    """

    def __init__(self, kind: int, endpoint: str, type_: Any, max_bytes: int, **kwargs: Any) -> None:
        super().__init__(kind, endpoint, max_bytes, **kwargs)
        self.malformed = 0
        self._max_bytes = max_bytes
        self._decoder: msgspec.msgpack.Decoder[T] = msgspec.msgpack.Decoder(type_)

    def _frames(self) -> Frames | None:
        """Return the frames of the next message, or None when nothing waits."""
        try:
            frames: Frames = self.socket.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return None
        return frames

    def _decode(self, frame: bytes) -> T | None:
        if len(frame) <= self._max_bytes:
            try:
                message = self._decoder.decode(frame)
            except (msgspec.MsgspecError, ValueError, RecursionError):
                pass
            else:
                if getattr(message, "schema", SCHEMA) == SCHEMA:
                    return message
        self.malformed += 1
        return None

    def drain(self) -> list[T]:
        """Return what has arrived, oldest first; at most ``MAX_PER_CALL`` messages."""
        messages = []
        for _ in range(MAX_PER_CALL):
            frames = self._frames()
            if frames is None:
                break
            if len(frames) != 1:
                self.malformed += 1
                continue
            message = self._decode(frames[0])
            if message is not None:
                messages.append(message)
        return messages


class CommandPublisher(Sender):
    """The commander's end: only its newest command counts."""

    def __init__(self, addresses: ArmAddresses, *, context: zmq.Context[Any] | None = None) -> None:
        super().__init__(
            zmq.PUB,
            addresses.commands,
            MAX_COMMAND_BYTES,
            bind=False,
            context=context,
            curve=addresses.curve,
            options={zmq.CONFLATE: 1},
            watched=True,
        )

    def send(self, command: Command) -> bool:
        """Send a command; never wait."""
        return self._send(command)


class CommandSubscriber(Receiver[Command]):
    """The arm's end; ``drain`` returns the newest command of each publisher."""

    def __init__(self, addresses: ArmAddresses, *, context: zmq.Context[Any] | None = None) -> None:
        super().__init__(
            zmq.SUB,
            addresses.commands,
            Command,
            MAX_COMMAND_BYTES,
            bind=True,
            context=context,
            curve=addresses.curve,
            options={zmq.CONFLATE: 1, zmq.SUBSCRIBE: b""},
        )


class StatePublisher(Sender):
    """The arm's end of the state."""

    def __init__(self, addresses: ArmAddresses, *, context: zmq.Context[Any] | None = None) -> None:
        # No CONFLATE here: a PUB socket that conflates would thin out the recorder's stream.
        super().__init__(
            zmq.PUB,
            addresses.state,
            MAX_STATE_BYTES,
            bind=True,
            context=context,
            curve=addresses.curve,
            options={zmq.SNDHWM: STREAM_QUEUE},
        )

    def send(self, state: ArmState) -> bool:
        """Send a state to everybody who listens; never wait."""
        return self._send(state)


class StateSubscriber(Receiver[ArmState]):
    """Gives the newest state of an arm."""

    def __init__(self, addresses: ArmAddresses, *, context: zmq.Context[Any] | None = None) -> None:
        super().__init__(
            zmq.SUB,
            addresses.state,
            ArmState,
            MAX_STATE_BYTES,
            bind=False,
            context=context,
            curve=addresses.curve,
            options={zmq.CONFLATE: 1, zmq.SUBSCRIBE: b""},
        )
        self._newest: ArmState | None = None

    def newest(self) -> ArmState | None:
        """Return the newest state that ever arrived, or None before the first."""
        states = self.drain()
        if states:
            self._newest = states[-1]
        return self._newest


class StateStream(Receiver[ArmState]):
    """Gives every state of an arm, for the recorder and for the observation's history."""

    def __init__(self, addresses: ArmAddresses, *, context: zmq.Context[Any] | None = None) -> None:
        super().__init__(
            zmq.SUB,
            addresses.state,
            ArmState,
            MAX_STATE_BYTES,
            bind=False,
            context=context,
            curve=addresses.curve,
            options={zmq.RCVHWM: STREAM_QUEUE, zmq.SUBSCRIBE: b""},
        )


class EventPusher(Sender):
    """An ``EventSink``: events go to the recorder, or are dropped and counted."""

    def __init__(self, addresses: ArmAddresses, *, context: zmq.Context[Any] | None = None) -> None:
        super().__init__(
            zmq.PUSH,
            addresses.events,
            MAX_EVENT_BYTES,
            bind=False,
            context=context,
            curve=addresses.curve,
            options={zmq.SNDHWM: EVENT_QUEUE},
        )

    def emit(self, event: Event) -> None:
        """Take an event; never block and never raise."""
        self._send(event)


class EventPuller(Receiver[AnyEvent]):
    """The recorder's end; take ``lock_events`` first."""

    def __init__(self, addresses: ArmAddresses, *, context: zmq.Context[Any] | None = None) -> None:
        super().__init__(
            zmq.PULL,
            addresses.events,
            AnyEvent,
            MAX_EVENT_BYTES,
            bind=True,
            context=context,
            curve=addresses.curve,
            options={zmq.RCVHWM: EVENT_QUEUE},
        )


class ControlServer(Receiver[Request]):
    """The arm's end of the requests; take ``lock_arm`` first.

    Args:
        addresses: of the arm.
        context: of the socket.
        clock_ns: what a ``ClockRequest`` is answered with.
        boot_id: of the clock; two hosts with one boot id are one host.
    """

    def __init__(
        self,
        addresses: ArmAddresses,
        *,
        context: zmq.Context[Any] | None = None,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        boot_id: str | None = None,
    ) -> None:
        super().__init__(
            zmq.ROUTER,
            addresses.control,
            Request,
            MAX_CONTROL_BYTES,
            bind=True,
            context=context,
            curve=addresses.curve,
            options={zmq.SNDHWM: STREAM_QUEUE},
        )
        self._encoder = msgspec.msgpack.Encoder()
        self._clock_ns = clock_ns
        self._boot_id = boot_id if boot_id is not None else own_boot_id()

    def serve(self, handle: Callable[[Request, int], Reply], now_ns: int) -> int:
        """Answer what waits, at most ``MAX_PER_CALL`` requests; returns how many were answered."""
        answered = 0
        for _ in range(MAX_PER_CALL):
            frames = self._frames()
            if frames is None:
                break
            if len(frames) != 2:
                self.malformed += 1
                continue
            request = self._decode(frames[1])
            if request is None:
                continue
            reply = self._encoder.encode(
                self._clock(request)
                if isinstance(request, ClockRequest)
                else handle(request, now_ns)
            )
            try:
                self.socket.send_multipart([frames[0], reply], zmq.NOBLOCK)
            except zmq.ZMQError:  # the client has gone, or reads nothing: not the loop's concern
                continue
            answered += 1
        return answered

    def _clock(self, request: ClockRequest) -> Reply:
        """Answer with the time of this very moment: that of the loop's turn is already past."""
        return Reply(
            session=request.session,
            sequence=request.sequence,
            ok=True,
            text=self._boot_id,
            clock_ns=self._clock_ns(),
        )


class ControlClient(Receiver[Reply]):
    """Asks an arm controller, and waits for the acknowledgement; not for control loops."""

    def __init__(self, addresses: ArmAddresses, *, context: zmq.Context[Any] | None = None) -> None:
        super().__init__(
            zmq.DEALER,
            addresses.control,
            Reply,
            MAX_CONTROL_BYTES,
            bind=False,
            context=context,
            curve=addresses.curve,
            options={zmq.SNDHWM: 64},
        )
        self._name = addresses.name
        self._encoder = msgspec.msgpack.Encoder()

    def ask(self, request: Request, timeout_s: float = 1.0) -> Reply:
        """Send a request and return its acknowledgement.

        Raises:
            WireError: none came in time.
        """
        deadline_s = time.monotonic() + timeout_s
        try:
            self.socket.send(self._encoder.encode(request), zmq.NOBLOCK)
        except zmq.Again:
            raise self._silence(request, timeout_s) from None
        while (left_s := deadline_s - time.monotonic()) > 0.0:
            if not self.socket.poll(max(1, int(left_s * 1e3)), zmq.POLLIN):
                continue
            for reply in self.drain():
                # An acknowledgement of an earlier request that had been given up is no answer.
                if (reply.session, reply.sequence) == (request.session, request.sequence):
                    return reply
        raise self._silence(request, timeout_s)

    def measure_clock(self, session: int, count: int = 16, timeout_s: float = 1.0) -> ClockOffset:
        """Return the offset of the controller's clock; on one host it is 0 and certain.

        Raises:
            WireError: the controller does not answer.
        """
        estimator = ClockEstimator()
        for sequence in range(count):
            offset = self.ask_clock(estimator, session, sequence, timeout_s)
            if offset is SAME_CLOCK:
                break
        return offset

    def ask_clock(
        self, estimator: ClockEstimator, session: int, sequence: int, timeout_s: float = 1.0
    ) -> ClockOffset:
        """Ask for the controller's clock once, and return what is known of it now.

        Raises:
            WireError: the controller does not answer.
        """
        asked_ns = time.monotonic_ns()
        reply = self.ask(ClockRequest(session=session, sequence=sequence), timeout_s)
        answered_ns = time.monotonic_ns()
        if reply.text == own_boot_id():
            return SAME_CLOCK
        return estimator.add(
            ClockSample(asked_ns=asked_ns, answered_ns=answered_ns, theirs_ns=reply.clock_ns)
        )

    def _silence(self, request: Request, timeout_s: float) -> WireError:
        return WireError(
            f"the controller of arm {self._name!r} did not answer {type(request).__name__} "
            f"within {timeout_s:g} s",
            next_command=f"look whether it runs: dvla-arm state --arm-name {self._name}"
            if self._endpoint.startswith("ipc://")
            else "on its host, look whether `dvla-arm run` runs, whether this host's key is on "
            f"its allow-list (dvla-keys list), and whether {self._endpoint} can be reached; "
            "here, whether --arm-key is its public key",
        )


__all__ = [
    "ArmAddresses",
    "CommandPublisher",
    "CommandSubscriber",
    "ControlClient",
    "ControlServer",
    "EventPuller",
    "EventPusher",
    "StatePublisher",
    "StateStream",
    "StateSubscriber",
]
