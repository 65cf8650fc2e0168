"""The cameras of a digital twin: they render its snapshots on the frame grid, away from physics."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dvla.runtime.cameras.base import CameraFrame, less
from dvla.runtime.cameras.frame_ring import FrameShape
from dvla.runtime.errors import ConfigError
from dvla.runtime.twin.renderer import TwinRenderer
from dvla.runtime.twin.scene import CAMERAS
from dvla.runtime.twin.snapshot import TwinSnapshot
from dvla.runtime.twin.snapshot_ring import Snapshots

NEAR_NS = 20_000_000
"""A late picture shows no snapshot that is further from its time."""


class TwinScene:
    """What all cameras of a twin see: one renderer, one snapshot per frame.

    Args:
        snapshots: of the twin.
        shape: size of the pictures.
        period_ns: of the frames.
        arm_model: MJCF file that replaces the arm's look.
        late_ns: how much older than its time stamp a picture is, for the sake of a trial.
    """

    def __init__(
        self,
        snapshots: Snapshots,
        shape: FrameShape,
        period_ns: int,
        arm_model: Path | None = None,
        late_ns: int = 0,
    ) -> None:
        self._snapshots, self._period_ns, self.late_ns = snapshots, period_ns, late_ns
        self.shape = shape
        self.renderer = TwinRenderer(arm_model, width=shape.width, height=shape.height)
        self._due_ns = 0
        self._snapshot: TwinSnapshot | None = None

    def look(self, now_ns: int) -> TwinSnapshot | None:
        """Return the snapshot of the frame at a time; the same one for every camera."""
        if now_ns >= self._due_ns:
            # Half a period of slack, so that a loop on the frame grid itself misses none.
            self._due_ns = max(self._due_ns + self._period_ns, now_ns + self._period_ns // 2)
            self._snapshot = self._seen()
        return self._snapshot

    def _seen(self) -> TwinSnapshot | None:
        """Return what a picture of now shows: the newest snapshot, or an older one."""
        newest = self._snapshots.newest()
        if newest is None or not self.late_ns:
            return newest
        wanted_ns = newest.t_ns - self.late_ns
        found = self._snapshots.at(wanted_ns)
        return found if found is not None and abs(found.t_ns - wanted_ns) < NEAR_NS else None


class TwinCamera:
    """One ``Camera`` of a twin.

    Args:
        name: one of the scene's cameras.
        scene: that it looks at.
        latency_s: how much older than its time stamp a picture is; taken off the stamp.

    Raises:
        ConfigError: the twin has no such camera.
    """

    dropped = implausible = 0

    def __init__(self, name: str, scene: TwinScene, latency_s: float = 0.0) -> None:
        if name not in CAMERAS:
            raise ConfigError(f"the twin has no camera for the role {name}", choices=CAMERAS)
        self._name, self._scene, self._last_ns = name, scene, 0
        self.latency_ns = round(latency_s * 1e9)
        self.description = f"{name}: the twin's, rendered by {scene.renderer.platform}" + less(
            latency_s
        )

    def read(self, now_ns: int) -> CameraFrame | None:
        """Render the newest snapshot, once."""
        snapshot = self._scene.look(now_ns)
        if snapshot is None or snapshot.t_ns <= self._last_ns:
            return None
        self._last_ns = snapshot.t_ns
        shape = self._scene.shape
        image_hwc = np.empty((shape.height, shape.width, 3), np.uint8)
        self._scene.renderer.render(snapshot, self._name, image_hwc)
        t_ns = snapshot.t_ns + self._scene.late_ns - self.latency_ns
        return CameraFrame(image_hwc=image_hwc, t_ns=t_ns)

    def close(self) -> None:
        """The scene's renderer closes with its owner."""
