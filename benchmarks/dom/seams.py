"""How smoothly one chunk follows another: steps and jerk of the plan at seams and between them."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from dvla.runtime.clock import NS_PER_S
from dvla.runtime.events import ActionInForce, ChunkMerged, Event
from dvla.runtime.timeline import Timeline, knot_mask, select


class SeamSamples(msgspec.Struct, frozen=True, kw_only=True):
    """What one episode's seams were like.

    Attributes:
        seam_m / seam_rad: step of one control period across each seam.
        in_chunk_m: largest step inside each chunk, for comparison.
        seam_jerk_m_s3: magnitude of the plan's jerk where its knots belong to two chunks.
        chunk_jerk_m_s3: the same where they belong to one.
    """

    seam_m: list[float] = []
    seam_rad: list[float] = []
    in_chunk_m: list[float] = []
    seam_jerk_m_s3: list[float] = []
    chunk_jerk_m_s3: list[float] = []

    def extend(self, other: SeamSamples) -> None:
        """Add the samples of another episode."""
        for name in self.__struct_fields__:
            getattr(self, name).extend(getattr(other, name))


class PlanRecorder:
    """Keeps the knots that were executed: what each publication says until the next one."""

    def __init__(self) -> None:
        self._knots: dict[tuple[int, int], tuple[int, NDArray[np.float64]]] = {}

    def take(self, timeline: Timeline) -> None:
        """Take a published timeline; what it no longer holds of the future was taken back."""
        knots = select(timeline, knot_mask(timeline))
        if len(knots):
            first_ns = int(knots.due_ns[0])
            self._knots = {k: v for k, v in self._knots.items() if v[0] < first_ns}
        for sequence, index, due_ns, setpoint in zip(
            knots.sequences, knots.indices, knots.due_ns, knots.setpoints, strict=True
        ):
            self._knots[int(sequence), int(index)] = (int(due_ns), setpoint[:3])

    def samples(self, events: list[Event]) -> SeamSamples:
        """Return what the seams of the episode were like.

        Args:
            events: of the episode; only actions that came into force count.
        """
        merges = [e for e in events if isinstance(e, ChunkMerged) and (e.seam_m or e.seam_rad)]
        executed = [
            (event.sequence, *self._knots[event.sequence, event.index])
            for event in events
            if isinstance(event, ActionInForce) and (event.sequence, event.index) in self._knots
        ]
        found = SeamSamples(
            seam_m=[event.seam_m for event in merges],
            seam_rad=[event.seam_rad for event in merges],
            in_chunk_m=[event.in_chunk_m for event in merges],
        )
        for start in range(len(executed) - 3):
            window = executed[start : start + 4]
            sequences = {sequence for sequence, _, _ in window}
            times_s = np.array([due_ns - window[0][1] for _, due_ns, _ in window]) / NS_PER_S
            if (np.diff(times_s) <= 0.0).any():
                continue
            magnitude = jerk_m_s3(times_s, np.array([position for _, _, position in window]))
            kind = found.chunk_jerk_m_s3 if len(sequences) == 1 else found.seam_jerk_m_s3
            kind.append(magnitude)
        return found


def jerk_m_s3(times_s: NDArray[np.float64], positions: NDArray[np.float64]) -> float:
    """Return the magnitude of the third derivative of the cubic through four points [m/s^3].

    Args:
        times_s: (4,) rising [s]; the grids of two chunks differ in phase.
        positions: (4, 3) [m].
    """
    divided = positions
    for order in range(1, 4):
        spans_s = (times_s[order:] - times_s[:-order])[:, None]
        divided = np.diff(divided, axis=0) / spans_s
    return float(6.0 * np.linalg.norm(divided[0]))
