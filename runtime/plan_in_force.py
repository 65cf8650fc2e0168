"""The plan as time passes: what has come into force, what waits for its turn, what was cleared."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dvla.runtime.events import (
    ActionInForce,
    ChunkDiscarded,
    ChunkMerged,
    EventSink,
    SchedulerStateChanged,
)
from dvla.runtime.scheduler_state import DiscardReason, SchedulerState, Tally
from dvla.runtime.timeline import Timeline, select, trim_mask


class PlanInForce:
    """The newest merged timeline, and how far it has been executed; tells and counts both.

    Args:
        timeline: to begin with, empty.
        sink: where events go.
        publish: called with every new timeline.

    Attributes:
        state: what the scheduler is doing.
        tally: the counts so far.
        timeline: as published.
        whole: with what was executed since the merge before the last.
        moved_until_ns: when the last action before the last clearing ended.
    """

    def __init__(
        self,
        timeline: Timeline,
        sink: EventSink,
        publish: Callable[[Timeline], object] | None,
    ) -> None:
        self._sink, self._publish = sink, publish
        self.state: SchedulerState = "bootstrap"
        self.tally = Tally()
        self.timeline = self.whole = timeline
        self.moved_until_ns = 0
        self._now_ns = 0
        self._cursor = 0  # rows of the timeline that have come into force
        self._waiting: ChunkMerged | None = None  # merged, not yet in force
        self._last_end_ns = 0  # when the newest action in force ends, if nothing cuts it short

    def pass_time(self, now_ns: int) -> int:
        """Report what happened before now, leaving this very instant open; return now."""
        self._now_ns = max(now_ns, self._now_ns)
        self._report_until(self._now_ns)
        return self._now_ns

    def advance(self, now_ns: int) -> None:
        """Report what came into force by now, this very instant included."""
        self._now_ns = max(now_ns, self._now_ns)
        self._report_until(self._now_ns + 1)

    def enter(self, state: SchedulerState, t_ns: int, detail: str) -> None:
        """Change the state, and tell it."""
        if state == self.state:
            return
        self.state = state
        self._sink.emit(SchedulerStateChanged(t_ns=t_ns, state=state, detail=detail))

    def without_waiting(self) -> Timeline:
        """Return the timeline without the chunk that waits."""
        if self._waiting is None:
            return self.timeline
        return select(self.timeline, self.timeline.sequences != self._waiting.sequence)

    def left_of(self, timeline: Timeline) -> int:
        """Return how many actions of a timeline have yet to come into force."""
        return len(timeline) - min(self._cursor, len(timeline))

    def take(self, timeline: Timeline, merged: ChunkMerged, now_ns: int, kept: int) -> None:
        """Put a timeline in place whose first ``kept`` rows are of the old one; its chunk waits."""
        self._waiting = merged
        self.enter("running", now_ns, "")
        self.replace(timeline, min(self._cursor, kept))

    def replace(self, timeline: Timeline, reported: int = 0) -> None:
        """Put a timeline in place, its first rows already reported, and publish it."""
        self.whole = timeline
        keep = trim_mask(timeline, self._now_ns)
        self._cursor = int(np.count_nonzero(keep[:reported]))
        self.timeline = select(timeline, keep)
        if self._publish is not None:
            self._publish(self.timeline)

    def clear(self, now_ns: int, reason: DiscardReason) -> None:
        """Take everything back that has not come into force."""
        self.tally.actions_cleared += self.left_of(self.without_waiting())
        self.discard_waiting(now_ns, reason)
        # What was in force ends here: another clearing before its time was up must not move this.
        self._last_end_ns = min(self._last_end_ns, now_ns)
        self.moved_until_ns = self._last_end_ns

    def discard_waiting(self, now_ns: int, reason: DiscardReason) -> None:
        """Give up the chunk that waits, if there is one."""
        if self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            self.discard(now_ns, waiting.sequence, waiting.generation, waiting.t_obs_ns, reason)

    def discard(
        self, now_ns: int, sequence: int, generation: int, t_obs_ns: int, reason: DiscardReason
    ) -> None:
        """Count and tell a chunk that replaces nothing."""
        self.tally.discard(reason)
        self._sink.emit(
            ChunkDiscarded(
                t_ns=now_ns,
                sequence=sequence,
                generation=generation,
                t_obs_ns=t_obs_ns,
                reason=reason,
            )
        )

    def _report_until(self, bound_ns: int) -> None:
        """Report what happened before ``bound_ns``, each at its own time."""
        timeline = self.timeline
        while self._cursor < len(timeline) and timeline.in_force_ns[self._cursor] < bound_ns:
            row = self._cursor
            self._cursor += 1
            sequence = int(timeline.sequences[row])
            if self._waiting is not None and self._waiting.sequence == sequence:
                self._promote(self._waiting)
            self._last_end_ns = int(timeline.due_ns[row]) + timeline.period_ns
            self.tally.actions_executed += 1
            self._sink.emit(
                ActionInForce(
                    t_ns=int(timeline.in_force_ns[row]),
                    sequence=sequence,
                    generation=timeline.generation,
                    index=int(timeline.indices[row]),
                    t_obs_ns=int(timeline.t_obs_ns[row]),
                )
            )
        if self.state == "running" and timeline.end_ns < bound_ns:
            self.tally.underruns += 1
            self.enter("underrun", timeline.end_ns, "the last action's time ended")

    def _promote(self, merged: ChunkMerged) -> None:
        """Count and report a chunk whose first action comes into force."""
        self._waiting = None
        tally = self.tally
        tally.chunks_merged += 1
        tally.actions_stale += merged.first_action
        tally.seams += merged.seam_m > 0.0 or merged.seam_rad > 0.0
        tally.seam_alarms += merged.seam_alarm
        tally.seam_max_m = max(tally.seam_max_m, merged.seam_m)
        tally.seam_max_rad = max(tally.seam_max_rad, merged.seam_rad)
        self._sink.emit(merged)
