"""What is done to a run from outside: signals in a rhythm, and messages that nobody should send."""

from __future__ import annotations

import signal
import time
from contextlib import closing

import msgspec
import numpy as np
import zmq

from dvla.benchmarks.faults.live import WatchedRun, alive
from dvla.runtime.messages import ArmState, Command

HALF_S = 0.04
SEND_S = 1.5


def slow_down(run: WatchedRun, name: str, seconds: float) -> None:
    """Stop a process half of the time."""
    pid = run.pids[name]
    end = time.monotonic() + seconds
    while time.monotonic() < end and not run.ended and alive(pid):
        run.signal(name, signal.SIGSTOP)
        time.sleep(HALF_S)
        run.signal(name, signal.SIGCONT)
        run.watch()
        time.sleep(HALF_S)


def _send(run: WatchedRun, payloads: list[bytes]) -> None:
    """Send payloads to the sockets for commands, requests and events, over and over."""
    addresses = run.addresses
    kinds = {
        addresses.commands: zmq.PUB, addresses.control: zmq.DEALER, addresses.events: zmq.PUSH
    }  # fmt: skip
    sockets: list[zmq.Socket[bytes]] = []
    for endpoint, kind in kinds.items():
        socket: zmq.Socket[bytes] = zmq.Context.instance().socket(kind)
        socket.linger = 0
        socket.connect(endpoint)
        sockets.append(socket)
    end = time.monotonic() + SEND_S
    try:
        while time.monotonic() < end and not run.ended:
            for socket in sockets:
                for payload in payloads:
                    try:
                        socket.send(payload, zmq.NOBLOCK)
                    except zmq.Again:
                        continue
            run.watch()
            time.sleep(0.01)
    finally:
        for socket in sockets:
            socket.close()


def garbage(run: WatchedRun) -> None:
    """Send bytes that mean nothing."""
    rng = np.random.default_rng(1)
    _send(run, [b"", b"\xc1", rng.bytes(64), b"\x81\xa4type\xa7command", rng.bytes(3000)])


def oversized(run: WatchedRun) -> None:
    """Send messages far over every cap."""
    _send(run, [b"\0" * (4 << 20)])


def _command(run: WatchedRun, session: int, setpoints: np.ndarray, sequence: int) -> Command:
    now_ns = time.monotonic_ns()
    return Command(
        session=session,
        sequence=sequence,
        generation=0,
        t_obs_ns=now_ns,
        t_due_ns=now_ns,
        valid_until_ns=now_ns + 90_000_000,
        arm_epoch=_state(run).arm_epoch,
        period_ns=4_000_000,
        setpoints=np.ascontiguousarray(setpoints, "<f8").tobytes(),
    )


def _commands(run: WatchedRun, setpoints: np.ndarray, *, stolen: bool) -> None:
    socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.PUB)
    socket.linger = 0
    socket.connect(run.addresses.commands)
    with closing(socket):
        end = time.monotonic() + SEND_S
        sequence = 1 << 40
        while time.monotonic() < end and not run.ended:
            run.watch()
            session = _state(run).lease_session if stolen else 12345
            sequence += 1
            command = _command(run, session, setpoints, sequence)
            socket.send(msgspec.msgpack.encode(command))
            time.sleep(0.002)


def _state(run: WatchedRun) -> ArmState:
    assert run.state is not None, "a run that moves has told a state"
    return run.state


def _rest(run: WatchedRun) -> np.ndarray:
    return np.repeat(np.array(_state(run).commanded)[None], 28, axis=0)


def stranger(run: WatchedRun) -> None:
    """Command the arm without its lease."""
    _commands(run, _rest(run), stolen=False)


def forged_nan(run: WatchedRun) -> None:
    """Command NaN in the commander's name."""
    setpoints = _rest(run)
    setpoints[:, 1] = np.nan
    _commands(run, setpoints, stolen=True)


def forged_jump(run: WatchedRun) -> None:
    """Command a far target in the commander's name."""
    setpoints = _rest(run)
    setpoints[:, 1] += 0.3
    _commands(run, setpoints, stolen=True)


def control_flood(run: WatchedRun) -> None:
    """Ask what only the commander may ask, faster than anybody can answer."""
    socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
    socket.linger = 0
    socket.connect(run.addresses.control)
    with closing(socket):
        request = msgspec.msgpack.encode({"type": "release", "session": 999, "sequence": 1})
        for _ in range(5000):
            try:
                socket.send(request, zmq.NOBLOCK)
            except zmq.Again:
                time.sleep(0.001)
        run.watch()
        time.sleep(0.5)
