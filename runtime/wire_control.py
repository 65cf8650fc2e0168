"""Requests to an arm controller and their acknowledgements; and its clock, asked the same way."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import zmq

from dvla.runtime.addresses import ArmAddresses
from dvla.runtime.clock_offset import SAME_CLOCK, ClockEstimator, ClockOffset, ClockSample
from dvla.runtime.errors import WireError
from dvla.runtime.messages import ClockRequest, Envelope, Reply, Request
from dvla.runtime.wire_link import Plug, Receiver

MAX_CONTROL_BYTES = 4 * 1024
REPLY_QUEUE = 2000
WHAT_IS_ASKED = "the request"
"""A refusal that begins so is one of the wire, not of the controller."""


def own_boot_id() -> str:
    """Return what names this boot of this host; its monotonic clock lives as long."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


class ControlServer(Receiver[Request]):
    """The arm's end of the requests; take ``lock_arm`` first.

    Args:
        addresses: of the arm.
        context: of the socket.
        clock_ns: what a ``ClockRequest`` is answered with.
        boot_id: of the clock; two hosts with one boot id are one host.
    """

    message = Request
    frame_count = 2  # who asks, and what
    plug = Plug(zmq.ROUTER, "control", True, MAX_CONTROL_BYTES, {zmq.SNDHWM: REPLY_QUEUE})

    def __init__(
        self,
        addresses: ArmAddresses,
        *,
        context: zmq.Context[Any] | None = None,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        boot_id: str | None = None,
    ) -> None:
        super().__init__(addresses, context=context)
        self._encoder = msgspec.msgpack.Encoder()
        self._clock_ns = clock_ns
        self._boot_id = boot_id if boot_id is not None else own_boot_id()

    def serve(self, handle: Callable[[Request, int], Reply], now_ns: int) -> int:
        """Answer what waits, at most ``MAX_PER_CALL`` requests; returns how many were answered."""
        answered = 0
        for asker, frame in self._messages():
            request = self._decode(frame)
            if isinstance(request, ClockRequest):
                reply = self._clock(request)
            elif request is not None:
                reply = handle(request, now_ns)
            elif (asked := self._take_foreign()) is not None:
                reply = _refusal(asked)
            else:
                continue
            try:
                self.socket.send_multipart([asker, self._encoder.encode(reply)], zmq.NOBLOCK)
            except zmq.ZMQError:  # the client has gone, or reads nothing: not the loop's concern
                continue
            answered += 1
        return answered

    def _take_foreign(self) -> Envelope | None:
        asked, self.foreign = self.foreign, None
        return asked

    def _clock(self, request: ClockRequest) -> Reply:
        """Answer with the time of this very moment: that of the loop's turn is already past."""
        return Reply(
            session=request.session,
            sequence=request.sequence,
            ok=True,
            text=self._boot_id,
            clock_ns=self._clock_ns(),
        )


def _refusal(asked: Envelope) -> Reply:
    """Refuse a request of another schema, in the asker's own so that it understands."""
    return Reply(
        session=asked.session,
        sequence=asked.sequence,
        schema=asked.schema,
        ok=False,
        text=f"{WHAT_IS_ASKED} is not understood: {asked.words}",
    )


class ControlClient(Receiver[Reply]):
    """Asks an arm controller, and waits for the acknowledgement; not for control loops."""

    message = Reply
    plug = Plug(zmq.DEALER, "control", False, MAX_CONTROL_BYTES, {zmq.SNDHWM: 64})

    def __init__(self, addresses: ArmAddresses, *, context: zmq.Context[Any] | None = None) -> None:
        super().__init__(addresses, context=context)
        self._name = addresses.name
        self._encoder = msgspec.msgpack.Encoder()

    def ask(self, request: Request, timeout_s: float = 1.0) -> Reply:
        """Send a request and return its acknowledgement.

        Raises:
            WireError: none came in time, or the controller is of another version.
        """
        deadline_s = time.monotonic() + timeout_s
        try:
            self.socket.send(self._encoder.encode(request), zmq.NOBLOCK)
        except zmq.Again:
            raise self._silence(request, timeout_s) from None
        while (left_s := deadline_s - time.monotonic()) > 0.0:
            if not self.socket.poll(max(1, int(left_s * 1e3)), zmq.POLLIN):
                continue
            replies = self.drain()
            if self.foreign is not None:
                raise self._other_version(self.foreign.words)
            for reply in replies:
                # An acknowledgement of an earlier request that had been given up is no answer.
                if (reply.session, reply.sequence) == (request.session, request.sequence):
                    if not reply.ok and reply.text.startswith(WHAT_IS_ASKED):
                        raise self._other_version(reply.text)
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

    def _other_version(self, why: str) -> WireError:
        return WireError(
            f"the controller of arm {self._name!r} and this program do not understand each other",
            got=why,
            next_command="python -c 'import dvla; print(dvla.__version__)', on both sides",
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
