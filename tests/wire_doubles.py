"""What the tests of the wire send, and how they wait for it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

import numpy as np
import zmq
from arm_doubles import HOME

from dvla.runtime.messages import ArmState, Command, Reply, Request


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


def echo(request: Request, now_ns: int) -> Reply:
    return Reply(session=request.session, sequence=request.sequence, ok=True, text=str(now_ns))


def stranger_in(opened: contextlib.ExitStack, context: zmq.Context, kind: int) -> zmq.Socket:
    """Return a bare socket, as a peer has it that is no program of ours."""
    socket = context.socket(kind)
    opened.callback(socket.close)
    socket.setsockopt(zmq.LINGER, 0)
    return socket
