"""The timeline: which action is in force when, as arrays that the stream publishes in one piece.

Rows are in the order in which they come into force. Action i of a chunk with time base tau is *due*
at tau + i*T and in force from then, or from the instant its chunk took over if that is later, until
the next row comes into force or T after it was due. Everything here is a pure function of its
arguments; a timeline never changes once it is made.
"""

from __future__ import annotations

from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from dvla.runtime.pose import SETPOINT_WIDTH, Float64

CAPACITY_KNOTS = 64
"""Most knots of a timeline; no more than ``dvla.bindings.ActionStream.CAPACITY``."""
PAST_KNOTS = 2
"""Past knots that are published: with them position is C1 at the instant of the publication."""

Int64 = NDArray[np.int64]


class StreamWriter(Protocol):
    """The writing half of ``dvla.bindings.ActionStream``."""

    def publish(
        self,
        t_ns: Int64,
        setpoints: Float64,
        chunk_ids: Int64,
        t_obs_ns: Int64,
        *,
        start_ns: int,
        end_ns: int,
        generation: int,
        hold: bool = False,
    ) -> int:
        """Publish a timeline; return the publication's number."""


class Timeline(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Merged actions in the order in which they come into force; arrays are read-only.

    Attributes:
        due_ns: (n,) when each action is due on the grid of its own chunk.
        in_force_ns: (n,) when it comes into force: its due time, or its chunk's take-over if later.
        setpoints: (n, 8) float64, see ``dvla.runtime.pose``.
        sequences: (n,) chunk that each action came from.
        indices: (n,) index of the action in its chunk.
        t_obs_ns: (n,) capture time behind each action.
        period_ns: control period T.
        lead_ns: shift of everything that is published towards earlier execution.
        generation: episode generation of all rows.
        hold: the writer asks for a hold; such a timeline is empty.
    """

    due_ns: Int64
    in_force_ns: Int64
    setpoints: Float64
    sequences: Int64
    indices: Int64
    t_obs_ns: Int64
    period_ns: int
    lead_ns: int = 0
    generation: int = 0
    hold: bool = False

    def __post_init__(self) -> None:
        for array in (
            self.due_ns, self.in_force_ns, self.setpoints,
            self.sequences, self.indices, self.t_obs_ns,
        ):  # fmt: skip
            array.flags.writeable = False

    def __len__(self) -> int:
        return len(self.due_ns)

    @property
    def start_ns(self) -> int:
        """When the first row comes into force; 0 of an empty timeline."""
        return int(self.in_force_ns[0]) if len(self) else 0

    @property
    def end_ns(self) -> int:
        """When the last row's time ends; 0 of an empty timeline."""
        return int(self.due_ns[-1]) + self.period_ns if len(self) else 0

    @property
    def knot_offset_ns(self) -> int:
        """From an action's due time to its knot: half a period (the mean phase of a zero-order
        hold, under which policies are trained), less the lead."""
        return self.period_ns // 2 - self.lead_ns

    def row_in_force(self, now_ns: int) -> int:
        """Return the row in force at an instant, or -1 where there is none."""
        row = int(np.searchsorted(self.in_force_ns, now_ns, side="right")) - 1
        return row if row >= 0 and now_ns < int(self.due_ns[row]) + self.period_ns else -1


def empty_timeline(
    period_ns: int, *, lead_ns: int = 0, generation: int = 0, hold: bool = False
) -> Timeline:
    """Return a timeline without actions."""
    return Timeline(
        due_ns=np.empty(0, np.int64),
        in_force_ns=np.empty(0, np.int64),
        setpoints=np.empty((0, SETPOINT_WIDTH)),
        sequences=np.empty(0, np.int64),
        indices=np.empty(0, np.int64),
        t_obs_ns=np.empty(0, np.int64),
        period_ns=period_ns,
        lead_ns=lead_ns,
        generation=generation,
        hold=hold,
    )


def merge(
    timeline: Timeline,
    setpoints: Float64,
    *,
    tau_ns: int,
    takeover_ns: int,
    sequence: int,
    t_obs_ns: int,
) -> Timeline:
    """Let a chunk take over from an instant on; rows that were to come into force later are gone.

    Args:
        timeline: what is there; its rows before ``takeover_ns`` stay as they are.
        setpoints: (H, 8), all setpoints of the chunk.
        tau_ns: time base: action i is due at ``tau_ns + i * T``.
        takeover_ns: from here on the chunk supplies the actions; stale ones are left out.
        sequence: number of the chunk.
        t_obs_ns: capture time behind the chunk.

    Returns:
        The merged timeline; the given one with its tail cut off where every action is stale.
    """
    kept = timeline.in_force_ns < takeover_ns
    first = first_action(tau_ns, takeover_ns, timeline.period_ns)
    indices = np.arange(min(first, len(setpoints)), len(setpoints), dtype=np.int64)
    due_ns = tau_ns + indices * timeline.period_ns
    return Timeline(
        due_ns=np.concatenate([timeline.due_ns[kept], due_ns]),
        in_force_ns=np.concatenate([timeline.in_force_ns[kept], np.maximum(due_ns, takeover_ns)]),
        setpoints=np.concatenate([timeline.setpoints[kept], setpoints[indices]]),
        sequences=np.concatenate([timeline.sequences[kept], np.full_like(indices, sequence)]),
        indices=np.concatenate([timeline.indices[kept], indices]),
        t_obs_ns=np.concatenate([timeline.t_obs_ns[kept], np.full_like(indices, t_obs_ns)]),
        period_ns=timeline.period_ns,
        lead_ns=timeline.lead_ns,
        generation=timeline.generation,
    )


def first_action(tau_ns: int, now_ns: int, period_ns: int) -> int:
    """Return the first action that is not stale: its time [tau + i*T, tau + (i+1)*T) has not ended.

    The result is H or more where the whole chunk is stale.
    """
    return max(0, (now_ns - tau_ns) // period_ns)


def knot_mask(timeline: Timeline) -> NDArray[np.bool_]:
    """Choose the rows that become knots: (n,) bool.

    Two chunks have grids of their own, so that at a seam an old action may be due a hair before, or
    even after, the first new one. Where less than half a period is left between them the older one
    is no knot: a velocity taken across a fraction of a millisecond would be a spike.
    """
    due_ns = timeline.due_ns
    later = np.minimum.accumulate(due_ns[::-1])[::-1]
    mask = np.ones(len(due_ns), np.bool_)
    mask[:-1] = due_ns[:-1] + timeline.period_ns // 2 <= later[1:]
    return mask


def trim_mask(timeline: Timeline, now_ns: int) -> NDArray[np.bool_]:
    """Choose the rows that can still matter: (n,) bool.

    Args:
        timeline: merged rows.
        now_ns: the present; a knot at or before it is past.

    Returns:
        The rows that come into force at ``now_ns`` or later, and the knots that are in the future
        or among the last two past ones.
    """
    mask = knot_mask(timeline)
    past = timeline.due_ns + timeline.knot_offset_ns <= now_ns
    keep = (mask & ~past) | (timeline.in_force_ns >= now_ns)
    keep[np.flatnonzero(mask & past)[-PAST_KNOTS:]] = True
    return keep


def select(timeline: Timeline, rows: NDArray[np.bool_] | slice) -> Timeline:
    """Return a timeline of some of the rows."""
    return msgspec.structs.replace(
        timeline,
        due_ns=timeline.due_ns[rows],
        in_force_ns=timeline.in_force_ns[rows],
        setpoints=timeline.setpoints[rows],
        sequences=timeline.sequences[rows],
        indices=timeline.indices[rows],
        t_obs_ns=timeline.t_obs_ns[rows],
    )


def publish_timeline(timeline: Timeline, stream: StreamWriter) -> int:
    """Publish a timeline's knots on a stream; return the publication's number.

    The lead shifts all of it: knots, start and end.
    """
    knots = select(timeline, knot_mask(timeline))
    return stream.publish(
        knots.due_ns + timeline.knot_offset_ns,
        np.ascontiguousarray(knots.setpoints),
        knots.sequences,
        knots.t_obs_ns,
        start_ns=timeline.start_ns - timeline.lead_ns if len(timeline) else 0,
        end_ns=timeline.end_ns - timeline.lead_ns if len(timeline) else 0,
        generation=timeline.generation,
        hold=timeline.hold,
    )
