"""The scheduler: which chunk's which action is in force at every instant.

Time is the index: action i of a chunk with time base tau is in force on [tau + i*T, tau + (i+1)*T)
and stale once that has ended. The scheduler never reads a clock; every method takes ``now_ns``,
which never goes back. Deliver a chunk before advancing to the same instant: what arrives at an
instant counts for it, and only ``advance`` reports what came into force at it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dvla.runtime import seam
from dvla.runtime.chunk import Chunk
from dvla.runtime.clock import NS_PER_S
from dvla.runtime.config import SchedulerConfig
from dvla.runtime.ensemble import Ensemble
from dvla.runtime.errors import ConfigError
from dvla.runtime.events import (
    ActionInForce,
    ChunkDiscarded,
    ChunkMerged,
    EventSink,
    InferenceStarted,
    SchedulerStateChanged,
)
from dvla.runtime.guide import GREATEST_POWER, Guide, LatencyWindow, guide_from
from dvla.runtime.pose import Float64, setpoints_from_actions
from dvla.runtime.scheduler_state import (
    DiscardReason,
    SchedulerCounters,
    SchedulerState,
    Tally,
    Ticket,
)
from dvla.runtime.timeline import (
    CAPACITY_KNOTS,
    PAST_KNOTS,
    Timeline,
    empty_timeline,
    first_action,
    merge,
    select,
    trim_mask,
)

TOO_SLOW_CHUNKS = 3
"""Wholly stale chunks in a row after which the policy is too slow for its chunks."""
ACTION_WIDTH = 7
REACH_M = 5.0
"""No arm on a table reaches it: such a chunk is nonsense, and nothing of it is followed."""
GRID_TOLERANCE_NS = 1_000
"""A chunk's period is a float of seconds; it may differ from ours by this much."""


