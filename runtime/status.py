"""The state of a running run, for the live panel: sliding windows, bounded memory, no clock."""

from __future__ import annotations

from collections import deque
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from dvla.runtime.clock import NS_PER_S
from dvla.runtime.events import (
    ArmModeChanged,
    ChunkMerged,
    EpisodeEnded,
    EpisodeStarted,
    Event,
    InferenceStarted,
    Note,
    SchedulerStateChanged,
)
from dvla.runtime.ledger import ChunkLedger, ChunkRecord
from dvla.runtime.messages import ArmState
from dvla.runtime.percentiles import Percentiles, percentiles
from dvla.runtime.tick_window import TickWindow

WINDOW_S = 10.0
MAX_CHUNKS_IN_WINDOW = 4096
MAX_NOTES = 5
MAX_TEXT = 500
"""Characters of a note, and of the arm's reason: a snapshot has to fit into a slot of a ring."""
MAX_PROCESSES = 32


class ProcessStatus(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Health of one process; ``rate_hz`` against ``declared_hz`` says whether it keeps up."""

    name: str
    pid: int
    alive: bool
    rate_hz: float | None = None
    declared_hz: float | None = None


class RunStatus(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One snapshot of a run. Percentiles and rates are over the last ``window_s``; counts are
    since the start; None is "not known yet".

    Attributes:
        elapsed_s: since the first thing that was seen.
        replan_hz: chunks per second; action_hz: H times that; dispatch_hz: commands per second.
        inference_s / observation_age_s / lateness_s: percentiles [s]; the age is at dispatch.
        saturated_share: ticks of the window in which the shaper's limits were reached.
        seam_last_m ...: the step across the newest seam and the largest one.
        discarded: chunks, by reason.
        arm_reason: why the arm is not following.
        arm_shadow: what is accepted moves nothing.
        arm_clock: how well the clock of a controller elsewhere is known; empty for one of our own.
        notes: the newest notes, oldest first.
    """

    t_ns: int
    elapsed_s: float
    window_s: float
    replan_hz: float
    action_hz: float
    dispatch_hz: float
    inference_s: Percentiles | None
    observation_age_s: Percentiles | None
    lateness_s: Percentiles | None
    overruns: int
    underruns: int
    saturated_share: float | None
    inferences: int
    chunks: int
    merged: int
    discarded: dict[str, int]
    actions_executed: int
    actions_stale: int
    actions_overridden: int
    actions_cleared: int
    seam_last_m: float | None
    seam_last_rad: float | None
    seam_max_m: float | None
    seam_max_rad: float | None
    scheduler_state: str
    scheduler_detail: str
    arm_mode: str
    arm_reason: str
    arm_shadow: bool
    accepted: int
    rejected: dict[str, int]
    tracking_m: float | None
    tracking_rad: float | None
    episode_text: str
    attempts: int
    caught: int
    outcomes: dict[str, int]
    processes: tuple[ProcessStatus, ...]
    notes: tuple[str, ...]
    arm_clock: str = ""


class StatusTracker:
    """Take everything that happens and say how the run is doing.

    Args:
        chunk_size: H.
        window_s: length of the sliding windows.
    """

    def __init__(self, chunk_size: int, *, window_s: float = WINDOW_S) -> None:
        self._chunk_size = chunk_size
        self._window_ns = round(window_s * NS_PER_S)
        self._start_ns: int | None = None
        self._first_inference_ns: int | None = None
        self._ledger = ChunkLedger(chunk_size, keep=64)
        self._chunks: deque[tuple[int, float]] = deque(maxlen=MAX_CHUNKS_IN_WINDOW)
        self._ticks = TickWindow()
        self._arm: ArmState | None = None
        self._arm_event: ArmModeChanged | None = None
        self._scheduler = SchedulerStateChanged(t_ns=0, state="starting")
        self._scheduler_underruns = 0
        self._seam_last: ChunkMerged | None = None
        self._seam_max_m = self._seam_max_rad = 0.0
        self._episode_text = ""
        self._outcomes: dict[str, int] = {}
        self._notes: deque[str] = deque(maxlen=MAX_NOTES)
        self._processes: dict[str, ProcessStatus] = {}
        percentiles(np.zeros(2))  # numpy's first call costs more than a turn of a loop may

    def add_event(self, event: Event) -> None:
        """Take an event."""
        self._begin(event.t_ns)
        chunk = self._ledger.add(event)
        if chunk is not None:
            self._add_chunk(chunk, event.t_ns)
        match event:
            case InferenceStarted():
                if self._first_inference_ns is None:
                    self._first_inference_ns = event.t_ns
            case ChunkMerged():
                self._seam_last = event
                self._seam_max_m = max(self._seam_max_m, event.seam_m)
                self._seam_max_rad = max(self._seam_max_rad, event.seam_rad)
            case SchedulerStateChanged():
                self._scheduler = event
                self._scheduler_underruns += event.state == "underrun"
            case ArmModeChanged():
                self._arm_event = event
            case EpisodeStarted():
                self._episode_text = event.text
            case EpisodeEnded():
                self._outcomes[event.outcome] = self._outcomes.get(event.outcome, 0) + 1
            case Note():
                self._notes.append(f"{event.source}: {event.text}"[:MAX_TEXT])

    def add_servo_ticks(self, ticks: NDArray[Any]) -> None:
        """Take servo ticks: (n,) SERVO_TICK, oldest first."""
        if len(ticks):
            self._begin(int(ticks["t_ns"][0]))
            self._ticks.add(ticks)

    def add_arm_state(self, state: ArmState) -> None:
        """Take what the arm reports."""
        self._begin(state.t_ns)
        self._arm = state

    def set_process(self, process: ProcessStatus) -> None:
        """Set the health of one process."""
        if process.name in self._processes or len(self._processes) < MAX_PROCESSES:
            self._processes[process.name] = process

    def snapshot(self, now_ns: int) -> RunStatus:
        """Return the run's state at ``now_ns``."""
        since_ns = now_ns - self._window_ns
        start_ns = now_ns if self._start_ns is None else self._start_ns
        replan_hz, inference_s = self._replanning(now_ns, since_ns)
        ticks = self._ticks.since(since_ns, now_ns)
        ledger, seam, arm = self._ledger, self._seam_last, self._arm
        mode, reason = self._arm_mode()
        return RunStatus(
            t_ns=now_ns,
            elapsed_s=max(0, now_ns - start_ns) / NS_PER_S,
            window_s=self._window_ns / NS_PER_S,
            replan_hz=replan_hz,
            action_hz=self._chunk_size * replan_hz,
            dispatch_hz=ticks.dispatch_hz,
            inference_s=inference_s,
            observation_age_s=ticks.observation_age_s,
            lateness_s=ticks.lateness_s,
            overruns=self._ticks.overruns,
            underruns=max(self._scheduler_underruns, self._ticks.underruns),
            saturated_share=ticks.saturated_share,
            inferences=ledger.inferences,
            chunks=ledger.chunks,
            merged=ledger.merged,
            discarded=dict(ledger.discarded),
            actions_executed=ledger.executed,
            actions_stale=ledger.stale,
            actions_overridden=ledger.overridden,
            actions_cleared=ledger.cleared,
            seam_last_m=seam.seam_m if seam else None,
            seam_last_rad=seam.seam_rad if seam else None,
            seam_max_m=self._seam_max_m if seam else None,
            seam_max_rad=self._seam_max_rad if seam else None,
            scheduler_state=self._scheduler.state,
            scheduler_detail=self._scheduler.detail,
            arm_mode=mode,
            arm_reason=reason[:MAX_TEXT],
            arm_shadow=arm.shadow if arm else False,
            accepted=arm.accepted if arm else 0,
            rejected=dict(arm.rejected) if arm else {},
            tracking_m=_finite(arm.tracking_m) if arm else None,
            tracking_rad=_finite(arm.tracking_rad) if arm else None,
            episode_text=self._episode_text,
            attempts=sum(self._outcomes.values()),
            caught=self._outcomes.get("success", 0),
            outcomes=dict(self._outcomes),
            processes=tuple(self._processes.values()),
            notes=tuple(self._notes),
        )

    def _begin(self, t_ns: int) -> None:
        if self._start_ns is None:
            self._start_ns = t_ns

    def _add_chunk(self, chunk: ChunkRecord, t_ns: int) -> None:
        self._chunks.append((t_ns, chunk.inference_s or 0.0))

    def _replanning(self, now_ns: int, since_ns: int) -> tuple[float, Percentiles | None]:
        """Return chunks per second and the inference times [s] of the window."""
        while self._chunks and self._chunks[0][0] < since_ns:
            self._chunks.popleft()
        if self._first_inference_ns is None or not self._chunks:
            return 0.0, None
        span_ns = now_ns - max(since_ns, self._first_inference_ns)
        replan_hz = len(self._chunks) * NS_PER_S / max(span_ns, 1)
        return replan_hz, percentiles(np.array([chunk[1] for chunk in self._chunks]))

    def _arm_mode(self) -> tuple[str, str]:
        """Return the arm's mode and reason, from whichever source is newer."""
        arm, event = self._arm, self._arm_event
        if arm is not None and (event is None or arm.t_ns >= event.t_ns):
            return arm.mode, arm.reason
        return (event.mode, event.reason) if event else ("unknown", "")


def _finite(value: float) -> float | None:
    """Return the value, or None where it is not a number."""
    return float(value) if np.isfinite(value) else None
