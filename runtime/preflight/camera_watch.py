"""Watching the cameras of a run from outside: are they live, and does each show its own view?

A *likeness* is the correlation of two pictures at 24 x 18 pixels, colour included: near 1 for the
same camera on the same scene, however much moves in it, and far lower for another view.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from dvla.engines.files import write_atomically
from dvla.runtime.cameras.frame_ring import FrameRing
from dvla.runtime.png import write_png
from dvla.runtime.preflight.evidence import CameraEvidence
from dvla.runtime.run_folder import RunFolderError

LOOK_EVERY_NS = 250_000_000
THUMB = (18, 24)
VIEWS_NAME = "cameras.json"

Image = NDArray[np.uint8]
Views = dict[str, tuple[int, ...]]
"""Image feature -> thumbnail, row by row."""


def thumbnail(image_hwc: Image) -> tuple[int, ...]:
    """Return the mean colours of 18 x 24 areas of a picture (h, w, 3)."""
    height, width, _ = image_hwc.shape
    rows = np.linspace(0, height, THUMB[0] + 1).astype(int)[:-1]
    columns = np.linspace(0, width, THUMB[1] + 1).astype(int)[:-1]
    sums = np.add.reduceat(np.add.reduceat(image_hwc.astype(np.float64), rows, 0), columns, 1)
    ones = np.add.reduceat(np.add.reduceat(np.ones((height, width, 1)), rows, 0), columns, 1)
    return tuple((sums / ones).round().astype(int).ravel().tolist())


def likeness(a: tuple[int, ...], b: tuple[int, ...]) -> float:
    """Return the correlation of two thumbnails, from -1 to 1; 0 where one of them is flat."""
    one, other = np.array(a, np.float64), np.array(b, np.float64)
    if one.shape != other.shape:
        return 0.0
    one, other = one - one.mean(), other - other.mean()
    norm = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(one @ other) / norm if norm > 1e-9 else 0.0


class _Watched:
    """What has been seen of one camera."""

    def __init__(self, ring: FrameRing) -> None:
        self.ring = ring
        self.looked = self.distinct = 0
        self.first: tuple[int, int] | None = None
        self.last = (0, 0)
        self.sums = np.zeros(2)
        self.image: Image | None = None


class CameraWatch:
    """Looks at the newest frames now and then.

    Args:
        rings: frames by image feature.
        wanted: (height, width) by image feature.
        references: views that a person has confirmed; may be empty.
        noisy: the pictures are a real sensor's.
    """

    def __init__(
        self,
        rings: Mapping[str, FrameRing],
        wanted: Mapping[str, tuple[int, int]],
        references: Views,
        *,
        noisy: bool = True,
    ) -> None:
        self._cameras = {name: _Watched(ring) for name, ring in rings.items()}
        self._wanted, self._references = wanted, references
        self._noisy = noisy
        self._next_ns = 0

    def look(self, now_ns: int) -> None:
        """Look at every camera, if it is time to."""
        if now_ns < self._next_ns:
            return
        self._next_ns = now_ns + LOOK_EVERY_NS
        for watched in self._cameras.values():
            times = watched.ring.times()
            if not times:
                continue
            sequence, t_ns = times[-1]
            if watched.first is None:
                watched.first = (sequence, t_ns)
            image = watched.ring.read(sequence)
            if image is None:
                continue
            if watched.image is not None:
                watched.distinct += not np.array_equal(image, watched.image)
            watched.looked += 1
            watched.last = (sequence, t_ns)
            watched.sums += image.mean(), image.std()
            watched.image = np.array(image)

    def evidence(self) -> tuple[CameraEvidence, ...]:
        """Return what was seen."""
        return tuple(self._evidence(name, watched) for name, watched in self._cameras.items())

    def _evidence(self, name: str, watched: _Watched) -> CameraEvidence:
        mean, deviation = watched.sums / max(1, watched.looked)
        first = watched.first or (0, 0)
        span_s = (watched.last[1] - first[1]) / 1e9
        compared: dict[str, float] = {}
        if watched.image is not None:
            view = thumbnail(watched.image)
            compared = {role: likeness(view, seen) for role, seen in self._references.items()}
        shape = watched.ring.shape
        return CameraEvidence(
            name=name,
            wanted=self._wanted.get(name, (shape.height, shape.width)),
            found=(shape.height, shape.width),
            frames=watched.last[0],
            looked=watched.looked,
            distinct=watched.distinct,
            frame_hz=(watched.last[0] - first[0]) / span_s if span_s > 0.0 else 0.0,
            mean=float(mean),
            deviation=float(deviation),
            noisy=self._noisy,
            likeness=compared,
        )

    def save(self, folder: Path) -> None:
        """Write the last picture of each camera as PNG, and all views for later references."""
        views: Views = {}
        for name, watched in self._cameras.items():
            if watched.image is not None:
                views[name] = thumbnail(watched.image)
                write_png(folder / f"{name.rsplit('.', 1)[-1]}.png", watched.image)
        write_atomically(folder / VIEWS_NAME, msgspec.json.encode(views) + b"\n")


def read_references(folder: Path) -> Views:
    """Return the views that a person has confirmed, by an arm's folder; empty without any."""
    try:
        content = (folder / VIEWS_NAME).read_bytes()
        return msgspec.json.decode(content, type=Views)
    except (OSError, msgspec.MsgspecError):
        return {}


def accept_cameras(run: Path, folder: Path) -> list[str]:
    """Keep the views of a run as references in an arm's folder; returns the features.

    Raises:
        RunFolderError: the run has none.
    """
    try:
        content = (run / VIEWS_NAME).read_bytes()
        views = msgspec.json.decode(content, type=Views)
    except (OSError, msgspec.MsgspecError) as error:
        raise RunFolderError(
            f"{run} holds no pictures of cameras to confirm",
            got=str(error),
            expected="the folder of a run in shadow",
            next_command="dvla-run --shadow --duration 20, with the other flags of this set-up",
        ) from error
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / VIEWS_NAME, content)
    return sorted(views)
