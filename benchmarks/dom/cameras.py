"""Cameras under the virtual clock: frames on a fixed grid, with the true state behind each."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from dvla.runtime.twin.snapshot import TwinSnapshot

Render = Callable[[TwinSnapshot, str], NDArray[np.uint8]]
FRAMES_KEPT = 10
"""Of each camera, unless a policy looks further back."""
NO_PICTURE: NDArray[np.uint8] = np.zeros((1, 1, 3), np.uint8)
"""What policies see that look at the true state alone: rendering would only cost time."""


class Exposures:
    """The instants at which all cameras looked, shared by the cameras of one episode.

    Args:
        kept: the newest ones, as many.
    """

    def __init__(self, kept: int = FRAMES_KEPT) -> None:
        self._snapshots: deque[tuple[int, TwinSnapshot]] = deque(maxlen=kept)
        self._sequence = 0

    def expose(self, snapshot: TwinSnapshot) -> None:
        """Take a frame with every camera."""
        self._sequence += 1
        self._snapshots.append((self._sequence, snapshot))

    def times(self) -> list[tuple[int, int]]:
        """Return (sequence, capture time [ns]), oldest first."""
        return [(sequence, snapshot.t_ns) for sequence, snapshot in self._snapshots]

    def by_sequence(self, sequence: int) -> TwinSnapshot | None:
        """Return the true state behind a frame."""
        return next((s for number, s in self._snapshots if number == sequence), None)

    def at(self, t_ns: int) -> TwinSnapshot | None:
        """Return the true state behind the frames captured at a time."""
        return next((s for _, s in self._snapshots if s.t_ns == t_ns), None)


def keep_pictures(render: Render, kept: int = 2 * FRAMES_KEPT) -> Render:
    """Return a renderer that makes each picture once: history reads most of them twice."""
    pictures: dict[tuple[int, int, str], NDArray[np.uint8]] = {}

    def kept_or_rendered(snapshot: TwinSnapshot, camera: str) -> NDArray[np.uint8]:
        key = (snapshot.episode, snapshot.t_ns, camera)
        if key not in pictures:
            if len(pictures) >= kept:
                del pictures[next(iter(pictures))]
            pictures[key] = render(snapshot, camera)
        return pictures[key]

    return kept_or_rendered


class VirtualCamera:
    """A ``FrameSource`` that renders when it is read.

    Args:
        exposures: of the episode.
        name: of the twin's camera.
        render: makes the picture; None gives an empty one.
    """

    def __init__(self, exposures: Exposures, name: str, render: Render | None) -> None:
        self._exposures, self._name, self._render = exposures, name, render

    def times(self) -> list[tuple[int, int]]:
        """Return (sequence, capture time [ns]) of the frames that can be read, oldest first."""
        return self._exposures.times()

    def read(self, sequence: int) -> NDArray[np.uint8] | None:
        """Return a frame (h, w, 3), or None when it is gone."""
        snapshot = self._exposures.by_sequence(sequence)
        if snapshot is None:
            return None
        return NO_PICTURE if self._render is None else self._render(snapshot, self._name)
