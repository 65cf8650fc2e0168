"""The camera process of a twin: renders its snapshots on the frame grid, away from physics."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from dvla.bindings import ServoClock, SharedRing
from dvla.runtime.addresses import ArmAddresses
from dvla.runtime.cameras.frame_ring import FrameRing
from dvla.runtime.clock import monotonic_ns
from dvla.runtime.clock_board import ClockBoard
from dvla.runtime.errors import ConfigError
from dvla.runtime.events import Note
from dvla.runtime.processes.child import Child, run_child
from dvla.runtime.processes.snapshots import open_snapshots
from dvla.runtime.twin.renderer import TwinRenderer
from dvla.runtime.twin.scene import CAMERAS
from dvla.runtime.wire import EventPusher


def twin_cameras(features: Iterable[str]) -> dict[str, str]:
    """Return the twin's camera of each image feature (``observation.images.opst_cam``).

    Raises:
        ConfigError: the twin has no such camera.
    """
    names = {feature: feature.rsplit(".", 1)[-1] for feature in features}
    for feature, name in names.items():
        if name not in CAMERAS:
            raise ConfigError(
                f"the twin has no camera for the policy's input {feature}", choices=CAMERAS
            )
    return names


def body(child: Child) -> None:
    """Render every camera once per frame period until told to stop."""
    settings = child.settings
    rings = {
        name: FrameRing.attach(settings.cameras[name], fd)
        for name, fd in settings.rings.frames.items()
    }
    names = twin_cameras(rings)
    images = {
        name: np.empty((ring.shape.height, ring.shape.width, 3), np.uint8)
        for name, ring in rings.items()
    }
    shape = next(iter(settings.cameras.values()))
    clock_of_arm = ClockBoard(SharedRing.attach(settings.rings.clock))
    snapshots = open_snapshots(settings, clock_of_arm)
    renderer = TwinRenderer(
        Path(settings.arm_model) if settings.arm_model else None,
        width=shape.width,
        height=shape.height,
    )
    clock = ServoClock(round(1e9 / settings.camera_fps))
    events = EventPusher(ArmAddresses.local(settings.arm_name))
    last_ns, busy_ns, started_ns = 0, 0, monotonic_ns()
    child.ready(f"{child.enter_realtime().text}, {renderer.platform}")
    while not child.stopping:
        now_ns = clock.wait()
        snapshot = snapshots.newest()
        if snapshot is not None and snapshot.t_ns > last_ns:
            last_ns = snapshot.t_ns
            for name, ring in rings.items():
                renderer.render(snapshot, names[name], images[name])
                ring.publish(images[name], snapshot.t_ns)
        busy_ns += monotonic_ns() - now_ns
        child.beat(now_ns)
    now_ns = monotonic_ns()
    turns = max(1, clock.ticks)
    text = (
        f"{1e9 * clock.ticks / (now_ns - started_ns):.1f} frames per second of each camera, "
        f"{busy_ns / turns / 1e6:.1f} ms per turn of {len(rings)} cameras, {clock.overruns} skipped"
    )
    events.emit(Note(t_ns=now_ns, source="camera", text=text))
    renderer.close()


if __name__ == "__main__":
    run_child("camera", body)
