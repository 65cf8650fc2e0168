"""The exact replay: scheduler, servo and gate under the run's own settings, compared bit by bit."""

from __future__ import annotations

from pathlib import Path

import msgspec

from dvla.runtime.arm_samples import ARM_MODES
from dvla.runtime.events import ArmModeChanged, ChunkArrived
from dvla.runtime.replay.gate_stage import replay_gate
from dvla.runtime.replay.inputs import read_inputs
from dvla.runtime.replay.journal import TURN
from dvla.runtime.replay.result import StageResult
from dvla.runtime.replay.scheduler_stage import compare_decisions, rerun_scheduler
from dvla.runtime.replay.servo_stage import replay_servo
from dvla.runtime.run_data import RunData, load_run

ELSEWHERE = "the arm's controller ran by itself (--arm-address), and a run does not record that one"


class ExactReplay(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What came of an exact replay.

    Attributes:
        chunks: raw chunks that were fed in again.
        stages: scheduler, servo, gate; a stage behind a difference is not run.
        warnings: what of the recording could not be read, in sentences.
    """

    run: str
    chunks: int
    stages: tuple[StageResult, ...]
    warnings: tuple[str, ...] = ()

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
    whole = _ended_in_order(data)
    stages = [compare_decisions(data.events, rerun.events, whole=whole)]
    if not stages[0].compared and len(data.servo) and (timelines := data.servo["timeline"].max()):
        missing = f"no decision is in events.jsonl, and the servo followed {timelines} timelines"
        stages = [StageResult(stage="scheduler", compared=0, missing=missing)]
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
        warnings=tuple(data.warnings),
    )


def _ended_in_order(data: RunData) -> bool:
    """Whether events or journal tell of the arm's end: then nothing else may be missing either."""
    turns = data.calls[data.calls["kind"] == TURN]
    return (len(turns) > 0 and ARM_MODES[turns[-1]["mode"]] == "shutdown") or any(
        isinstance(event, ArmModeChanged) and event.mode == "shutdown" for event in data.events
    )
