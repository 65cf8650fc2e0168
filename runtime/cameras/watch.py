"""Pictures that lie: a camera that shows the past, nothing, or what another one sees.

A frame's stamp says that a camera delivers, not that it sees. What stands behind the stamps is
watched here, on the frames of the observations: a picture that stays the same to the bit while the
arm moves is frozen; one without light or contrast is blank; and two whose views change places from
one observation to the next are swapped. A verdict stays until the picture is right again. Whether
cameras were swapped from the start is another question, which no watch of changes can answer.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]

MOVED_M = 0.01
"""Further than this the arm has moved between two pictures, and both cannot be the same."""
DARK, FLAT = 4.0, 1.5
"""Mean and standard deviation [of 255] under which a picture shows nothing."""
SWAPPED = 0.6
"""The other camera's last view is nearer than the own one by more than this factor."""
STEP = 15
"""Of the pixels that are looked at for contrast and views."""


class FrameWatch:
    """Watches the newest frames of each observation."""

    def __init__(self) -> None:
        self._last: dict[str, Image] = {}
        self._views: dict[str, NDArray[np.float32]] = {}
        self._seen_at: dict[str, NDArray[np.float64]] = {}
        self._frozen: set[str] = set()

    def look(self, images: Mapping[str, Image], position: NDArray[np.floating]) -> str:
        """Return what is wrong with the pictures, or an empty string.

        Args:
            images: newest frame (h, w, 3) by camera; kept, so that nobody may write into it.
            position: (3,) measured TCP when they were taken [m].
        """
        views = {name: image[::STEP, ::STEP].astype(np.float32) for name, image in images.items()}
        problem = self._blank(views) or self._freeze(images, position) or self._swap(views)
        if not problem:
            self._views = views
        return problem

    def _blank(self, views: Mapping[str, NDArray[np.float32]]) -> str:
        for name, view in views.items():
            if view.mean() < DARK or view.std() < FLAT:
                return f"camera {name} shows nothing: it is dark, or of one colour"
        return ""

    def _freeze(self, images: Mapping[str, Image], position: NDArray[np.floating]) -> str:
        at = np.asarray(position, np.float64)[:3]
        for name, image in images.items():
            last = self._last.get(name)
            same = last is not None and np.array_equal(last, image)
            if not same:
                self._frozen.discard(name)
                self._last[name], self._seen_at[name] = image, at
            elif float(np.linalg.norm(at - self._seen_at[name])) > MOVED_M:
                self._frozen.add(name)
        if not self._frozen:
            return ""
        names = ", ".join(sorted(self._frozen))
        return f"camera {names} shows the same picture for ever while the arm moves"

    def _swap(self, views: Mapping[str, NDArray[np.float32]]) -> str:
        known = self._views
        for name, view in views.items():
            for other, other_view in views.items():
                if name >= other or name not in known or other not in known:
                    continue
                if view.shape != other_view.shape or view.shape != known[name].shape:
                    continue
                here = _apart(view, known[other]) < SWAPPED * _apart(view, known[name])
                there = _apart(other_view, known[name]) < SWAPPED * _apart(other_view, known[other])
                if here and there:
                    # What each camera shows is the other's; so goes the next comparison.
                    self._views = {**views, name: other_view, other: view}
                    return f"cameras {name} and {other} have changed places"
        return ""


def _apart(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    return float(np.abs(a - b).mean())