class Scheduler:
    """Merges chunks into the timeline under Continuous Inference and latency-aware streaming.

    Args:
        config: the switches.
        chunk_size: H, actions per chunk.
        control_period_ns: T, spacing of the actions.
        sink: where events go.
        publish: called with every new timeline; ``publish_timeline`` writes it to a stream.
        max_observation_age_ns: the arm refuses older ones, so that a motion whose end would be
            older than that is not anchored; its chunk counts as the stale one that it is.
        reach_m: a chunk with a position beyond it along any axis is nonsense [m].

    Raises:
        ConfigError: two chunks and the past knots do not fit into one slot of the stream.
    """

    def __init__(
        self,
        config: SchedulerConfig,
        *,
        chunk_size: int,
        control_period_ns: int,
        sink: EventSink,
        publish: Callable[[Timeline], object] | None = None,
        max_observation_age_ns: int | None = None,
        reach_m: float = REACH_M,
    ) -> None:
        largest = (CAPACITY_KNOTS - PAST_KNOTS) // 2
        if not 1 <= chunk_size <= largest:
            raise ConfigError(
                "the chunk size does not fit the action stream",
                got=str(chunk_size),
                expected=f"1 to {largest} actions",
            )
        self._config = config
        self._chunk_size = chunk_size
        self._period_ns = control_period_ns
        self._sink = sink
        self._publish = publish
        self._max_age_ns = max_observation_age_ns
        self._reach_m = reach_m
        self._lead_ns = round(config.lead_s * NS_PER_S)
        self._tally = Tally()
        self._now_ns = 0
        self._generation = 0
        self._state: SchedulerState = "bootstrap"
        self._next_sequence = 0
        self._in_flight: dict[int, int] = {}  # when each inference began, by its number
        self._latencies = LatencyWindow()
        self._ensemble = Ensemble(control_period_ns, config.ensemble_decay)
        self._timeline = self._empty(hold=False)
        self._plan = self._timeline  # with what was executed since the merge before the last
        self._cursor = 0  # rows of the timeline that have come into force
        self._waiting: ChunkMerged | None = None  # merged, not yet in force
        self._newest_t_obs_ns: int | None = None  # of this generation's accepted chunks
        self._first_chunk = True  # since a start, a new generation or a hold
        self._last_end_ns = 0  # when the newest action in force ends, if nothing cuts it short
        self._moved_until_ns = 0  # when the last action before the last clearing ended
        self._anchor_ns: int | None = None  # start of the current anchored motion
        self._stale_in_a_row = 0

    @property
    def state(self) -> SchedulerState:
        """What the scheduler is doing."""
        return self._state

    @property
    def generation(self) -> int:
        """The current episode generation."""
        return self._generation

    @property
    def timeline(self) -> Timeline:
        """The newest merged timeline."""
        return self._timeline

    @property
    def counters(self) -> SchedulerCounters:
        """The counts so far."""
        return self._tally.snapshot()

    def wants_inference(self, now_ns: int) -> bool:
        """Return whether the next inference should begin now."""
        due_ns = self.next_inference_ns(now_ns)
        return due_ns is not None and due_ns <= now_ns

    def next_inference_ns(self, now_ns: int) -> int | None:
        """Return when the next inference should begin, or None while one is under way.

        With continuous inference that is now; without, it is when the timeline runs dry.
        """
        if self._in_flight:
            return None
        if self._config.ci or self._state != "running":
            return now_ns
        return max(now_ns, self._timeline.end_ns)

    def begin_inference(self, now_ns: int, t_obs_ns: int) -> Ticket:
        """Begin an inference on an observation; its chunk must carry the ticket's numbers."""
        now_ns = self._pass_time(now_ns)
        guide = self._guide(t_obs_ns, now_ns)
        ticket = Ticket(
            sequence=self._next_sequence,
            generation=self._generation,
            t_obs_ns=t_obs_ns,
            guide=guide,
        )
        self._next_sequence += 1
        self._in_flight[ticket.sequence] = now_ns
        self._tally.inferences += 1
        self._sink.emit(
            InferenceStarted(
                t_ns=now_ns,
                sequence=ticket.sequence,
                generation=ticket.generation,
                t_obs_ns=t_obs_ns,
                kept_steps=guide.kept_steps if guide else 0,
                guided_steps=guide.guided_steps if guide else 0,
            )
        )
        return ticket

    def abandon(self, ticket: Ticket, now_ns: int) -> None:
        """Give an inference up: it failed, or its result is wanted no more."""
        self._pass_time(now_ns)
        if self._in_flight.pop(ticket.sequence, None) is not None:
            self._tally.inferences_abandoned += 1

    def on_chunk(self, chunk: Chunk, now_ns: int) -> DiscardReason | None:
        """Take a chunk that arrives now; return why it replaced nothing, or None if it counts."""
        now_ns = self._pass_time(now_ns)
        begun_ns = self._in_flight.pop(chunk.sequence, None)
        if begun_ns is not None:
            self._latencies.add(now_ns - begun_ns)
        reason = self._fault_of(chunk, now_ns, begun_ns is not None)
        tau_ns = 0
        if reason is None:
            tau_ns = self._time_base(chunk, now_ns)
            if first_action(tau_ns, now_ns, self._period_ns) >= self._chunk_size:
                reason = "stale"
        if reason is None:
            self._accept(chunk, tau_ns, now_ns)
        else:
            self._discard(now_ns, chunk.sequence, chunk.generation, chunk.t_obs_ns, reason)
            if reason == "stale":
                self._on_stale(chunk, now_ns)
        return reason

    def advance(self, now_ns: int) -> None:
        """Move time: report the actions that came into force by now, and a timeline run dry."""
        self._now_ns = max(now_ns, self._now_ns)
        self._report_until(self._now_ns + 1)

    def new_generation(self, now_ns: int) -> int:
        """Begin a new episode or instruction: older chunks are void, and the timeline is empty.

        How many stale chunks came in a row is kept: an episode does not make a policy faster.
        """
        now_ns = self._pass_time(now_ns)
        self._clear(now_ns, "generation")
        self._generation += 1
        self._newest_t_obs_ns = None
        self._first_chunk = True
        self._enter("bootstrap", now_ns, f"generation {self._generation}")
        self._replace_timeline(self._empty(hold=True))
        return self._generation

    def on_hold(self, now_ns: int, reason: str = "commanded hold") -> None:
        """Hold: the timeline is empty, and the next chunk starts a motion of its own."""
        now_ns = self._pass_time(now_ns)
        self._clear(now_ns, "hold")
        self._first_chunk = True
        self._stale_in_a_row = 0
        self._enter("hold", now_ns, reason)
        self._replace_timeline(self._empty(hold=True))

    # --- laws -----------------------------------------------------------------------------------

    def _fault_of(self, chunk: Chunk, now_ns: int, begun: bool) -> DiscardReason | None:
        """Return why a chunk must not be looked at further, or None."""
        if chunk.generation != self._generation:
            return "generation"
        if not begun:
            return "duplicate"
        if (
            chunk.actions.shape != (self._chunk_size, ACTION_WIDTH)
            or not np.isfinite(chunk.actions).all()
            or float(np.abs(chunk.actions[:, :3]).max()) > self._reach_m
            or chunk.t_obs_ns > now_ns
            or abs(chunk.control_period_s * NS_PER_S - self._period_ns) > GRID_TOLERANCE_NS
        ):
            return "invalid"
        newest_ns = self._newest_t_obs_ns
        if newest_ns is not None and chunk.t_obs_ns <= newest_ns:
            return "duplicate" if chunk.t_obs_ns == newest_ns else "late"
        return None

    def _time_base(self, chunk: Chunk, now_ns: int) -> int:
        """Return tau: when action 0 of a chunk that arrives now is, or was, due."""
        if not self._config.laas:
            running_end_ns = self._running().end_ns if self._state == "running" else now_ns
            return max(now_ns, running_end_ns)
        if self._anchors(chunk, now_ns):
            return now_ns
        # An observation from before an anchored motion began saw the arm at rest: what follows from
        # it is the motion's beginning, whenever that was.
        return max(chunk.t_obs_ns, self._anchor_ns or 0)

    def _anchors(self, chunk: Chunk, now_ns: int) -> bool:
        """Return whether a chunk's motion starts when it arrives rather than when it was seen."""
        oldest_ns = now_ns - chunk.t_obs_ns + self._chunk_size * self._period_ns
        if self._max_age_ns is not None and oldest_ns > self._max_age_ns:
            return False
        if self._first_chunk:
            # An action executed since the observation has moved the arm away from what was seen.
            at_rest = chunk.t_obs_ns >= self._moved_until_ns
            return self._config.bootstrap == "anchor" and at_rest
        return self._config.resume == "anchor" and self._state == "underrun"

    def _guide(self, t_obs_ns: int, now_ns: int) -> Guide | None:
        """Return what guides an inference that begins now; None samples as if nothing went on.

        That is so unless an action is in force: after a start, a hold or an underrun the next chunk
        starts a motion, and without streaming it begins where the previous one ends.
        """
        config = self._config
        if config.seam != "rtc" or not config.laas or self._state != "running":
            return None
        tau_ns = max(t_obs_ns, self._anchor_ns or 0)
        p95_ns = self._latencies.p95_ns
        arrival_ns = None if p95_ns is None else now_ns + p95_ns
        power, seen_ns = 1.0, self._newest_t_obs_ns
        if config.guide == "aged" and seen_ns is not None:
            power = min(max(1.0, (t_obs_ns - seen_ns) / self._period_ns), GREATEST_POWER)
        return guide_from(self._plan, tau_ns, arrival_ns, self._chunk_size, power)

    # --- chunks ---------------------------------------------------------------------------------

    def _accept(self, chunk: Chunk, tau_ns: int, now_ns: int) -> None:
        """Merge a chunk with at least one action that is not stale."""
        old = self._running()
        if self._waiting is not None:
            waiting = self._waiting
            self._discard(
                now_ns, waiting.sequence, waiting.generation, waiting.t_obs_ns, "superseded"
            )
        if self._config.laas:
            self._tally.actions_overridden += len(old) - self._cursor
            if self._anchors(chunk, now_ns):
                self._anchor_ns = now_ns
        first = first_action(tau_ns, now_ns, self._period_ns)
        setpoints = self._cross(old, chunk, tau_ns, now_ns)
        due_ns = tau_ns + first * self._period_ns
        jump = seam.seam_jump(old, setpoints, due_ns, first)
        merged = ChunkMerged(
            t_ns=max(tau_ns, now_ns),
            sequence=chunk.sequence,
            generation=chunk.generation,
            t_obs_ns=chunk.t_obs_ns,
            tau_ns=tau_ns,
            first_action=first,
            actions=self._chunk_size,
            inference_s=chunk.inference_s,
            seam_m=jump.seam_m,
            seam_rad=jump.seam_rad,
            in_chunk_m=jump.in_chunk_m,
            in_chunk_rad=jump.in_chunk_rad,
            seam_alarm=jump.alarming,
        )
        self._newest_t_obs_ns = chunk.t_obs_ns
        self._stale_in_a_row = 0
        self._first_chunk = False
        # After a pause the arm is at rest somewhere else: the old plan's knots are no past of ours.
        base = old if self._state == "running" else self._empty(hold=False)
        takeover_ns = max(tau_ns, now_ns)
        timeline = merge(
            base,
            setpoints,
            tau_ns=tau_ns,
            takeover_ns=takeover_ns,
            sequence=chunk.sequence,
            t_obs_ns=chunk.t_obs_ns,
        )
        self._waiting = merged
        self._enter("running", now_ns, "")
        kept = int(np.count_nonzero(base.in_force_ns < takeover_ns))
        self._replace_timeline(timeline, min(self._cursor, kept))

    def _cross(self, old: Timeline, chunk: Chunk, tau_ns: int, now_ns: int) -> Float64:
        """Return a chunk's setpoints (H, 8) as the seam mode lets them follow the old plan."""
        setpoints = setpoints_from_actions(chunk.actions)
        first = first_action(tau_ns, now_ns, self._period_ns)
        due_ns = tau_ns + first * self._period_ns
        running = self._state == "running"
        if self._config.seam == "ensemble" and self._config.laas:
            if not running:
                self._ensemble.clear()
            self._ensemble.add(tau_ns, setpoints, due_ns)
            setpoints = setpoints.copy()
            t_ns = tau_ns + np.arange(first, self._chunk_size, dtype=np.int64) * self._period_ns
            setpoints[first:] = self._ensemble.mean(t_ns)
        if not running:
            return setpoints
        if self._config.seam == "blend":
            setpoints = seam.blend(old, setpoints, due_ns, first, self._config.blend_steps)
        return seam.same_hemisphere(old, setpoints, first)

    def _running(self) -> Timeline:
        """Return the timeline without the chunk in the waiting slot."""
        if self._waiting is None:
            return self._timeline
        return select(self._timeline, self._timeline.sequences != self._waiting.sequence)

    def _on_stale(self, chunk: Chunk, now_ns: int) -> None:
        """Count a wholly stale chunk; hold when the policy proves too slow."""
        self._tally.actions_stale += self._chunk_size
        self._stale_in_a_row += 1
        if self._stale_in_a_row < TOO_SLOW_CHUNKS or self._state == "too_slow":
            return
        latency_s = (now_ns - chunk.t_obs_ns) / NS_PER_S
        period_s = self._period_ns / NS_PER_S
        self._clear(now_ns, "hold")
        self._enter(
            "too_slow",
            now_ns,
            f"{TOO_SLOW_CHUNKS} chunks in a row arrived wholly stale: {latency_s:.2f} s from "
            f"observation to arrival, but a chunk lasts {self._chunk_size * period_s:.2f} s "
            f"({self._chunk_size} actions * {period_s * 1e3:.0f} ms)",
        )
        self._replace_timeline(self._empty(hold=True))

    def _discard(
        self, now_ns: int, sequence: int, generation: int, t_obs_ns: int, reason: DiscardReason
    ) -> None:
        self._tally.discard(reason)
        self._sink.emit(
            ChunkDiscarded(
                t_ns=now_ns,
                sequence=sequence,
                generation=generation,
                t_obs_ns=t_obs_ns,
                reason=reason,
            )
        )

    # --- time -----------------------------------------------------------------------------------

    def _pass_time(self, now_ns: int) -> int:
        """Report what happened before now, leaving this very instant open; return now."""
        self._now_ns = max(now_ns, self._now_ns)
        self._report_until(self._now_ns)
        return self._now_ns

    def _report_until(self, bound_ns: int) -> None:
        """Report what happened before ``bound_ns``, each at its own time."""
        timeline = self._timeline
        while self._cursor < len(timeline) and timeline.in_force_ns[self._cursor] < bound_ns:
            row = self._cursor
            self._cursor += 1
            sequence = int(timeline.sequences[row])
            if self._waiting is not None and self._waiting.sequence == sequence:
                self._promote(self._waiting)
            self._last_end_ns = int(timeline.due_ns[row]) + self._period_ns
            self._tally.actions_executed += 1
            self._sink.emit(
                ActionInForce(
                    t_ns=int(timeline.in_force_ns[row]),
                    sequence=sequence,
                    generation=timeline.generation,
                    index=int(timeline.indices[row]),
                    t_obs_ns=int(timeline.t_obs_ns[row]),
                )
            )
        if self._state == "running" and timeline.end_ns < bound_ns:
            self._tally.underruns += 1
            self._enter("underrun", timeline.end_ns, "the last action's time ended")

    def _promote(self, merged: ChunkMerged) -> None:
        """Count and report a chunk whose first action comes into force."""
        self._waiting = None
        tally = self._tally
        tally.chunks_merged += 1
        tally.actions_stale += merged.first_action
        tally.seams += merged.seam_m > 0.0 or merged.seam_rad > 0.0
        tally.seam_alarms += merged.seam_alarm
        tally.seam_max_m = max(tally.seam_max_m, merged.seam_m)
        tally.seam_max_rad = max(tally.seam_max_rad, merged.seam_rad)
        self._sink.emit(merged)

    def _enter(self, state: SchedulerState, t_ns: int, detail: str) -> None:
        if state == self._state:
            return
        self._state = state
        self._sink.emit(SchedulerStateChanged(t_ns=t_ns, state=state, detail=detail))

    def _clear(self, now_ns: int, reason: DiscardReason) -> None:
        """Take everything back that has not come into force."""
        running = self._running()
        self._tally.actions_cleared += len(running) - min(self._cursor, len(running))
        if self._waiting is not None:
            waiting = self._waiting
            self._discard(now_ns, waiting.sequence, waiting.generation, waiting.t_obs_ns, reason)
            self._waiting = None
        # What was in force ends here: another clearing before its time was up must not move this.
        self._last_end_ns = min(self._last_end_ns, now_ns)
        self._moved_until_ns = self._last_end_ns
        self._anchor_ns = None

    def _empty(self, *, hold: bool) -> Timeline:
        return empty_timeline(
            self._period_ns, lead_ns=self._lead_ns, generation=self._generation, hold=hold
        )

    def _replace_timeline(self, timeline: Timeline, reported: int = 0) -> None:
        """Put a timeline in place, its first rows already reported, and publish it."""
        self._plan = timeline
        keep = trim_mask(timeline, self._now_ns)
        self._cursor = int(np.count_nonzero(keep[:reported]))
        self._timeline = select(timeline, keep)
        if self._publish is not None:
            self._publish(self._timeline)
