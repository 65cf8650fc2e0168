"""Events: everything a run reports, as typed records that become JSON lines.

Times are ``_ns`` on the host's monotonic clock. Events are made off the servo's control path; a
full sink drops and counts, it never blocks.
"""

from __future__ import annotations

from typing import Literal, Protocol

import msgspec


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="event"):
    """Root of all events; ``t_ns`` is when it happened."""

    t_ns: int


class InferenceStarted(Event, frozen=True, tag="inference_started"):
    """An inference began on the observation captured at ``t_obs_ns``.

    Under ``--seam rtc`` the previous chunk guides ``guided_steps`` of its actions, of which the
    first ``kept_steps`` stay as they are.
    """

    sequence: int
    generation: int
    t_obs_ns: int
    kept_steps: int = 0
    guided_steps: int = 0


class ChunkMerged(Event, frozen=True, tag="chunk_merged"):
    """A chunk entered the timeline.

    ``tau_ns`` is its time base; actions ``first_action`` to H - 1 can still come into force, those
    before are stale. ``seam_m`` and ``seam_rad`` are the step across the seam, ``in_chunk_m`` and
    ``in_chunk_rad`` the largest step inside the chunk, for comparison; ``seam_alarm``: the seam is
    far out of proportion.
    """

    sequence: int
    generation: int
    t_obs_ns: int
    tau_ns: int
    first_action: int
    actions: int
    inference_s: float
    seam_m: float
    seam_rad: float
    in_chunk_m: float
    in_chunk_rad: float
    seam_alarm: bool = False


class ChunkDiscarded(Event, frozen=True, tag="chunk_discarded"):
    """A chunk replaced nothing; ``reason``: ``dvla.runtime.scheduler_state.DiscardReason``."""

    sequence: int
    generation: int
    t_obs_ns: int
    reason: str


class ActionInForce(Event, frozen=True, tag="action_in_force"):
    """Action ``index`` of chunk ``sequence`` came into force."""

    sequence: int
    generation: int
    index: int
    t_obs_ns: int


class SchedulerStateChanged(Event, frozen=True, tag="scheduler_state"):
    """The scheduler changed state; ``detail`` says why, in words for people."""

    state: str
    detail: str = ""


class ArmModeChanged(Event, frozen=True, tag="arm_mode"):
    """The arm controller changed mode, for a reason."""

    mode: str
    reason: str = ""


class CommandRejected(Event, frozen=True, tag="command_rejected"):
    """The arm controller rejected a command; nothing of it reached the driver."""

    session: int
    sequence: int
    reason: str
    detail: str = ""


class EpisodeStarted(Event, frozen=True, tag="episode_started"):
    """The twin put a new object on the table, which ``seed`` makes again; or a real arm, which has
    one episode, first followed the policy: then ``text`` is its instruction."""

    episode: int
    seed: int
    text: str = ""


class EpisodeEnded(Event, frozen=True, tag="episode_ended"):
    """The twin's episode ended: success, dropped, out_of_reach or timeout."""

    episode: int
    outcome: str
    duration_s: float


class ChunkArrived(Event, frozen=True, tag="chunk_arrived"):
    """A chunk reached the scheduler, as the policy made it; ``dvla-replay`` feeds it in again.

    ``actions`` is (rows, columns) float32, little endian, C order.
    """

    sequence: int
    generation: int
    t_obs_ns: int
    inference_s: float
    control_period_s: float
    rows: int
    columns: int
    actions: bytes


class SchedulerTold(Event, frozen=True, tag="scheduler_told"):
    """The scheduler was told of a hold, of a new generation, or that an inference was given up."""

    what: Literal["hold", "generation", "abandon"]
    sequence: int = -1


class Note(Event, frozen=True, tag="note"):
    """Something a person may want to read: a process and a sentence."""

    source: str
    text: str


AnyEvent = (
    InferenceStarted
    | ChunkMerged
    | ChunkDiscarded
    | ActionInForce
    | SchedulerStateChanged
    | ArmModeChanged
    | CommandRejected
    | EpisodeStarted
    | EpisodeEnded
    | ChunkArrived
    | SchedulerTold
    | Note
)


class EventSink(Protocol):
    """Where events go."""

    def emit(self, event: Event) -> None:
        """Take an event; never block and never raise."""
