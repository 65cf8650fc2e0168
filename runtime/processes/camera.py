"""The camera process: frames of every camera into shared memory, with their capture times."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from dvla.bindings import ServoClock, SharedRing
from dvla.engines.bundle import read_bundle
from dvla.runtime.addresses import ArmAddresses
from dvla.runtime.cameras.base import Camera
from dvla.runtime.cameras.frame_ring import FrameRing
from dvla.runtime.cameras.open import open_camera
from dvla.runtime.cameras.recorded import RecordedCamera
from dvla.runtime.cameras.twin import TwinCamera, TwinScene
from dvla.runtime.clock import monotonic_ns
from dvla.runtime.clock_board import ClockBoard
from dvla.runtime.events import Note
from dvla.runtime.processes.child import Child, run_child
from dvla.runtime.processes.settings import Settings
from dvla.runtime.processes.snapshots import open_snapshots
from dvla.runtime.recordings.episode import load_episode, parse_episode
from dvla.runtime.twin.snapshot_ring import Snapshots
from dvla.runtime.wire import EventPusher

POLL_NS = 5_000_000
"""How often cameras that keep their own time are asked for a frame."""


class Eyes:
    """The cameras of a run, by feature name.

    Args:
        settings: of the run.
        snapshots: of the arm that stands in for a real one.

    Raises:
        DvlaError: a camera cannot be opened.
    """

    def __init__(self, settings: Settings, snapshots: Snapshots) -> None:
        self._snapshots = snapshots
        self._scene: TwinScene | None = None
        self.period_ns = round(1e9 / settings.camera_fps)
        self.cameras: dict[str, Camera] = {}
        try:
            if settings.episode:
                self._open_episode(settings)
            else:
                self._open_each(settings)
        except BaseException:
            self.close()
            raise
        if any(not isinstance(camera, TwinCamera) for camera in self.cameras.values()):
            self.period_ns = POLL_NS

    def close(self) -> None:
        """Let go of every camera."""
        for camera in self.cameras.values():
            camera.close()
        if self._scene is not None:
            self._scene.renderer.close()

    @property
    def description(self) -> str:
        """What the cameras are, for people."""
        cameras = self.cameras.values()
        if all(isinstance(camera, TwinCamera) and not camera.latency_ns for camera in cameras):
            return self._scene.renderer.platform if self._scene else ""
        return "; ".join(camera.description for camera in cameras)

    def _open_episode(self, settings: Settings) -> None:
        """Open the films of the episode that the replaying arm plays as well."""
        path, number = parse_episode(settings.episode)
        facts = read_bundle(Path(settings.bundle)).manifest.policy
        episode = load_episode(path, number, facts)

        def start_ns() -> int:
            begun = self._snapshots.newest()
            return begun.t_ns if begun is not None else 0

        for name, shape in settings.cameras.items():
            self.cameras[name] = RecordedCamera(
                name, episode.films[name], shape, "exact", start_ns, episode.length_s
            )

    def _open_each(self, settings: Settings) -> None:
        begun_ns = monotonic_ns()
        for name, shape in settings.cameras.items():
            spec = settings.camera_specs.get(name)
            if spec is not None and spec.kind != "twin":
                self.cameras[name] = open_camera(
                    name, spec, shape, lambda: begun_ns, settings.bundle
                )
                continue
            if self._scene is None:
                arm_model = Path(settings.arm_model) if settings.arm_model else None
                period_ns = round(1e9 / settings.camera_fps)
                late_ns = round(settings.inject_camera_s * 1e9)
                self._scene = TwinScene(self._snapshots, shape, period_ns, arm_model, late_ns)
            view = spec.source if spec is not None and spec.source else name.rsplit(".", 1)[-1]
            latency_s = spec.latency_s if spec is not None else 0.0
            self.cameras[name] = TwinCamera(view, self._scene, latency_s)


class Counters(msgspec.Struct):
    """What one run of the loop did."""

    started_ns: int
    busy_ns: int = 0
    frames: int = 0


def body(child: Child) -> None:
    """Hand frames on as they come until told to stop."""
    settings = child.settings
    rings = {
        name: FrameRing.attach(settings.cameras[name], fd)
        for name, fd in settings.rings.frames.items()
    }
    clock_of_arm = ClockBoard(SharedRing.attach(settings.rings.clock))
    eyes = Eyes(settings, open_snapshots(settings, clock_of_arm))
    events = EventPusher(ArmAddresses.local(settings.arm_name))
    try:
        clock = ServoClock(eyes.period_ns)
        counters = Counters(started_ns=monotonic_ns())
        child.ready(f"{child.enter_realtime().text}, {eyes.description}")
        while not child.stopping:
            now_ns = clock.wait()
            counters.frames += pass_on(eyes.cameras, rings, now_ns)
            counters.busy_ns += monotonic_ns() - now_ns
            child.beat(now_ns)
        now_ns = monotonic_ns()
        text = _account(counters, eyes, clock, now_ns)
        events.emit(Note(t_ns=now_ns, source="camera", text=text))
    finally:
        eyes.close()


def pass_on(cameras: Mapping[str, Camera], rings: Mapping[str, FrameRing], now_ns: int) -> int:
    """Publish what the cameras have; returns how many frames that was."""
    frames = 0
    for name, camera in cameras.items():
        frame = camera.read(now_ns)
        if frame is not None:
            rings[name].publish(frame.image_hwc, frame.t_ns)
            frames += 1
    return frames


def _account(counters: Counters, eyes: Eyes, clock: ServoClock, now_ns: int) -> str:
    """Say in words how many frames there were, and what they cost."""
    seconds = max(1e-9, (now_ns - counters.started_ns) / 1e9)
    each = counters.frames / len(eyes.cameras)
    dropped = _counts({name: camera.dropped for name, camera in eyes.cameras.items()})
    by_arrival = _counts({name: camera.implausible for name, camera in eyes.cameras.items()})
    return (
        f"{each / seconds:.1f} frames per second of each camera, "
        f"{counters.busy_ns / max(1.0, each) / 1e6:.1f} ms per frame of {len(eyes.cameras)} "
        f"cameras, {clock.overruns} turns skipped, dropped {dropped}"
        + (f", dated by their arrival {by_arrival}" if by_arrival != "none" else "")
    )


def _counts(counts: Mapping[str, int]) -> str:
    """Say in words how many frames of which camera, by feature name."""
    told = (f"{count} of {name.rsplit('.', 1)[-1]}" for name, count in counts.items() if count)
    return ", ".join(told) or "none"


if __name__ == "__main__":
    run_child("camera", body)
