"""Recorded pictures as a camera: a film played in real time from a given moment on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dvla.runtime.cameras.base import CameraFrame, less
from dvla.runtime.cameras.fit import FrameFit
from dvla.runtime.cameras.frame_ring import FrameShape
from dvla.runtime.cameras.spec import Fit
from dvla.runtime.recordings.episode import FilmPart
from dvla.runtime.recordings.film_reader import FilmReader


class RecordedCamera:
    """A ``Camera`` that plays a film.

    Args:
        name: for people.
        part: of which film, and which columns of it.
        wanted: size that the policy takes.
        fit: how the pictures get that size.
        start_ns: gives the moment at which the film begins, 0 before that is known.
        length_s: how much of the film is played; all of it when None.
        latency_s: how much older than its time in the film a picture is.

    Raises:
        CameraError: the pictures are of another size, and no fit leads to the policy's.
        UsageError: the film cannot be read.
    """

    def __init__(
        self,
        name: str,
        part: FilmPart,
        wanted: FrameShape,
        fit: Fit,
        start_ns: Callable[[], int],
        length_s: float | None = None,
        latency_s: float = 0.0,
    ) -> None:
        self._film = FilmReader(Path(part.path), part.start_s, length_s)
        shape = FrameShape(
            height=part.height or self._film.height, width=part.width or self._film.width
        )
        self._part, self._shape, self._start_ns = part, shape, start_ns
        self._latency_ns = round(latency_s * 1e9)
        self._fit = FrameFit(shape, wanted, fit, name)
        self._frames: Iterator[tuple[float, NDArray[np.uint8]]] = self._film.frames()
        self._next: tuple[float, NDArray[np.uint8]] | None = next(self._frames, None)
        self.dropped = self.implausible = 0
        self.description = (
            f"{name}: recorded, {self._film.fps:g} frames per second, {Path(part.path).name}"
            + less(latency_s)
        )

    @property
    def ended(self) -> bool:
        """Whether every picture has been handed out."""
        return self._next is None

    def read(self, now_ns: int) -> CameraFrame | None:
        """Return the next picture once it is due, or None.

        Every picture is handed out, late ones too: a recording is not in a hurry.
        """
        start_ns, found = self._start_ns(), self._next
        if not start_ns or found is None or start_ns + round(found[0] * 1e9) > now_ns:
            return None
        self._next = next(self._frames, None)
        t_s, image_hwc = found
        left = self._part.left
        part = image_hwc[: self._shape.height, left : left + self._shape.width]
        t_ns = start_ns + round(t_s * 1e9) - self._latency_ns
        return CameraFrame(image_hwc=self._fit(part), t_ns=t_ns)

    def close(self) -> None:
        """Close the film."""
        self._film.close()
