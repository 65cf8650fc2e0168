"""The journal of the arm controller: every call of it in its order, as rows of fixed size.

The rows go into a shared ring that the recorder reads. A row per turn holds the driver's reading,
the command of the turn and its verdict, and what the controller did: its mode and the setpoint that
it sent. Requests and the words of faults are rows of their own.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from dvla.bindings import SharedRing
from dvla.runtime.arm import ArmController
from dvla.runtime.arm_samples import ARM_MODES, MAX_JOINTS
from dvla.runtime.errors import RobotFault
from dvla.runtime.messages import (
    Command,
    HoldRequest,
    LeaseRequest,
    Reply,
    Request,
    plain_words,
)
from dvla.runtime.pose import Float64
from dvla.runtime.robots.base import ArmDriver, ArmReading
from dvla.runtime.safety import REASONS, Verdict

READING_WIDTH = 8 + 6 + MAX_JOINTS + MAX_JOINTS
ARM_CALL = np.dtype(
    [
        ("t_ns", "<i8"),  # now_ns of the call
        ("kind", "<i4"),  # START, TURN, COMMAND, REQUEST or FAULT
        ("flags", "<i4"),  # READ_RAISED, COMMAND_RAISED of a turn; STANDBY, SHADOW
        ("session", "<i8"),  # of the command, 0 when the turn had none
        ("sequence", "<i8"),
        ("verdict", "<i4"),  # 0 accepted, else 1 + index into safety.REASONS
        ("mode", "<i4"),  # after the turn, index into ARM_MODES
        ("joints", "<i4"),  # valid entries of q and dq
        ("bytes", "<i4"),  # of the text in ``reading`` (requests, faults)
        ("reading_t_ns", "<i8"),
        ("reading", "<f8", (READING_WIDTH,)),  # setpoint (8), twist (6), q (8), dq (8)
        ("commanded", "<f8", (8,)),  # sent to the driver in this turn; NaN when nothing was
    ]
)
"""One row per turn of the arm controller."""

ARM_CALL_SLOTS = 3072  # 12 s, as the servo's ticks have
START, TURN, COMMAND, REQUEST, FAULT = range(5)
READ_RAISED, COMMAND_RAISED, STANDBY, SHADOW = 1, 2, 4, 8
"""STANDBY: the text of a FAULT row is the driver's standby. SHADOW: the START was in shadow."""
MAX_TEXT = READING_WIDTH * 8
_WORDS: dict[type, str] = {HoldRequest: "reason", LeaseRequest: "holder"}
"""Requests with words for people."""
_WORDS_KEPT = 60
"""Letters of them, at most, that are kept."""
_LETTER_BYTES = 4
_REQUESTS: msgspec.json.Decoder[Request] = msgspec.json.Decoder(Request)


class WatchedDriver:
    """An ``ArmDriver`` that remembers what the last turn read and sent.

    Args:
        driver: the arm or its twin.
    """

    def __init__(self, driver: ArmDriver) -> None:
        self._driver = driver
        self.flags = 0
        self.fault = ""
        self.reading: ArmReading | None = None
        self.sent: Float64 | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver, name)  # what else a driver offers passes through

    def read(self, now_ns: int) -> ArmReading:
        """Return the driver's reading."""
        try:
            self.reading = self._driver.read(now_ns)
        except RobotFault as fault:
            self.flags |= READ_RAISED
            self.fault = str(fault)
            raise
        return self.reading

    def command(self, setpoint: Float64, now_ns: int) -> None:
        """Send a setpoint (8,)."""
        self.sent = setpoint
        try:
            self._driver.command(setpoint, now_ns)
        except RobotFault as fault:
            self.flags |= COMMAND_RAISED
            self.fault = str(fault)
            raise

    def close(self) -> None:
        """Close the driver."""
        self._driver.close()


