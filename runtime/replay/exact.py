"""The exact replay: scheduler, servo and gate under the run's own settings, compared bit by bit."""

from __future__ import annotations

from pathlib import Path

import msgspec

from dvla.runtime.events import ArmModeChanged, ChunkArrived
from dvla.runtime.replay.gate_stage import replay_gate
from dvla.runtime.replay.inputs import read_inputs
from dvla.runtime.replay.result import StageResult
from dvla.runtime.replay.scheduler_stage import compare_decisions, rerun_scheduler
from dvla.runtime.replay.servo_stage import replay_servo
from dvla.runtime.run_data import load_run

ELSEWHERE = "the arm's controller ran by itself (--arm-address), and a run does not record that one"


class ExactReplay(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What came of an exact replay.

    Attributes:
        chunks: raw chunks that were fed in again.
        stages: scheduler, servo, gate; a stage behind a difference is not run.
    """

    run: str
    chunks: int
    stages: tuple[StageResult, ...]

    @property
    def equal(self) -> bool:
        """Whether every stage made every decision again."""
        return len(self.stages) == 3 and all(stage.equal for stage in self.stages)


def replay_exactly(path: Path) -> ExactReplay:
    """Replay a run folder.

    Raises:
        RunFolderError: it is none, or was recorded without what a replay needs.
    """
    data = load_run(path, calls=True)
    inputs = read_inputs(data.folder)
    rerun = rerun_scheduler(data.events, inputs)
    # Of a run that ended in order nothing may be missing, not even at its end.
    whole = any(isinstance(e, ArmModeChanged) and e.mode == "shutdown" for e in data.events)
    stages = [compare_decisions(data.events, rerun.events, whole=whole)]
    if stages[-1].equal:
        servo, commands = replay_servo(
            data.servo, data.arm, inputs, rerun.publications, whole=whole
        )
        stages.append(servo)
        if servo.equal and data.config.get("arm_address") and not len(data.calls):
            stages.append(StageResult(stage="gate", compared=0, left_out=ELSEWHERE))
        elif servo.equal:
            stages.append(replay_gate(data.calls, inputs, commands, whole=whole))
    return ExactReplay(
        run=str(path),
        chunks=sum(isinstance(event, ChunkArrived) for event in data.events),
        stages=tuple(stages),
    )
