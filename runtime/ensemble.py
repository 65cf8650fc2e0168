"""Temporal ensembling: what all chunks that still have a say ask for at an instant, averaged.

At an instant that n chunks of one motion cover, the plan is their mean with the weights
exp(-decay * rank), rank 0 being the oldest: what was decided first counts most, and a new chunk
moves the plan a little (Zhao et al., "Learning Fine-Grained Bimanual Manipulation with Low-Cost
Hardware", 2023, section IV; decay 0.01 there). Chunks are aligned by time, not by arrival: an
opinion about an instant is counted at that instant however late it came.
"""

from __future__ import annotations

import msgspec
import numpy as np

from dvla.runtime.pose import Float64
from dvla.runtime.seam import mix
from dvla.runtime.timeline import Int64

_NO_MEAN = 1e-6
"""Rotations whose mean is shorter than this oppose each other: there is none."""


class _Member(msgspec.Struct, frozen=True, eq=False):
    """A chunk with a say: its time base and all its setpoints (H, 8)."""

    tau_ns: int
    setpoints: Float64


class Ensemble:
    """The chunks of the current motion, oldest first.

    Args:
        period_ns: T.
        decay: of the weights from an older chunk to the next newer one; 0 weighs all alike.
    """

    def __init__(self, period_ns: int, decay: float) -> None:
        self._period_ns, self._decay = period_ns, decay
        self._members: list[_Member] = []

    def clear(self) -> None:
        """Forget all chunks: the motion has ended."""
        self._members = []

    def add(self, tau_ns: int, setpoints: Float64, due_ns: int) -> None:
        """Give a chunk a say; chunks that have ended lose theirs.

        Args:
            tau_ns: when action 0 is due.
            setpoints: (H, 8) as the policy gave them.
            due_ns: of its first action that comes into force.
        """
        self._members = [m for m in self._members if self._end_ns(m) >= due_ns]
        self._members.append(_Member(tau_ns, setpoints))

    def mean(self, t_ns: Int64) -> Float64:
        """Return what the chunks ask for together.

        Args:
            t_ns: (n,) instants, all covered by the newest chunk.

        Returns:
            (n, 8) setpoints. The gripper is a mean as well: the arm decides, and its hysteresis
            would be lost on ones and minus ones.
        """
        rank = np.zeros(len(t_ns))
        total = np.zeros((len(t_ns), 8))
        weights = np.zeros(len(t_ns))
        newest = self._says(self._members[-1], t_ns)
        for member in self._members:
            heard = (t_ns >= member.tau_ns) & (t_ns <= self._end_ns(member))
            said = self._says(member, t_ns)
            opposite = np.sum(said[:, 3:7] * newest[:, 3:7], axis=1) < 0.0
            said[opposite, 3:7] *= -1.0
            weight = np.where(heard, np.exp(-self._decay * rank), 0.0)
            total += weight[:, None] * said
            weights += weight
            rank += heard
        total /= weights[:, None]
        length = np.linalg.norm(total[:, 3:7], axis=1, keepdims=True)
        opposed = length < _NO_MEAN
        total[:, 3:7] = np.where(
            opposed, newest[:, 3:7], total[:, 3:7] / np.where(opposed, 1.0, length)
        )
        return total

    def _says(self, member: _Member, t_ns: Int64) -> Float64:
        """Return a chunk's setpoints (n, 8) at instants, between its actions where they lie so."""
        setpoints = member.setpoints
        place = np.clip((t_ns - member.tau_ns) / self._period_ns, 0.0, len(setpoints) - 1.0)
        before = np.minimum(place.astype(np.int64), max(0, len(setpoints) - 2))
        after = np.minimum(before + 1, len(setpoints) - 1)
        said = mix(setpoints[before], setpoints[after], place - before)
        # A gripper's decision holds until the next action is due.
        said[:, 7] = setpoints[np.where(place >= after, after, before), 7]
        return said

    def _end_ns(self, member: _Member) -> int:
        """Return when a chunk's last action is due: it says nothing of later instants."""
        return member.tau_ns + (len(member.setpoints) - 1) * self._period_ns
