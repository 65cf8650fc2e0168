"""A driver, a bus and an emulated PiPER under one virtual clock."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
from piper_emulator import CAN, MOVE_J, MS, PiperEmulator

from dvla.runtime.robots.base import ArmReading
from dvla.runtime.robots.piper.bus import open_bus
from dvla.runtime.robots.piper.driver import PiperDriver
from dvla.runtime.robots.piper.start import await_feedback, open_piper, take_over

PERIOD_MS = 4
_names = itertools.count()


class PiperRig:
    """Everything on one virtual bus; ``wait`` is the clock of all of it.

    Args:
        options: of the emulator.
    """

    def __init__(self, **options: Any) -> None:
        address = f"virtual:piper-{next(_names)}"
        self.port = open_bus(address)
        self.arm = PiperEmulator(self.port, **options)
        self.driver: PiperDriver = open_piper(address, PERIOD_MS * 1e-3)
        self.now_ns = 5_000_000 * MS

    def wait(self) -> int:
        """Let a period pass; return its end."""
        self.now_ns += PERIOD_MS * MS
        self.arm.step(self.now_ns)
        return self.now_ns

    joints = 6

    def true_q(self) -> np.ndarray:
        """Return where the arm's joints are."""
        return self.arm.q.copy()

    def hear(self) -> PiperRig:
        """Wait for the arm's feedback."""
        await_feedback(self.driver, self.wait)
        return self

    def take_over(self) -> PiperRig:
        """Hear from the arm and engage it."""
        self.hear()
        take_over(self.driver, self.wait)
        return self

    def read(self, ticks: int = 1) -> ArmReading:
        """Return the reading after some periods without a command."""
        for _ in range(ticks):
            reading = self.driver.read(self.wait())
        return reading

    def follow(self, setpoint: np.ndarray, duration_s: float) -> ArmReading:
        """Command one setpoint for a while; return the last reading."""
        for _ in range(round(duration_s * 1000 / PERIOD_MS)):
            now_ns = self.wait()
            reading = self.driver.read(now_ns)
            self.driver.command(setpoint, now_ns)
        return reading

    def sent(self) -> list[int]:
        """Return the identifiers that reached the arm."""
        return [id_ for id_, _ in self.arm.received]

    def assert_harmless(self) -> None:
        """No frame that disables, stops, leaves CAN control or moves a zero was ever sent."""
        for id_, data in self.arm.received:
            assert id_ in (0x151, 0x155, 0x156, 0x157, 0x159, 0x471)
            if id_ == 0x471:
                assert 1 <= data[0] <= 6 and data[1] == 2
            if id_ == 0x151:
                assert data[:2] == bytes([CAN, MOVE_J]) and data[3:] == bytes(5)
            if id_ == 0x159:
                assert data[6:] == bytes([1, 0])
            if id_ in (0x155, 0x156, 0x157):
                assert max(abs(v) for v in struct.unpack(">ii", data)) <= 180_000

    def close(self) -> None:
        """Close both ends, once the arm has heard the last of the driver."""
        self.driver.close()
        self.wait()
        self.port.close()


MakeRig = Callable[..., PiperRig]
