"""An emulated PiPER behind a serial CAN adapter: a process of its own that owns a pty.

It prints the path of its port and then answers as an slcan adapter does. SIGUSR1: a person takes
the arm into standby and moves it. SIGTERM: it prints what became of the arm, as JSON, and ends.
Arguments are what is wrong with it: ``unpowered``, ``deaf-motors``, ``motor-error``, ``mute``.
"""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import signal
import sys
import time
import tty
from types import FrameType

import numpy as np
from piper_emulator import STANDBY, PiperEmulator


class SerialAdapter:
    """The adapter's end of the pty: text in, frames out, and the other way round."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._text = b""
        self._frames: list[tuple[int, bytes]] = []

    def poll(self) -> None:
        """Read what has come and acknowledge it."""
        try:
            ready = select.select([self._descriptor], [], [], 0)[0]
            self._text += os.read(self._descriptor, 65536) if ready else b""
        except OSError:  # nobody has the port open
            return
        *lines, self._text = self._text.split(b"\r")
        for line in lines:
            if line[:1] == b"t":
                self._frames.append((int(line[1:4], 16), bytes.fromhex(line[5:].decode())))
            self._write(b"z\r" if line[:1] == b"t" else b"\r")

    def send(self, frame: tuple[int, bytes]) -> bool:
        """Send a frame to the host; what does not fit is lost, as it is on the wire."""
        id_, data = frame
        return self._write(b"t%03X%d%s\r" % (id_, len(data), data.hex().upper().encode()))

    def receive(self) -> tuple[int, bytes] | None:
        """Return the next frame of the host."""
        return self._frames.pop(0) if self._frames else None

    def _write(self, text: bytes) -> bool:
        try:
            return os.write(self._descriptor, text) == len(text)
        except OSError:
            return False


def main() -> None:
    """Be an arm until SIGTERM."""
    with contextlib.suppress(OSError):  # an arm does not wait for a busy host
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))
    master, slave = pty.openpty()
    tty.setraw(slave)
    os.set_blocking(master, False)
    adapter = SerialAdapter(master)
    # At the arm's own 200 Hz either end of a serial line costs a good part of a busy core.
    wrong = sys.argv[1:]
    arm = PiperEmulator(adapter, feedback_ms=20, powered="unpowered" not in wrong)
    arm.wrong.deaf_motors = {2} if "deaf-motors" in wrong else set()
    arm.wrong.mute = "mute" in wrong
    arm.motor_errors[1] = 0x08 if "motor-error" in wrong else 0
    running = True

    def stop(_signal: int, _frame: FrameType | None) -> None:
        nonlocal running
        running = False

    def take_away(_signal: int, _frame: FrameType | None) -> None:
        arm.control = STANDBY
        arm.q = arm.q + np.array([0.3, 0.0, 0.0, 0.0, 0.0, 0.0])

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGUSR1, take_away)
    print(os.ttyname(slave), flush=True)
    lost_ns = 0
    while running:
        # Time that the process was stopped for did not pass for the arm either.
        now_ns = time.monotonic_ns() - lost_ns
        arm_ns = arm.now_ns
        if arm_ns and now_ns - arm_ns > 200_000_000:
            lost_ns += now_ns - arm_ns
            now_ns = arm_ns
        adapter.poll()
        arm.step(now_ns)
        time.sleep(0.001)
    report = {
        "q": arm.q.tolist(),
        "target": arm.joint_target.tolist(),
        "control": arm.control,
        "enabled": arm.enabled,
        "fell": arm.fell,
        "received": sorted({id_ for id_, _ in arm.received}),
    }
    json.dump(report, sys.stdout)


if __name__ == "__main__":
    main()
