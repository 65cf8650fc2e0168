"""Servo and gate in closed loop with an arm that follows exactly, on recorded times."""

from __future__ import annotations

import msgspec
import numpy as np

from dvla.runtime.arm import ArmController
from dvla.runtime.messages import (
    Command,
    FollowRequest,
    HoldRequest,
    LeaseRequest,
    PaceRequest,
    Request,
    ResumeRequest,
)
from dvla.runtime.percentiles import Percentiles, percentiles
from dvla.runtime.pose import Float64
from dvla.runtime.replay import journal
from dvla.runtime.replay.gate_stage import Silence
from dvla.runtime.replay.inputs import RunInputs
from dvla.runtime.replay.scheduler_stage import Publication
from dvla.runtime.replay.servo_stage import ServoRerun
from dvla.runtime.robots.base import ArmReading
from dvla.runtime.run_data import RunData
from dvla.runtime.safety import REASONS
from dvla.runtime.start_move import MOVE_CHUNK

STILL_M = 1e-7
"""Shorter steps are no motion."""


class Motion(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What servo and gate made of a stream.

    Attributes:
        ticks: of the servo; ``saturated`` of them at the shaper's limits.
        underruns: times that the servo ran out of actions.
        accepted / rejected: commands by the gate's verdict; rejected by reason.
        speed_m_s: of the commanded tool while it moved.
    """

    ticks: int
    saturated: int
    underruns: int
    accepted: int
    rejected: dict[str, int]
    speed_m_s: Percentiles | None


class ExactArm:
    """An ``ArmDriver`` whose arm is where it was commanded to be.

    Args:
        reading: the first one.
    """

    def __init__(self, reading: ArmReading) -> None:
        self._reading = reading
        self.speeds_m_s: list[float] = []
        self._last_ns = reading.t_ns

    def read(self, now_ns: int) -> ArmReading:
        """Return the commanded pose as the measured one."""
        self._reading = msgspec.structs.replace(self._reading, t_ns=now_ns)
        return self._reading

    def command(self, setpoint: Float64, now_ns: int) -> None:
        """Move to a setpoint (8,) at once."""
        kept = setpoint.copy()
        step_m = float(np.linalg.norm(kept[:3] - self._reading.setpoint[:3]))
        if step_m > STILL_M and now_ns > self._last_ns:
            self.speeds_m_s.append(step_m / (now_ns - self._last_ns) * 1e9)
        self._last_ns = now_ns
        self._reading = msgspec.structs.replace(self._reading, setpoint=kept)

    def close(self) -> None:
        """Let go of nothing."""


def move(data: RunData, inputs: RunInputs, publications: list[Publication]) -> Motion:
    """Run servo and gate at their recorded times on other timelines.

    Args:
        data: of the run, with its calls.
        inputs: of the run.
        publications: timelines with the times at which they are published.
    """
    turns = data.calls[data.calls["kind"] == journal.TURN]
    driver = ExactArm(journal.row_reading(data.calls[0], ""))
    first_ns = int(data.calls[0]["t_ns"])
    arm = ArmController(driver, inputs.limits, Silence(), first_ns, session=1)
    lease = LeaseRequest(session=inputs.session, sequence=0, holder="dvla-replay")
    servo = ServoRerun(inputs, publications)
    holds = [
        (int(row["t_ns"]), request)
        for row in data.calls[data.calls["kind"] == journal.REQUEST]
        for request in [journal.row_request(row)]
        if isinstance(request, HoldRequest | FollowRequest | ResumeRequest | PaceRequest)
    ]
    counts = dict.fromkeys(("", *REASONS), 0)
    published, place, hold, saturated, underruns = 0, 0, 0, 0, 0
    waiting: Command | None = None
    state = arm.state(first_ns)
    leased = False
    for tick in data.servo:
        deadline_ns = int(tick["deadline_ns"])
        while place < len(turns) and int(turns[place]["t_ns"]) <= deadline_ns:
            now_ns = int(turns[place]["t_ns"])
            place += 1
            if waiting is not None:
                counts[arm.on_command(waiting, now_ns).reason] += 1
                waiting = None
            while hold < len(holds) and holds[hold][0] <= now_ns:
                _ask(arm, holds[hold][1], inputs.session, now_ns)
                hold += 1
            arm.tick(now_ns)
            state = arm.state(now_ns)
        if not leased:  # the run's servo took the lease before its first tick
            leased = arm.handle(lease, deadline_ns).ok
        while published < len(publications) and publications[published].t_ns <= deadline_ns:
            published += 1
        servo.publish_until(published)
        moves = int(tick["chunk_id"]) == MOVE_CHUNK
        waiting, row = servo.tick(deadline_ns, state, moves=moves)
        saturated += int(row["saturation"]) != 0
        underruns = int(row["underruns"])
    return Motion(
        ticks=len(data.servo),
        saturated=saturated,
        underruns=underruns,
        accepted=counts.pop(""),
        rejected={reason: count for reason, count in counts.items() if count},
        speed_m_s=percentiles(driver.speeds_m_s),
    )


def _ask(arm: ArmController, request: Request, session: int, now_ns: int) -> None:
    """Ask again what was asked, as the commander."""
    if isinstance(request, ResumeRequest):
        request = FollowRequest(session=session, sequence=0)
    arm.handle(msgspec.structs.replace(request, session=session, sequence=0), now_ns)
