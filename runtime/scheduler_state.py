"""What the scheduler hands out: its states, tickets and counters."""

from __future__ import annotations

from typing import Literal

import msgspec

from dvla.runtime.guide import Guide

SchedulerState = Literal["bootstrap", "running", "underrun", "too_slow", "hold"]
"""bootstrap: nothing executed yet; running: an action is in force; underrun: the timeline ran dry;
too_slow: three wholly stale chunks in a row; hold: a commanded hold, or the arm stopped."""

DiscardReason = Literal["late", "duplicate", "generation", "stale", "superseded", "hold", "invalid"]
"""late: a newer observation is already in; duplicate: this inference or this observation is;
generation: of an older episode; stale: its last action's time has ended; superseded: replaced by
a newer observation before its first action came into force; hold: waiting when a
hold came; invalid: wrong shape or grid, not finite, out of any reach, or seen after it arrived."""


class Ticket(msgspec.Struct, frozen=True, kw_only=True):
    """One inference: its number, the generation and observation that it began with, its guide.

    Without ``--seam rtc``, and where nothing is executed that could guide it, ``guide`` is None.
    """

    sequence: int
    generation: int
    t_obs_ns: int
    guide: Guide | None = None


class SchedulerCounters(msgspec.Struct, frozen=True, kw_only=True):
    """Counts since the scheduler was made.

    Every action of a merged or wholly stale chunk ends as executed, stale, overridden or cleared,
    or is still to come.

    Attributes:
        inferences: begun; ``inferences_abandoned`` of them ended without a chunk.
        chunks_merged: came into the timeline for good.
        chunks_discarded: by reason, see ``DiscardReason``.
        actions_executed: came into force.
        actions_stale: their time had ended when their chunk arrived.
        actions_overridden: a chunk with a newer observation took over before their time.
        actions_cleared: a hold or a new generation came before their time.
        underruns: times that the timeline ran dry.
        seams: chunks that took over from another; ``seam_alarms`` of them with an alarming jump.
        seam_max_m / seam_max_rad: largest seam jump.
    """

    inferences: int = 0
    inferences_abandoned: int = 0
    chunks_merged: int = 0
    chunks_discarded: dict[DiscardReason, int] = {}
    actions_executed: int = 0
    actions_stale: int = 0
    actions_overridden: int = 0
    actions_cleared: int = 0
    underruns: int = 0
    seams: int = 0
    seam_alarms: int = 0
    seam_max_m: float = 0.0
    seam_max_rad: float = 0.0


class Tally:
    """The counters while they are being counted; ``snapshot`` freezes them."""

    def __init__(self) -> None:
        self.inferences = 0
        self.inferences_abandoned = 0
        self.chunks_merged = 0
        self.chunks_discarded: dict[DiscardReason, int] = {}
        self.actions_executed = 0
        self.actions_stale = 0
        self.actions_overridden = 0
        self.actions_cleared = 0
        self.underruns = 0
        self.seams = 0
        self.seam_alarms = 0
        self.seam_max_m = 0.0
        self.seam_max_rad = 0.0

    def discard(self, reason: DiscardReason) -> None:
        """Count a discarded chunk."""
        self.chunks_discarded[reason] = self.chunks_discarded.get(reason, 0) + 1

    def snapshot(self) -> SchedulerCounters:
        """Return the counts so far, frozen."""
        counts = dict(vars(self), chunks_discarded=dict(self.chunks_discarded))
        return SchedulerCounters(**counts)
