"""The servo again: published timelines and arm states in, commands and tick rows out."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dvla.bindings import ActionStream
from dvla.runtime.arm_samples import ARM_MODES
from dvla.runtime.messages import ArmState, Command
from dvla.runtime.replay.inputs import RunInputs
from dvla.runtime.replay.result import StageResult, first_difference
from dvla.runtime.replay.scheduler_stage import Publication
from dvla.runtime.servo import ServoCore
from dvla.runtime.start_move import MOVE_CHUNK, PhasedPlanner, make_planner
from dvla.runtime.telemetry import SERVO_TICK
from dvla.runtime.timeline import publish_timeline

DECIDED = (
    "t_ns", "t_obs_ns", "chunk_id", "timeline", "underruns", "saturated", "sent", "status",
    "saturation", "setpoint", "taken_back",
)  # fmt: skip
"""Columns of a tick that the servo decides; the others are the clock's."""


def state_of(sample: np.void, tick: np.void) -> ArmState:
    """Return the arm state behind a recorded sample, as far as the servo looks at it.

    Its time is what the servo took it for: the recorder knows the clock of another host a little
    better or worse. Recordings of an older version have the recorder's alone.
    """
    return ArmState(
        session=0,
        sequence=int(sample["sequence"]),
        t_ns=int(tick["state_t_ns"]) or int(sample["t_ns"]),
        mode=ARM_MODES[int(sample["mode"])],  # type: ignore[arg-type]
        reason="",
        arm_epoch=int(sample["arm_epoch"]),
        lease_session=int(sample["lease_session"]),
        command_sequence=int(sample["command_sequence"]),
        measured=tuple(sample["measured"].tolist()),
        twist=tuple(sample["twist"].tolist()),
        q=(),
        commanded=tuple(sample["commanded"].tolist()),
        tracking_m=float(sample["tracking_m"]),
        tracking_rad=float(sample["tracking_rad"]),
        accepted=int(sample["accepted"]),
        rejected={},
        refused_sequence=int(sample["refused_sequence"]),
    )


class ServoRerun:
    """The servo core on a stream of its own.

    Args:
        inputs: of the run.
        publications: timelines in the order in which they were published.
    """

    def __init__(self, inputs: RunInputs, publications: list[Publication]) -> None:
        self._stream = ActionStream.create()
        self._publications = publications
        self._published = 0
        self._planner = make_planner(self._stream, inputs.limits, inputs.servo, inputs.start_pose)
        self.core = ServoCore(
            self._stream,
            inputs.limits,
            inputs.servo,
            session=inputs.session,
            planner=self._planner,
        )
        self._row = np.zeros(1, SERVO_TICK)

    def publish_until(self, number: int) -> bool:
        """Publish timelines up to a number, from 1; returns whether there are so many."""
        while self._published < min(number, len(self._publications)):
            publish_timeline(self._publications[self._published].timeline, self._stream)
            self._published += 1
        return number <= len(self._publications)

    def tick(
        self, deadline_ns: int, state: ArmState | None, *, moves: bool = False
    ) -> tuple[Command | None, np.void]:
        """Take one tick; returns the command and the tick's row, valid until the next call.

        Args:
            deadline_ns: of the tick.
            state: that it goes by.
            moves: whether the slow move to the start pose was in charge.
        """
        if isinstance(self._planner, PhasedPlanner):
            self._planner.wants_move = moves
            self._planner.seen_ns = state.t_ns if state is not None else 0
        command = self.core.tick(deadline_ns, state)
        self.core.fill(self._row[0])
        return command, self._row[0]


def replay_servo(
    servo: NDArray[Any],
    arm: NDArray[Any],
    inputs: RunInputs,
    publications: list[Publication],
    *,
    whole: bool = True,
) -> tuple[StageResult, dict[int, Command]]:
    """Run the servo on its recorded ticks and compare every row.

    Args:
        servo: (n,) SERVO_TICK as recorded.
        arm: (m,) ARM_SAMPLE as recorded.
        inputs: of the run.
        publications: of the replayed scheduler.
        whole: whether the recording was ended in order, so that every tick has what it went by.

    Returns:
        The comparison, and the commands by sequence, for the gate.
    """
    samples = {int(sequence): row for row, sequence in enumerate(arm["sequence"])}
    newest = max(samples, default=0)
    rerun = ServoRerun(inputs, publications)
    commands: dict[int, Command] = {}
    for index, recorded in enumerate(servo):
        sequence = int(recorded["state_sequence"])
        if not whole and (sequence > newest or int(recorded["timeline"]) > len(publications)):
            return StageResult(stage="servo", compared=index, cut_off=True), commands
        if sequence and sequence not in samples:
            missing = f"arm state {sequence}, by which tick {index} went, was not recorded"
            return StageResult(stage="servo", compared=index, missing=missing), commands
        if not rerun.publish_until(int(recorded["timeline"])):
            missing = (
                f"tick {index} follows timeline {recorded['timeline']}, "
                f"but the replayed scheduler published {len(publications)}"
            )
            return StageResult(stage="servo", compared=index, missing=missing), commands
        state = state_of(arm[samples[sequence]], recorded) if sequence else None
        moves = int(recorded["chunk_id"]) == MOVE_CHUNK
        command, row = rerun.tick(int(recorded["deadline_ns"]), state, moves=moves)
        if command is not None:
            commands[command.sequence] = command
        found = first_difference(recorded, row, DECIDED, index, int(recorded["deadline_ns"]))
        if found is not None:
            return StageResult(stage="servo", compared=index + 1, difference=found), commands
    return StageResult(stage="servo", compared=len(servo)), commands
