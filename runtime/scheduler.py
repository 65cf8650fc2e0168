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
    ChunkMerged,
    EventSink,
    InferenceStarted,
)
from dvla.runtime.guide import GREATEST_POWER, Guide, LatencyWindow, guide_from
from dvla.runtime.plan_in_force import PlanInForce
from dvla.runtime.pose import Float64, setpoints_from_actions
from dvla.runtime.scheduler_state import (
    DiscardReason,
    SchedulerCounters,
    SchedulerState,
    Ticket,
)
from dvla.runtime.timeline import (
    CAPACITY_KNOTS,
    PAST_KNOTS,
    Timeline,
    empty_timeline,
    first_action,
    merge,
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
        self._max_age_ns = max_observation_age_ns
        self._reach_m = reach_m
        self._lead_ns = round(config.lead_s * NS_PER_S)
        self._generation = 0
        self._next_sequence = 0
        self._in_flight: dict[int, int] = {}  # when each inference began, by its number
        self._latencies = LatencyWindow()
        self._ensemble = Ensemble(control_period_ns, config.ensemble_decay)
        self._plan = PlanInForce(self._empty(hold=False), sink, publish)
        self._newest_t_obs_ns: int | None = None  # of this generation's accepted chunks
        self._first_chunk = True  # since a start, a new generation or a hold
        self._anchor_ns: int | None = None  # start of the current anchored motion
        self._stale_in_a_row = 0

    @property
    def state(self) -> SchedulerState:
        """What the scheduler is doing."""
        return self._plan.state

    @property
    def generation(self) -> int:
        """The current episode generation."""
        return self._generation

    @property
    def timeline(self) -> Timeline:
        """The newest merged timeline."""
        return self._plan.timeline

    @property
    def counters(self) -> SchedulerCounters:
        """The counts so far."""
        return self._plan.tally.snapshot()

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
        if self._config.ci or self._plan.state != "running":
            return now_ns
        return max(now_ns, self._plan.timeline.end_ns)

    def begin_inference(self, now_ns: int, t_obs_ns: int) -> Ticket:
        """Begin an inference on an observation; its chunk must carry the ticket's numbers."""
        now_ns = self._plan.pass_time(now_ns)
        guide = self._guide(t_obs_ns, now_ns)
        ticket = Ticket(
            sequence=self._next_sequence,
            generation=self._generation,
            t_obs_ns=t_obs_ns,
            guide=guide,
        )
        self._next_sequence += 1
        self._in_flight[ticket.sequence] = now_ns
        self._plan.tally.inferences += 1
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
        self._plan.pass_time(now_ns)
        if self._in_flight.pop(ticket.sequence, None) is not None:
            self._plan.tally.inferences_abandoned += 1

    def on_chunk(self, chunk: Chunk, now_ns: int) -> DiscardReason | None:
        """Take a chunk that arrives now; return why it replaced nothing, or None if it counts."""
        now_ns = self._plan.pass_time(now_ns)
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
            self._plan.discard(now_ns, chunk.sequence, chunk.generation, chunk.t_obs_ns, reason)
            if reason == "stale":
                self._on_stale(chunk, now_ns)
        return reason

    def advance(self, now_ns: int) -> None:
        """Move time: report the actions that came into force by now, and a timeline run dry."""
        self._plan.advance(now_ns)

    def new_generation(self, now_ns: int) -> int:
        """Begin a new episode or instruction: older chunks are void, and the timeline is empty.

        How many stale chunks came in a row is kept: an episode does not make a policy faster.
        """
        now_ns = self._plan.pass_time(now_ns)
        self._clear(now_ns, "generation")
        self._generation += 1
        self._newest_t_obs_ns = None
        self._first_chunk = True
        self._plan.enter("bootstrap", now_ns, f"generation {self._generation}")
        self._plan.replace(self._empty(hold=True))
        return self._generation

    def on_hold(self, now_ns: int, reason: str = "commanded hold") -> None:
        """Hold: the timeline is empty, and the next chunk starts a motion of its own."""
        now_ns = self._plan.pass_time(now_ns)
        self._clear(now_ns, "hold")
        self._first_chunk = True
        self._stale_in_a_row = 0
        self._plan.enter("hold", now_ns, reason)
        self._plan.replace(self._empty(hold=True))

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
            if self._plan.state != "running":
                return now_ns
            return max(now_ns, self._plan.without_waiting().end_ns)
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
            at_rest = chunk.t_obs_ns >= self._plan.moved_until_ns
            return self._config.bootstrap == "anchor" and at_rest
        return self._config.resume == "anchor" and self._plan.state == "underrun"

    def _guide(self, t_obs_ns: int, now_ns: int) -> Guide | None:
        """Return what guides an inference that begins now; None samples as if nothing went on.

        That is so unless an action is in force: after a start, a hold or an underrun the next chunk
        starts a motion, and without streaming it begins where the previous one ends.
        """
        config = self._config
        if config.seam != "rtc" or not config.laas or self._plan.state != "running":
            return None
        tau_ns = max(t_obs_ns, self._anchor_ns or 0)
        p95_ns = self._latencies.p95_ns
        arrival_ns = None if p95_ns is None else now_ns + p95_ns
        power, seen_ns = 1.0, self._newest_t_obs_ns
        if config.guide == "aged" and seen_ns is not None:
            power = min(max(1.0, (t_obs_ns - seen_ns) / self._period_ns), GREATEST_POWER)
        return guide_from(self._plan.whole, tau_ns, arrival_ns, self._chunk_size, power)

    # --- chunks ---------------------------------------------------------------------------------

    def _accept(self, chunk: Chunk, tau_ns: int, now_ns: int) -> None:
        """Merge a chunk with at least one action that is not stale."""
        old = self._plan.without_waiting()
        self._plan.discard_waiting(now_ns, "superseded")
        if self._config.laas:
            self._plan.tally.actions_overridden += self._plan.left_of(old)
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
        base = old if self._plan.state == "running" else self._empty(hold=False)
        takeover_ns = max(tau_ns, now_ns)
        timeline = merge(
            base,
            setpoints,
            tau_ns=tau_ns,
            takeover_ns=takeover_ns,
            sequence=chunk.sequence,
            t_obs_ns=chunk.t_obs_ns,
        )
        kept = int(np.count_nonzero(base.in_force_ns < takeover_ns))
        self._plan.take(timeline, merged, now_ns, kept)

    def _cross(self, old: Timeline, chunk: Chunk, tau_ns: int, now_ns: int) -> Float64:
        """Return a chunk's setpoints (H, 8) as the seam mode lets them follow the old plan."""
        setpoints = setpoints_from_actions(chunk.actions)
        first = first_action(tau_ns, now_ns, self._period_ns)
        due_ns = tau_ns + first * self._period_ns
        running = self._plan.state == "running"
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

    def _on_stale(self, chunk: Chunk, now_ns: int) -> None:
        """Count a wholly stale chunk; hold when the policy proves too slow."""
        self._plan.tally.actions_stale += self._chunk_size
        self._stale_in_a_row += 1
        if self._stale_in_a_row < TOO_SLOW_CHUNKS or self._plan.state == "too_slow":
            return
        latency_s = (now_ns - chunk.t_obs_ns) / NS_PER_S
        period_s = self._period_ns / NS_PER_S
        self._clear(now_ns, "hold")
        self._plan.enter(
            "too_slow",
            now_ns,
            f"{TOO_SLOW_CHUNKS} chunks in a row arrived wholly stale: {latency_s:.2f} s from "
            f"observation to arrival, but a chunk lasts {self._chunk_size * period_s:.2f} s "
            f"({self._chunk_size} actions * {period_s * 1e3:.0f} ms)",
        )
        self._plan.replace(self._empty(hold=True))

    def _clear(self, now_ns: int, reason: DiscardReason) -> None:
        self._plan.clear(now_ns, reason)
        self._anchor_ns = None

    def _empty(self, *, hold: bool) -> Timeline:
        return empty_timeline(
            self._period_ns, lead_ns=self._lead_ns, generation=self._generation, hold=hold
        )
