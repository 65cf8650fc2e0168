"""The CAN bus under the driver: python-can, without its threads."""

from __future__ import annotations

import contextlib
import importlib
from types import ModuleType
from typing import Any, Protocol

from dvla.engines.errors import MissingDependency
from dvla.runtime.errors import ConfigError, RobotFault
from dvla.runtime.robots.piper.protocol import Frame

BITRATE = 1_000_000
SERIAL_CHATTER = 12
INSTALL = 'pip install "dvla[piper]"'


class BusMissing(RobotFault):
    """There is no such bus on this machine, or it cannot be opened."""

    exit_code = 3


class FrameBus(Protocol):
    """Sends and receives frames; nothing here blocks."""

    def send(self, frame: Frame) -> bool:
        """Send a frame; return whether the bus took it."""

    def receive(self) -> Frame | None:
        """Return the next frame, or None when there is none.

        Raises:
            RobotFault: the bus is gone.
        """

    def close(self) -> None:
        """Let go of the bus."""


class ReadAhead:
    """A serial port whose bytes are fetched all at once, and handed out one by one.

    python-can asks for single bytes, each of which costs two system calls at the port itself.

    Args:
        port: of pyserial, with a timeout of 0.
    """

    def __init__(self, port: Any) -> None:
        self._port = port
        self._ahead = b""
        self._at = 0

    @property
    def in_waiting(self) -> int:
        """Bytes that can be read now."""
        return len(self._ahead) - self._at or int(self._port.in_waiting)

    def read(self, size: int = 1) -> bytes:
        """Return up to ``size`` bytes that are there."""
        if self._at == len(self._ahead):
            self._ahead, self._at = self._port.read(max(size, self._port.in_waiting)), 0
        part = self._ahead[self._at : self._at + size]
        self._at += len(part)
        return part

    def reset_input_buffer(self) -> None:
        """Forget what has come."""
        self._ahead, self._at = b"", 0
        self._port.reset_input_buffer()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._port, name)


class CanBus:
    """A bus of python-can. Without a Notifier it has no thread: its queue is the kernel's.

    Args:
        can: the module ``can``.
        bus: an open bus.
        chatter: answers in a row that may be no frame before the bus counts as empty; a serial
            adapter acknowledges every frame that it is given, and each is such an answer.
    """

    def __init__(self, can: ModuleType, bus: Any, *, chatter: int = 0) -> None:
        self._can, self._bus, self._chatter = can, bus, chatter

    def send(self, frame: Frame) -> bool:
        """Send a frame; return whether the bus took it."""
        id_, data = frame
        message = self._can.Message(arbitration_id=id_, data=data, is_extended_id=False)
        try:
            self._bus.send(message)
        except (self._can.CanError, OSError):
            return False
        return True

    def receive(self) -> Frame | None:
        """Return the next data frame of 8 bytes with an 11-bit identifier, or None."""
        empty = 0
        while empty <= self._chatter:
            try:
                message = self._bus.recv(0)
            except (self._can.CanError, OSError) as error:
                raise RobotFault("the CAN bus is gone", got=str(error)) from error
            except (ValueError, IndexError):
                continue  # a serial adapter garbled a line: one frame is lost
            if message is None:
                empty += 1
                continue
            ordinary = not (message.is_extended_id or message.is_error_frame)
            if ordinary and not message.is_remote_frame and message.dlc == 8:
                return Frame(message.arbitration_id, bytes(message.data))
        return None

    def close(self) -> None:
        """Let go of the bus; of one that was pulled out there is nothing left to close."""
        with contextlib.suppress(self._can.CanError, OSError):
            self._bus.shutdown()


def import_can() -> ModuleType:
    """Return the module ``can``, or say how to install it."""
    try:
        return importlib.import_module("can")
    except ImportError as error:
        raise MissingDependency(
            "The PiPER needs the Python package can", got=str(error), next_command=INSTALL
        ) from error


def open_bus(address: str) -> CanBus:
    """Open the bus that an address names.

    Args:
        address: ``can0``: a SocketCAN interface that is up; ``slcan:/dev/ttyACM0``: a serial
            adapter; ``virtual:NAME``: a bus within this process, for tests.

    Raises:
        ConfigError: the address is none of these.
        MissingDependency: python-can is not installed.
        BusMissing: the bus cannot be opened.
    """
    kind, colon, channel = address.partition(":")
    if not colon:
        kind, channel = "socketcan", address
    # A serial port is read without waiting; its adapter needs no settling time of ours.
    options: dict[str, dict[str, Any]] = {
        "socketcan": {},
        "slcan": {"bitrate": BITRATE, "sleep_after_open": 0.0, "timeout": 0.0},
        "virtual": {},
    }
    if kind not in options or not channel:
        raise ConfigError(
            "the address is no CAN bus",
            got=repr(address),
            choices=["can0", "slcan:/dev/ttyACM0", "virtual:NAME"],
        )
    can = import_can()
    try:
        bus = can.Bus(interface=kind, channel=channel, **options[kind])
        if kind != "slcan":
            return CanBus(can, bus)
        bus.serialPortOrig = ReadAhead(bus.serialPortOrig)
        return CanBus(can, bus, chatter=SERIAL_CHATTER)
    except (can.CanError, OSError, ImportError) as error:
        raise BusMissing(
            f"the CAN bus {address} cannot be opened",
            got=str(error),
            next_command=f"ip link set {channel} up type can bitrate {BITRATE}"
            if kind == "socketcan"
            else "check the adapter, its cable and the permissions of its port",
        ) from error
