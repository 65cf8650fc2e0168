"""The messages of the wire: single-frame msgpack structs, versioned, ordered, never trusted.

Setpoints and state travel PUB/SUB, of which the newest counts; lease, hold and the rest travel
DEALER/ROUTER with an acknowledgement. Order is (session, sequence): a restart is a new session.
Decoding checks types; finiteness and sizes are checked by ``Command.setpoints_array``.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from dvla.runtime.pose import SETPOINT_WIDTH

SCHEMA = 2
"""Of all messages here; whoever changes a field of one raises it, and a test insists."""
MAX_SETPOINTS = 256
Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
"""What rings and recordings hold. MessagePack has integers of twice that; they are no message."""

MAX_WORDS = 120
"""Letters that a controller keeps of what a peer says to people."""

ArmMode = Literal["idle", "hold", "follow", "stopping", "fault", "shutdown"]
"""idle: at rest, no commander; hold: at rest, commander known; stopping: running the stop."""


def plain_words(text: str) -> str:
    """Return what a peer says to people: printable, and no longer than people read."""
    return "".join(filter(str.isprintable, text[:MAX_WORDS]))


class Message(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=True):
    """Root of all messages; ``session`` names a sender's life, ``sequence`` orders it."""

    session: Int64
    sequence: Int64
    schema: Int64 = SCHEMA


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """What messages of every schema have in common; the rest of them is not looked at."""

    session: int
    sequence: int
    schema: int

    @property
    def words(self) -> str:
        """What is wrong with it, and what helps."""
        return (
            f"it speaks wire schema {self.schema}, this program speaks {SCHEMA}; install the same "
            "version of dvla on both sides"
        )


class Command(Message, frozen=True, tag="command"):
    """100 ms of future setpoints, played by due time.

    Attributes:
        generation: episode generation of the actions behind it.
        t_obs_ns: capture time of the observation behind the first setpoint.
        t_due_ns: when the first setpoint is due; the rest follow every ``period_ns``.
        valid_until_ns: the command is not accepted after this time.
        arm_epoch: the arm's epoch that it was planned from; the arm starts a new one at every stop.
        setpoints: (n, 8) float64, little endian, C order.
    """

    generation: Int64
    t_obs_ns: Int64
    t_due_ns: Int64
    valid_until_ns: Int64
    arm_epoch: Int64
    period_ns: Int64
    setpoints: bytes

    def setpoints_array(self) -> NDArray[np.float64] | None:
        """Return the setpoints (n, 8), or None when their size is not one."""
        rows, rest = divmod(len(self.setpoints), SETPOINT_WIDTH * 8)
        if rest or not 1 <= rows <= MAX_SETPOINTS:
            return None
        return np.frombuffer(self.setpoints, "<f8").reshape(rows, SETPOINT_WIDTH)


class ArmState(Message, frozen=True, tag="arm_state"):
    """What the arm controller reports, at its own rate.

    Attributes:
        t_ns: when the reading was taken.
        mode: what the controller is doing; ``reason`` says why it is not following.
        arm_epoch: rises at every stop; commands planned from an older epoch are refused.
        lease_session: the commander's session, 0 when there is none.
        command_sequence: newest command accepted from the commander, -1 when none.
        refused_sequence: newest command of the commander that was refused for the motion that it
            asks for, not for its header or its time; -1 when none.
        measured: (8,) setpoint layout; twist: (6,); q: (n,).
        commanded: (8,), what was last sent to the driver.
        tracking_m / tracking_rad: distance from commanded to measured.
        accepted / rejected: commands, counted; rejected by reason.
        held: somebody asked for a hold, and nobody has ended it yet.
        shadow: accepted commands are played to nobody; ``commanded`` is where they would lead.
        malformed: frames that were no message, counted.
        refused_peers: connections that were not let in, counted.
        twin: the arm is a digital twin, and hurts nobody; whoever does not say so is real.
        robot: that the controller has, by its name in the registry.
        widened: limits that an override has widened: name -> seconds left.
        slow: commands are judged by the envelope of a slow move.
    """

    t_ns: Int64
    mode: ArmMode
    reason: str
    arm_epoch: Int64
    lease_session: Int64
    command_sequence: Int64
    measured: tuple[float, ...]
    twist: tuple[float, ...]
    q: tuple[float, ...]
    commanded: tuple[float, ...]
    tracking_m: float
    tracking_rad: float
    accepted: Int64
    rejected: dict[str, Int64]
    held: bool = False
    shadow: bool = False
    malformed: Int64 = 0
    refused_peers: Int64 = 0
    twin: bool = False
    robot: str = ""
    widened: dict[str, float] = {}
    slow: bool = False
    refused_sequence: Int64 = -1


class LeaseRequest(Message, frozen=True, tag="lease"):
    """Ask to be the arm's one commander; ``holder`` is for people."""

    holder: str


class LeaseRelease(Message, frozen=True, tag="release"):
    """Give the lease back; the arm stops and holds."""


class HoldRequest(Message, frozen=True, tag="hold"):
    """Stop and hold; anyone may send it."""

    reason: str

    @property
    def words(self) -> str:
        """The reason as people are told it."""
        return plain_words(self.reason)


class FollowRequest(Message, frozen=True, tag="follow"):
    """The commander asks to be followed again after a hold or a stop."""


class ResumeRequest(Message, frozen=True, tag="resume"):
    """End a commanded hold; anyone may send it, and means it. The commander is followed again."""


class ExecuteRequest(Message, frozen=True, tag="execute"):
    """The commander, cleared by its preflight, asks that its commands reach the driver."""


class PaceRequest(Message, frozen=True, tag="pace"):
    """The commander is about to move slowly, and asks to be held to that; or it has done so.

    While ``slow``, the gate judges by the envelope of a slow move (``dvla.runtime.limits.SLOW``).
    It ends with the lease.
    """

    slow: bool


class ShutdownRequest(Message, frozen=True, tag="shutdown"):
    """Stop, hold, let go of the arm and end the controller process."""


class ClockRequest(Message, frozen=True, tag="clock"):
    """Ask for the controller's clock; answered by the wire itself, to anyone."""


class Reply(Message, frozen=True, tag="reply"):
    """Acknowledgement of the request with this session and sequence."""

    ok: bool
    text: str = ""
    clock_ns: Int64 = 0
    """With a ``ClockRequest``: the controller's monotonic time; ``text`` is its boot id."""


Request = (
    LeaseRequest
    | LeaseRelease
    | HoldRequest
    | FollowRequest
    | ResumeRequest
    | ExecuteRequest
    | PaceRequest
    | ShutdownRequest
    | ClockRequest
)
