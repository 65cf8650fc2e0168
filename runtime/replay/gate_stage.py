"""The gate again: commands and the driver's readings in, verdicts, modes and setpoints out."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dvla.runtime.arm import ArmController
from dvla.runtime.arm_samples import ARM_MODES
from dvla.runtime.errors import RobotFault
from dvla.runtime.events import Event
from dvla.runtime.messages import Command
from dvla.runtime.pose import Float64
from dvla.runtime.replay import journal
from dvla.runtime.replay.inputs import RunInputs
from dvla.runtime.replay.result import Difference, StageResult
from dvla.runtime.robots.base import ArmReading
from dvla.runtime.safety import Verdict


class ReplayDriver:
    """An ``ArmDriver`` that reads what was read, and remembers what is sent.

    Args:
        reading: the first one.
    """

    def __init__(self, reading: ArmReading) -> None:
        self.reading = reading
        self.read_fault = ""
        self.command_fault = ""
        self.sent: Float64 | None = None

    def read(self, now_ns: int) -> ArmReading:
        """Return the recorded reading of this turn."""
        if self.read_fault:
            raise RobotFault(self.read_fault)
        return self.reading

    def command(self, setpoint: Float64, now_ns: int) -> None:
        """Keep a setpoint (8,)."""
        self.sent = setpoint.copy()
        if self.command_fault:
            raise RobotFault(self.command_fault)

    def close(self) -> None:
        """Let go of nothing."""


class Silence:
    """An ``EventSink`` for which the events do not matter."""

    def emit(self, event: Event) -> None:
        """Forget an event."""


def replay_gate(
    calls: NDArray[Any], inputs: RunInputs, commands: dict[int, Command], *, whole: bool = True
) -> StageResult:
    """Run the arm controller on its journal and compare verdicts, modes and setpoints.

    Args:
        calls: (n,) ARM_CALL as recorded.
        inputs: of the run.
        commands: of the replayed servo, by sequence.
        whole: whether the recording was ended in order, so that every command is among them, and
            the arm's end in the journal.
    """
    if not len(calls) or calls[0]["kind"] != journal.START:
        return StageResult(stage="gate", compared=0, missing="the arm's journal has no beginning")
    first = calls[0]
    driver = ReplayDriver(journal.row_reading(first, ""))
    controller = ArmController(
        driver,
        inputs.limits,
        Silence(),
        int(first["t_ns"]),
        session=int(first["session"]),
        shadow=bool(first["flags"] & journal.SHADOW),
        overrides=inputs.overrides,
    )
    fault, standby, verdicts = "", "", 0
    for index, row in enumerate(calls[1:], 1):
        now_ns = int(row["t_ns"])
        if row["kind"] == journal.REQUEST:
            request = journal.row_request(row)
            if request is None:
                missing = "a request to the arm was cut off in its journal"
                return StageResult(stage="gate", compared=index, missing=missing)
            controller.handle(request, now_ns)
            continue
        if row["kind"] == journal.FAULT:
            text = journal.row_fault(row)
            fault, standby = (fault, text) if row["flags"] & journal.STANDBY else (text, standby)
            continue
        if row["session"]:
            command = _command(row, inputs, commands)
            if command is None and not whole and int(row["sequence"]) > max(commands, default=0):
                return StageResult(stage="gate", compared=index, cut_off=True)
            if command is None:
                missing = f"command {row['sequence']} reached the arm, but the servo's is not known"
                return StageResult(stage="gate", compared=index, missing=missing)
            verdict = controller.on_command(command, now_ns)
            verdicts += 1
            found = _verdict_difference(row, verdict, inputs, index)
            if found is not None:
                return StageResult(stage="gate", compared=index, difference=found)
        if row["kind"] == journal.TURN:
            _turn(driver, controller, row, fault, standby)
            found = _turn_difference(row, controller, driver, index)
            if found is not None:
                return StageResult(stage="gate", compared=index, difference=found)
    if whole and controller.mode != "shutdown":
        missing = "the arm's journal ends before the arm did"
        return StageResult(stage="gate", compared=len(calls), missing=missing)
    return StageResult(stage="gate", compared=len(calls))


def _command(row: np.void, inputs: RunInputs, commands: dict[int, Command]) -> Command | None:
    """Return the command of a row; one of a stranger is known to be refused by its session."""
    session, sequence = int(row["session"]), int(row["sequence"])
    if session == inputs.session:
        return commands.get(sequence)
    return Command(
        session=session, sequence=sequence, generation=0, t_obs_ns=0, t_due_ns=0,
        valid_until_ns=0, arm_epoch=0, period_ns=0, setpoints=b"",
    )  # fmt: skip


def _turn(
    driver: ReplayDriver, controller: ArmController, row: np.void, fault: str, standby: str
) -> None:
    raised = int(row["flags"])
    driver.read_fault = fault if raised & journal.READ_RAISED else ""
    driver.command_fault = fault if raised & journal.COMMAND_RAISED else ""
    driver.reading = journal.row_reading(row, "" if raised else fault, standby)
    driver.sent = None
    controller.tick(int(row["t_ns"]))


def _verdict_difference(
    row: np.void, verdict: Verdict, inputs: RunInputs, index: int
) -> Difference | None:
    code = int(row["verdict"])
    recorded = inputs.reasons[code - 1] if code else ""
    if recorded == verdict.reason:
        return None
    return Difference(
        index=index,
        t_ns=int(row["t_ns"]),
        what=f"verdict on command {row['sequence']}",
        recorded=recorded or "accepted",
        replayed=f"{verdict.reason or 'accepted'} {verdict.detail}".strip(),
    )


def _turn_difference(
    row: np.void, controller: ArmController, driver: ReplayDriver, index: int
) -> Difference | None:
    mode = ARM_MODES[int(row["mode"])]
    t_ns = int(row["t_ns"])
    if mode != controller.mode:
        return Difference(
            index=index, t_ns=t_ns, what="mode", recorded=mode, replayed=controller.mode
        )
    recorded = np.asarray(row["commanded"])
    sent = np.full(8, np.nan) if driver.sent is None else driver.sent
    if np.isnan(recorded).all() and np.isnan(sent).all():
        return None
    if recorded.tobytes() != sent.tobytes():
        return Difference(
            index=index,
            t_ns=t_ns,
            what="setpoint sent to the driver",
            recorded=str(recorded),
            replayed=str(sent),
        )
    return None
