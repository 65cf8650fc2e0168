"""The bus under the driver: addresses, frames that are not the arm's, and a bus that fails."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from dvla.engines.errors import MissingDependency
from dvla.runtime.errors import ConfigError, RobotFault
from dvla.runtime.robots.piper.bus import BusMissing, CanBus, ReadAhead, open_bus
from dvla.runtime.robots.piper.driver import MAX_REFUSED_TICKS
from dvla.runtime.robots.piper.protocol import Frame


@pytest.mark.parametrize("address", ["", "tcp:can0", "slcan:", "virtual:", ":can0"])
def test_an_address_that_is_no_bus_lists_what_would_be(address: str) -> None:
    with pytest.raises(ConfigError, match=r"can0, slcan:/dev/ttyACM0, virtual:NAME"):
        open_bus(address)


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from dvla.runtime.robots.piper.start import open_piper

    monkeypatch.setitem(sys.modules, "can", None)
    with pytest.raises(MissingDependency, match=r"package can\..*pip install \"dvla\[piper"):
        open_piper("can0", 0.004)


def test_a_bus_that_does_not_exist_says_what_to_do() -> None:
    pytest.importorskip("can", reason="python-can is not installed")
    with pytest.raises(BusMissing, match=r"no-such-can.*ip link set no-such-can up"):
        open_bus("no-such-can")
    with pytest.raises(BusMissing, match=r"check the adapter"):
        open_bus("slcan:/dev/no-such-port")


def test_frames_that_are_not_the_arms_are_passed_over() -> None:
    can = pytest.importorskip("can", reason="python-can is not installed")
    stranger = can.Bus(interface="virtual", channel="strangers")
    bus = open_bus("virtual:strangers")
    stranger.send(can.Message(arbitration_id=0x2A5, data=bytes(8), is_extended_id=True))
    stranger.send(can.Message(arbitration_id=0x2A5, data=bytes(3), is_extended_id=False))
    stranger.send(can.Message(arbitration_id=0x2A5, is_remote_frame=True, is_extended_id=False))
    stranger.send(can.Message(arbitration_id=0x2A5, data=bytes(range(8)), is_extended_id=False))
    assert bus.receive() == Frame(0x2A5, bytes(range(8)))
    assert bus.receive() is None
    assert bus.send(Frame(0x155, bytes(8)))
    assert stranger.recv(0).arbitration_id == 0x155
    bus.close()
    stranger.shutdown()
    assert not bus.send(Frame(0x155, bytes(8)))
    with pytest.raises(RobotFault, match="the CAN bus is gone"):
        bus.receive()


def test_a_garbled_line_and_an_acknowledgement_hide_no_frame() -> None:
    can = pytest.importorskip("can", reason="python-can is not installed")
    message = can.Message(arbitration_id=0x2A1, data=bytes(8), is_extended_id=False)
    answers = iter([ValueError("not hexadecimal"), None, IndexError(), message, None, None, None])

    class Serial:
        def recv(self, timeout: float) -> object:
            assert timeout == 0
            answer = next(answers)
            if isinstance(answer, Exception):
                raise answer
            return answer

    bus = CanBus(can, Serial(), chatter=2)
    assert bus.receive() == Frame(0x2A1, bytes(8))
    assert bus.receive() is None
    assert next(answers, "used up") == "used up"


def test_a_serial_port_is_asked_once_for_all_that_it_has() -> None:
    class Port:
        timeout = 0
        coming, asked = b"t2A18\rt2A5", 0

        @property
        def in_waiting(self) -> int:
            return len(self.coming)

        def read(self, size: int) -> bytes:
            self.asked += 1
            part, self.coming = self.coming[:size], self.coming[size:]
            return part

        def reset_input_buffer(self) -> None:
            self.coming = b""

    port = Port()
    ahead = ReadAhead(port)
    assert ahead.in_waiting == 10 and ahead.timeout == 0
    assert b"".join(ahead.read(1) for _ in range(10)) == b"t2A18\rt2A5" and port.asked == 1
    port.coming = b"8\r"
    assert ahead.read(1) == b"8" and ahead.in_waiting == 1
    ahead.reset_input_buffer()
    assert ahead.read(1) == b"" and ahead.in_waiting == 0


def test_a_bus_that_takes_no_frames_is_a_fault_but_one_lost_frame_is_not() -> None:
    for package in ("can", "mujoco"):
        pytest.importorskip(package)
    from piper_rig import PiperRig

    rig = PiperRig().take_over()
    setpoint = rig.read(5).setpoint
    refused = iter([False] * 3)
    send = rig.driver._bus.send
    rig.driver._bus.send = lambda frame: next(refused, True) and send(frame)
    assert rig.follow(setpoint, 0.4).fault == ""
    rig.driver._bus.send = lambda frame: False
    assert rig.follow(setpoint, 0.004 * MAX_REFUSED_TICKS).fault == ""
    assert rig.follow(setpoint, 0.02).fault == "the CAN bus takes no frames"
    rig.close()


def test_no_thread_is_started() -> None:
    import threading

    for package in ("can", "mujoco"):
        pytest.importorskip(package)
    from piper_rig import PiperRig

    before = threading.active_count()
    rig = PiperRig().take_over()
    rig.follow(rig.read(5).setpoint, 0.2)
    assert threading.active_count() == before
    assert np.isfinite(rig.true_q()).all()
    rig.close()