class JournaledArmController(ArmController):
    """An ``ArmController`` that writes its journal; it decides exactly as its base does.

    Args:
        driver: the arm or its twin.
        limits, events, now_ns, kwargs: of ``ArmController``.
        calls: ring with slots of ``ARM_CALL``.
    """

    def __init__(
        self, driver: ArmDriver, *args: Any, session: int, calls: SharedRing, **kwargs: Any
    ) -> None:
        self._watched = WatchedDriver(driver)
        super().__init__(self._watched, *args, session=session, **kwargs)
        self._calls = calls
        self._row = np.zeros(1, ARM_CALL)
        self._row_bytes = self._row.view(np.uint8)
        self._pending: tuple[int, Command, Verdict] | None = None
        self._told = ("", "")
        self._watched.flags = SHADOW if kwargs.get("shadow") else 0
        self._tell(START, args[2] if len(args) > 2 else kwargs["now_ns"], session=session)

    def on_command(self, command: Command, now_ns: int) -> Verdict:
        """Pass a command through the gate."""
        verdict = super().on_command(command, now_ns)
        self._flush()
        self._pending = (now_ns, command, verdict)
        return verdict

    def handle(self, request: Request, now_ns: int) -> Reply:
        """Answer a request."""
        self._flush()
        self._write_text(REQUEST, _fitted(request), now_ns)
        return super().handle(request, now_ns)

    def tick(self, now_ns: int) -> None:
        """Take a turn."""
        self._watched.flags, self._watched.sent = 0, None
        super().tick(now_ns)
        reading = self._watched.reading
        fault = self._watched.fault if self._watched.flags else reading.fault if reading else ""
        standby = reading.standby if reading else ""
        if (fault, standby) != self._told:
            if fault != self._told[0]:
                self._write_text(FAULT, fault.encode(), now_ns)
            if standby != self._told[1]:
                self._write_text(FAULT, standby.encode(), now_ns, STANDBY)
            self._told = (fault, standby)
        self._tell(TURN, now_ns)

    def _tell(self, kind: int, now_ns: int, session: int = 0) -> None:
        """Publish the row of a turn, with the command that came before it."""
        row = self._row[0]
        self._clear(kind, now_ns)
        row["session"] = session
        if self._pending is not None:
            _, command, verdict = self._pending
            self._pending = None
            row["session"], row["sequence"] = command.session, command.sequence
            row["verdict"] = verdict_code(verdict)
        row["flags"] = self._watched.flags
        row["mode"] = ARM_MODES.index(self.mode)
        if self._watched.reading is not None:
            _put_reading(row, self._watched.reading)
        row["commanded"] = np.nan if self._watched.sent is None else self._watched.sent
        self._calls.publish(self._row_bytes, now_ns)

    def _flush(self) -> None:
        """Publish a command that no turn has followed yet."""
        if self._pending is None:
            return
        now_ns, command, verdict = self._pending
        self._pending = None
        row = self._row[0]
        self._clear(COMMAND, now_ns)
        row["session"], row["sequence"] = command.session, command.sequence
        row["verdict"] = verdict_code(verdict)
        self._calls.publish(self._row_bytes, now_ns)

    def _write_text(self, kind: int, text: bytes, now_ns: int, flags: int = 0) -> None:
        self._clear(kind, now_ns)
        self._row["flags"] = flags
        kept = text[:MAX_TEXT]
        self._row["bytes"] = len(kept)
        self._row["reading"].view(np.uint8)[0, : len(kept)] = np.frombuffer(kept, np.uint8)
        self._calls.publish(self._row_bytes, now_ns)

    def _clear(self, kind: int, now_ns: int) -> None:
        self._row_bytes[:] = 0
        self._row["kind"] = kind
        self._row["t_ns"] = now_ns


def verdict_code(verdict: Verdict) -> int:
    """Return 0 for an accepted command, else 1 + the place of its reason in ``REASONS``."""
    return 1 + REASONS.index(verdict.reason) if verdict.reason else 0


def verdict_name(code: int) -> str:
    """Return the reason behind a code, ``accepted`` for 0."""
    return REASONS[code - 1] if code else "accepted"


def row_request(row: np.void) -> Request | None:
    """Return the request of a REQUEST row, or None when it is not known.

    Older journals cut long words for people, and with them who asked. A hold is obeyed whoever asks
    for it.
    """
    text = _row_bytes(row)
    try:
        return _REQUESTS.decode(text)
    except msgspec.DecodeError:
        if text.startswith(b'{"type":"hold"'):
            return HoldRequest(session=0, sequence=0, reason="")
        return None


def row_fault(row: np.void) -> str:
    """Return the text of a FAULT row, which may have been cut in the middle of a letter."""
    return _row_bytes(row).decode(errors="replace")


def _row_bytes(row: np.void) -> bytes:
    return np.asarray(row["reading"]).tobytes()[: int(row["bytes"])]


def _fitted(request: Request) -> bytes:
    """Return a request as JSON that fits into a row: words for people are cut until it does."""
    name = _WORDS.get(type(request))
    if name is None:
        return msgspec.json.encode(request)
    words = plain_words(getattr(request, name))[:_WORDS_KEPT]
    while True:
        text = msgspec.json.encode(msgspec.structs.replace(request, **{name: words}))
        excess = len(text) - MAX_TEXT
        if excess <= 0 or not words:
            return text
        words = words[: -1 - excess // _LETTER_BYTES]


def row_reading(row: np.void, fault: str, standby: str = "") -> ArmReading:
    """Return the driver's reading in a START or TURN row."""
    values: NDArray[np.float64] = np.array(row["reading"])
    joints = int(row["joints"])
    return ArmReading(
        t_ns=int(row["reading_t_ns"]),
        setpoint=values[:8],
        twist=values[8:14],
        q=values[14 : 14 + joints],
        dq=values[14 + MAX_JOINTS : 14 + MAX_JOINTS + joints],
        fault=fault,
        standby=standby,
    )


def _put_reading(row: np.void, reading: ArmReading) -> None:
    joints = min(len(reading.q), MAX_JOINTS)
    row["joints"] = joints
    row["reading_t_ns"] = reading.t_ns
    values = row["reading"]
    values[:8] = reading.setpoint
    values[8:14] = reading.twist
    values[14 : 14 + joints] = reading.q[:joints]
    values[14 + MAX_JOINTS : 14 + MAX_JOINTS + joints] = reading.dq[:joints]
