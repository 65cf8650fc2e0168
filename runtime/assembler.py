"""Assemble observations: the newest frames, their history, and the state at their capture time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dvla.runtime.cameras.frame_ring import FrameSource
from dvla.runtime.errors import StaleObservation
from dvla.runtime.observation import Observation
from dvla.runtime.policy_api import HISTORY_STEPS
from dvla.runtime.state_buffer import StateBuffer


class ObservationAssembler:
    """Builds one observation from whatever the cameras and the arm have delivered.

    The newest frame of the first camera sets the time; every other frame is the nearest to its
    wanted time. Frames of an earlier episode are never used: at the start of an episode history is
    clamped to its first frame, as in training.

    Args:
        cameras: frame sources by feature name; the first one sets the time.
        states: measured states of the arm.
        history_steps: observation times in control steps, oldest first, the last one 0.
        control_period_ns: T.
        tolerance_ns: how far a frame may be from its wanted time.
        state_width: 6, or 7 with the gripper.
    """

    def __init__(
        self,
        cameras: Mapping[str, FrameSource],
        states: StateBuffer,
        *,
        history_steps: tuple[int, ...] = HISTORY_STEPS,
        control_period_ns: int = 40_000_000,
        tolerance_ns: int = 25_000_000,
        state_width: int = 6,
    ) -> None:
        self._cameras = cameras
        self._states = states
        self._offsets_ns = tuple(step * control_period_ns for step in history_steps)
        self._tolerance_ns = tolerance_ns
        self._state_width = state_width

    def newest_t_ns(self) -> int:
        """Return the capture time up to which every camera has delivered, 0 before that.

        It is the time of a frame of the first camera: cameras deliver one after the other, and an
        observation waits for the last of them.
        """
        first, *others = (source.times() for source in self._cameras.values())
        if not first or not all(others):
            return 0
        delivered_ns = min((times[-1][1] for times in others), default=first[-1][1])
        return min(first, key=lambda row: abs(row[1] - delivered_ns))[1]

    def assemble(
        self, instruction: str, *, not_before_ns: int = 0, privileged: Any = None
    ) -> Observation:
        """Return the newest observation.

        Args:
            instruction: what the arm is to do.
            not_before_ns: start of the episode; older frames are not used.
            privileged: passed through, for the oracle.

        Raises:
            StaleObservation: a frame or a state is missing; the message says which.
        """
        t_obs_ns = self.newest_t_ns()
        if t_obs_ns == 0 or t_obs_ns < not_before_ns:
            raise StaleObservation("no camera frame of this episode has arrived yet")
        images: dict[str, NDArray[np.uint8]] = {}
        captured: list[int] = []
        for name, source in self._cameras.items():
            frames, times = self._history(name, source, t_obs_ns, not_before_ns)
            images[name] = np.stack(frames)
            captured = captured or times
        wanted = [t_obs_ns + offset for offset in self._offsets_ns]
        state = np.stack([self._states.state_at(t, self._state_width) for t in captured])
        return Observation(
            images=images,
            state=state,
            instruction=instruction,
            t_obs_ns=t_obs_ns,
            history_offset_ns=tuple(c - w for c, w in zip(captured, wanted, strict=True)),
            privileged=privileged,
        )

    def _history(
        self, name: str, source: FrameSource, t_obs_ns: int, not_before_ns: int
    ) -> tuple[list[NDArray[np.uint8]], list[int]]:
        """Return the frames of one camera at the history times, and when they were captured."""
        frames: list[NDArray[np.uint8]] = []
        captured: list[int] = []
        times = source.times()
        usable = [row for row in times if row[1] >= not_before_ns]
        if not usable:
            raise StaleObservation(f"camera {name} has delivered no frame of this episode")
        first_sequence, first_ns = usable[0]
        begins_episode = first_sequence == 1 or len(usable) < len(times)
        for offset_ns in self._offsets_ns:
            wanted_ns = t_obs_ns + offset_ns
            if begins_episode:
                wanted_ns = max(wanted_ns, first_ns)
            sequence, t_ns = min(usable, key=lambda row: abs(row[1] - wanted_ns))
            if abs(t_ns - wanted_ns) > self._tolerance_ns:
                raise StaleObservation(
                    f"camera {name} has no frame near {offset_ns / 1e6:+.0f} ms",
                    got=f"one {(t_ns - wanted_ns) / 1e6:+.0f} ms away",
                    expected=f"within {self._tolerance_ns / 1e6:.0f} ms",
                )
            frame = source.read(sequence)
            if frame is None:
                raise StaleObservation(f"camera {name} overwrote a frame while it was being read")
            frames.append(frame)
            captured.append(t_ns)
        return frames, captured
