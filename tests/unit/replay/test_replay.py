"""Replays: every decision comes out again, and any other decision is noticed and named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from recorded_run import PERIOD_NS, START_NS, H, chunk_at, record_run

from dvla.runtime.config import SchedulerConfig
from dvla.runtime.errors import ConfigError
from dvla.runtime.events import ArmModeChanged, ChunkMerged
from dvla.runtime.replay.exact import replay_exactly
from dvla.runtime.replay.inputs import read_inputs
from dvla.runtime.replay.scheduler_journal import JournaledScheduler
from dvla.runtime.replay.scheduler_stage import compare_decisions, rerun_scheduler
from dvla.runtime.replay.text import exact_text, what_if_text
from dvla.runtime.replay.what_if import changed_config, what_if
from dvla.runtime.run_data import load_run
from dvla.runtime.run_folder import RunFolder, RunFolderError


class Log(list[Any]):
    """An ``EventSink`` that is a list."""

    def emit(self, event: object) -> None:
        self.append(event)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return record_run(tmp_path_factory.mktemp("run"))


@pytest.fixture
def copy(recorded: RunFolder, tmp_path: Path) -> RunFolder:
    return RunFolder(shutil.copytree(recorded.path, tmp_path / "copy"))


def test_every_decision_of_a_run_comes_out_again(recorded: RunFolder) -> None:
    replay = replay_exactly(recorded.path)
    assert replay.equal, exact_text(replay)
    scheduler, servo, gate = replay.stages
    assert scheduler.compared > 40 and servo.compared == 749 and gate.compared > 740
    data = load_run(recorded.path, calls=True)
    names = {type(event).__name__ for event in data.events}
    assert {"SchedulerTold", "ChunkArrived", "ChunkMerged", "ChunkDiscarded"} <= names
    assert len(set(data.calls["mode"])) >= 3, "the run must have moved, stopped and held"


@pytest.mark.parametrize(
    "config",
    [
        SchedulerConfig(laas=False),
        SchedulerConfig(ci=False),
        SchedulerConfig(seam="blend", resume="anchor"),
        SchedulerConfig(seam="rtc"),
    ],
)
def test_the_other_switches_replay_too(tmp_path: Path, config: SchedulerConfig) -> None:
    replay = replay_exactly(record_run(tmp_path, 2.0, config).path)
    assert replay.equal, exact_text(replay)


def edit_rows(path: Path, change: Callable[[np.ndarray], None]) -> None:
    rows = np.load(path)
    change(rows)
    np.save(path, rows)


def bit_of_setpoint(rows: np.ndarray) -> None:
    rows["setpoint"][400, 1] = np.nextafter(rows["setpoint"][400, 1], 1.0)


def verdict(rows: np.ndarray) -> None:
    place = np.flatnonzero((rows["session"] == 77) & (rows["verdict"] == 0))[50]
    rows["verdict"][place] = 3


def commanded(rows: np.ndarray) -> None:
    rows["commanded"][500, 2] += 1e-15


@pytest.mark.parametrize(
    ("file", "change", "stage", "what"),
    [
        ("servo", bit_of_setpoint, "servo", "setpoint"),
        ("calls", verdict, "gate", "verdict on command"),
        ("calls", commanded, "gate", "setpoint sent to the driver"),
    ],
)
def test_one_bit_of_another_decision_is_named(
    copy: RunFolder, file: str, change: Callable[[np.ndarray], None], stage: str, what: str
) -> None:
    edit_rows(getattr(copy, file), change)
    replay = replay_exactly(copy.path)
    assert not replay.equal
    last = replay.stages[-1]
    assert last.stage == stage and last.difference is not None
    assert what in last.difference.what
    assert last.difference.what in exact_text(replay)


def test_a_chunk_changed_by_one_millimetre_is_a_difference(copy: RunFolder) -> None:
    lines = copy.events.read_text().splitlines()
    place = [i for i, line in enumerate(lines) if '"chunk_arrived"' in line][3]
    record = json.loads(lines[place])
    raw = bytearray(msgspec.convert(record["actions"], bytes, strict=False))
    actions = np.frombuffer(raw, "<f4").copy()
    actions[70] += 0.001
    record["actions"] = msgspec.to_builtins(actions.tobytes())
    lines[place] = json.dumps(record)
    copy.events.write_text("\n".join(lines) + "\n")
    assert not replay_exactly(copy.path).equal


def test_a_lost_event_is_a_difference(copy: RunFolder) -> None:
    lines = copy.events.read_text().splitlines(keepends=True)
    place = next(i for i, line in enumerate(lines) if '"hold"' in line and "told" in line)
    copy.events.write_text("".join(lines[:place] + lines[place + 1 :]))
    assert not replay_exactly(copy.path).equal


def test_other_limits_are_a_difference(copy: RunFolder) -> None:
    inputs = read_inputs(copy)
    slower = msgspec.structs.replace(inputs.limits.shaper, linear_velocity=0.05)
    limits = msgspec.structs.replace(inputs.limits, shaper=slower)
    copy.inputs.write_bytes(msgspec.json.encode(msgspec.structs.replace(inputs, limits=limits)))
    replay = replay_exactly(copy.path)
    assert replay.stages[-1].stage == "servo" and not replay.equal


def test_a_missing_arm_state_is_told_and_not_guessed(copy: RunFolder) -> None:
    rows = np.load(copy.arm)
    np.save(copy.arm, np.delete(rows, 100))
    last = replay_exactly(copy.path).stages[-1]
    assert "was not recorded" in last.missing and not last.equal


def test_a_hold_in_the_turn_of_a_chunk_comes_after_it(recorded: RunFolder) -> None:
    """As when the pictures of the next observation are found to be frozen."""
    inputs, events, now_ns = read_inputs(recorded), Log(), START_NS
    scheduler = JournaledScheduler(
        inputs.scheduler, chunk_size=H, control_period_ns=PERIOD_NS, sink=events,
        publish=lambda timeline: None, max_observation_age_ns=2 * 10**9,
    )  # fmt: skip
    ticket = scheduler.begin_inference(now_ns, now_ns)
    now_ns += 100_000_000
    chunk = chunk_at(ticket.t_obs_ns, ticket.sequence, ticket.generation, 0.1)
    scheduler.on_chunk(chunk, now_ns)
    scheduler.advance(now_ns)
    scheduler.on_hold(now_ns, "frozen")
    assert any(isinstance(event, ChunkMerged) for event in events)
    found = compare_decisions(events, rerun_scheduler(events, inputs).events)
    assert found.equal, found


def test_what_a_kill_cut_off_is_replayed_up_to_the_cut(copy: RunFolder) -> None:
    end_ns = load_run(copy.path).end_ns
    for path, lost in ((copy.arm, 3), (copy.servo, 2)):
        np.save(path, np.load(path)[:-lost])
    replay = replay_exactly(copy.path)
    assert replay.equal, exact_text(replay)
    assert [stage.cut_off for stage in replay.stages] == [False, True, True]
    assert exact_text(replay).count("until the recording was cut off") == 2
    # A run that ended in order was not cut off: what is missing there was lost.
    with copy.events.open("ab") as file:
        file.write(msgspec.json.encode(ArmModeChanged(t_ns=end_ns, mode="shutdown")) + b"\n")
    last = replay_exactly(copy.path).stages[-1]
    assert "was not recorded" in last.missing and not last.equal


def test_a_run_without_its_events_is_not_replayed(copy: RunFolder) -> None:
    copy.events.write_bytes(copy.events.read_bytes()[:60])
    replay = replay_exactly(copy.path)
    assert [stage.stage for stage in replay.stages] == ["scheduler"] and not replay.equal
    text = exact_text(replay)
    assert "no decision is in events.jsonl, and the servo followed" in text
    assert "warning    events.jsonl ends in the middle of a line" in text


def test_a_journal_that_ends_before_its_arm_did_is_not_whole(copy: RunFolder) -> None:
    calls = np.load(copy.calls)
    end = ArmModeChanged(t_ns=int(calls[-1]["t_ns"]), mode="shutdown")
    with copy.events.open("ab") as file:
        file.write(msgspec.json.encode(end) + b"\n")
    last = replay_exactly(copy.path).stages[-1]
    assert last.stage == "gate" and "ends before the arm did" in last.missing and not last.equal


def test_a_controller_of_its_own_keeps_its_journal_to_itself(copy: RunFolder) -> None:
    np.save(copy.calls, np.load(copy.calls)[:0])
    assert not replay_exactly(copy.path).equal
    copy.write_config({"arm_address": "tcp://127.0.0.1:9000"})
    replay = replay_exactly(copy.path)
    assert replay.equal and "left out: the arm's controller ran by itself" in exact_text(replay)
    with pytest.raises(RunFolderError, match="no --arm-address"):
        what_if(load_run(copy.path, calls=True), ["laas=false"])


def test_the_servo_saw_a_state_when_it_saw_it_whatever_the_recorder_knows(copy: RunFolder) -> None:
    def an_hour_ago(rows: np.ndarray) -> None:
        rows["t_ns"] -= 3_600 * 10**9

    def unknown(rows: np.ndarray) -> None:
        rows["state_t_ns"] = 0

    edit_rows(copy.arm, an_hour_ago)
    assert replay_exactly(copy.path).equal
    edit_rows(copy.servo, unknown)  # as an older version has it: what the recorder knew must do
    assert not replay_exactly(copy.path).equal


def test_an_older_folder_is_refused_with_words(copy: RunFolder) -> None:
    copy.inputs.unlink()
    with pytest.raises(RunFolderError, match="without what a replay needs"):
        replay_exactly(copy.path)


def test_rows_of_an_older_version_are_read_by_reports(copy: RunFolder) -> None:
    rows = np.load(copy.servo)
    old = np.dtype([(n, rows.dtype[n]) for n in rows.dtype.names if n != "state_sequence"])
    shortened = np.zeros(len(rows), old)
    for name in old.names or ():
        shortened[name] = rows[name]
    np.save(copy.servo, shortened)
    data = load_run(copy.path)
    np.testing.assert_array_equal(data.servo["setpoint"], rows["setpoint"])
    assert not data.servo["state_sequence"].any()


def test_the_same_switches_change_nothing(recorded: RunFolder) -> None:
    result = what_if(load_run(recorded.path, calls=True), ["laas=true"])
    assert result.before == result.after
    assert result.before.motion.accepted > 300
    assert set(result.before.motion.rejected) <= {"hold", "stopping", "epoch"}, "the person's hold"


def test_without_streaming_nothing_is_stale_and_everything_is_older(recorded: RunFolder) -> None:
    result = what_if(load_run(recorded.path, calls=True), ["laas=false"])
    before, after = result.before, result.after
    assert before.counters.actions_stale > 0 == after.counters.actions_stale
    assert before.age_s is not None and after.age_s is not None
    assert after.age_s.p50 > before.age_s.p50
    assert "laas = false" in what_if_text(result)


def test_without_continuous_inference_there_are_fewer_chunks(recorded: RunFolder) -> None:
    result = what_if(load_run(recorded.path, calls=True), ["ci=off"])
    assert 0 < result.after.counters.chunks_merged < result.before.counters.chunks_merged
    assert result.after.counters.actions_executed < result.before.counters.actions_executed


def test_chunks_that_were_never_made_are_not_invented(tmp_path: Path) -> None:
    folder = record_run(tmp_path, 1.0, SchedulerConfig(ci=False))
    with pytest.raises(ConfigError, match="never made"):
        what_if(load_run(folder.path, calls=True), ["ci=true"])


@pytest.mark.parametrize("setting", ["foo=1", "laas", "laas=perhaps", "seam=weld", "lead_s=x"])
def test_a_setting_that_is_none_is_refused(setting: str) -> None:
    with pytest.raises(ConfigError, match="--set"):
        changed_config(SchedulerConfig(), [setting])
