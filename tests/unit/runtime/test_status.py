"""The status: rates that are never mixed, windows that forget, counts that add up."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic_run import START_NS, H, arm_states, events, servo_ticks

from dvla.runtime.clock import NS_PER_MS, NS_PER_S
from dvla.runtime.events import (
    ActionInForce,
    ArmModeChanged,
    ChunkMerged,
    InferenceStarted,
    Note,
    SchedulerStateChanged,
)
from dvla.runtime.ledger import ChunkLedger
from dvla.runtime.status import MAX_TEXT, ProcessStatus, RunStatus, StatusTracker
from dvla.runtime.supervisor import STATUS_BYTES


def merged(sequence: int, t_ns: int, first: int = 5, generation: int = 0) -> ChunkMerged:
    t_obs_ns = t_ns - 200 * NS_PER_MS
    return ChunkMerged(
        t_ns=t_ns, sequence=sequence, generation=generation, t_obs_ns=t_obs_ns, tau_ns=t_obs_ns,
        first_action=first, actions=H, inference_s=0.2, seam_m=0.001 * sequence, seam_rad=0.0,
        in_chunk_m=0.004, in_chunk_rad=0.0,
    )  # fmt: skip


def in_force(sequence: int, index: int, t_ns: int, generation: int = 0) -> ActionInForce:
    return ActionInForce(
        t_ns=t_ns, sequence=sequence, generation=generation, index=index, t_obs_ns=t_ns
    )


def feed(tracker: StatusTracker, seconds: int, period_ms: int = 250) -> int:
    """Give a tracker regular chunks; return the time at their end."""
    for number in range(seconds * 1000 // period_ms):
        start_ns = START_NS + number * period_ms * NS_PER_MS
        tracker.add_event(
            InferenceStarted(t_ns=start_ns, sequence=number, generation=0, t_obs_ns=start_ns)
        )
        tracker.add_event(merged(number, start_ns + 200 * NS_PER_MS))
    return START_NS + seconds * NS_PER_S


def test_the_three_rates_are_three() -> None:
    tracker = StatusTracker(H)
    now_ns = feed(tracker, 20)
    tracker.add_servo_ticks(servo_ticks(20.0))
    status = tracker.snapshot(now_ns)
    assert status.replan_hz == pytest.approx(4.0, rel=0.03)
    assert status.action_hz == H * status.replan_hz
    assert status.dispatch_hz == pytest.approx(250.0, rel=0.01)


def test_rates_die_with_their_source() -> None:
    tracker = StatusTracker(H)
    now_ns = feed(tracker, 5)
    tracker.add_servo_ticks(servo_ticks(5.0))
    later = tracker.snapshot(now_ns + 5 * NS_PER_S)
    assert 0 < later.replan_hz < 3.0 and 0 < later.dispatch_hz < 130.0
    dead = tracker.snapshot(now_ns + 60 * NS_PER_S)
    assert (dead.replan_hz, dead.dispatch_hz, dead.inference_s, dead.lateness_s) == (
        0,
        0,
        None,
        None,
    )
    assert dead.merged == 20, "counts are since the start"


def test_nothing_seen_is_a_status_too() -> None:
    status = StatusTracker(H).snapshot(START_NS)
    assert status.replan_hz == 0.0 and status.inference_s is None and status.arm_mode == "unknown"


def test_the_synthetic_run_adds_up_and_travels_as_json() -> None:
    tracker = StatusTracker(H)
    for event in events(8.0):
        tracker.add_event(event)
    tracker.add_servo_ticks(servo_ticks(8.0))
    for state in arm_states(8.0):
        tracker.add_arm_state(state)
    tracker.set_process(ProcessStatus(name="servo", pid=9, alive=True, rate_hz=250.0))
    status = tracker.snapshot(START_NS + 8 * NS_PER_S)
    told = status.actions_executed + status.actions_stale + status.actions_overridden
    assert told + status.actions_cleared == H * status.chunks
    assert status.underruns == 1 and status.discarded == {"stale": 1}
    assert (status.caught, status.attempts) == (1, 2)
    assert status.observation_age_s is not None and 0.2 < status.observation_age_s.p50 < 0.45
    assert status.saturated_share == pytest.approx(0.02, abs=0.002)
    assert msgspec.json.decode(msgspec.json.encode(status), type=RunStatus) == status


def test_memory_is_bounded() -> None:
    tracker = StatusTracker(H)
    ticks = servo_ticks(4.0)
    for round_ in range(40):
        ticks["t_ns"] += 4 * NS_PER_S * min(round_, 1)
        tracker.add_servo_ticks(ticks)
    for sequence in range(10_000):
        tracker.add_event(merged(sequence, START_NS + sequence))
        tracker.add_event(in_force(sequence, 5, START_NS + sequence))
    assert len(tracker._ledger.records) == 64
    assert len(tracker._ledger._open) <= 64
    assert len(tracker._chunks) <= 4096 and len(tracker._ticks._rows) == 10_240


@pytest.mark.parametrize("letter", ["x", "\x00", '"', "人"])
def test_long_words_of_others_are_cut_and_the_snapshot_fits(letter: str) -> None:
    tracker = StatusTracker(H)
    words = letter * 4000
    for number in range(5):
        tracker.add_event(Note(t_ns=START_NS + number, source="arm", text=f"after {words!r}"))
    tracker.add_event(ArmModeChanged(t_ns=START_NS + 9, mode="hold", reason=words))
    status = tracker.snapshot(START_NS + 10)
    assert status.notes[0].startswith("arm: after ") and len(status.notes[0]) == MAX_TEXT
    assert status.arm_reason == words[:MAX_TEXT]
    assert len(msgspec.json.encode(status)) < STATUS_BYTES // 2


def test_a_newer_chunk_overrides_and_a_hold_clears() -> None:
    ledger = ChunkLedger(H)
    ledger.add(merged(0, START_NS))
    ledger.add(in_force(0, 5, START_NS))
    ledger.add(merged(1, START_NS + 200 * NS_PER_MS))
    assert ledger.overridden == 0, "an older chunk fills the time before"
    ledger.add(in_force(0, 6, START_NS + 210 * NS_PER_MS))
    ledger.add(in_force(1, 5, START_NS + 220 * NS_PER_MS))
    assert (ledger.stale, ledger.executed, ledger.overridden) == (10, 3, 13)
    ledger.add(SchedulerStateChanged(t_ns=START_NS + NS_PER_S, state="hold"))
    assert (ledger.cleared, ledger.pending) == (14, 0)


def test_a_new_generation_clears() -> None:
    ledger = ChunkLedger(H)
    ledger.add(merged(0, START_NS))
    ledger.add(merged(1, START_NS + NS_PER_S, generation=1))
    ledger.add(in_force(1, 5, START_NS + 2 * NS_PER_S, generation=1))
    assert (ledger.overridden, ledger.cleared) == (0, 15)


@given(st.lists(st.tuples(st.integers(0, H - 1), st.integers(0, 9)), max_size=30))
def test_every_action_has_one_fate(chunks: list[tuple[int, int]]) -> None:
    ledger = ChunkLedger(H, keep=8)
    now_ns = START_NS
    for sequence, (first, executed) in enumerate(chunks):
        now_ns += NS_PER_S
        ledger.add(merged(sequence, now_ns, first))
        for index in range(first, min(H, first + executed)):
            ledger.add(in_force(sequence, index, now_ns))
    fates = ledger.executed + ledger.stale + ledger.overridden + ledger.cleared + ledger.pending
    assert fates == H * len(chunks)


def test_a_servo_faster_than_the_window_keeps_the_newest() -> None:
    tracker = StatusTracker(H)
    ticks = np.concatenate([servo_ticks(50.0)])
    tracker.add_servo_ticks(ticks)
    status = tracker.snapshot(int(ticks["t_ns"][-1]))
    assert status.dispatch_hz == pytest.approx(250.0, rel=0.01)
