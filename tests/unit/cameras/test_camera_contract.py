"""The contract of cameras: one suite for the twin's, recorded ones and devices."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from camera_doubles import FakeCapture, FakeOrbbec, FakeRealSense, fake_cv2

from dvla.runtime.cameras import orbbec, realsense, v4l2
from dvla.runtime.cameras.base import Camera, CameraFrame
from dvla.runtime.cameras.device import DeviceCamera
from dvla.runtime.cameras.frame_ring import FrameShape
from dvla.runtime.cameras.recorded import RecordedCamera
from dvla.runtime.cameras.spec import parse_camera
from dvla.runtime.clock import monotonic_ns
from dvla.runtime.recordings.episode import FilmPart

SHAPE = FrameShape(height=48, width=64)
KINDS = ("twin", "recorded", "v4l2", "realsense", "orbbec")
Maker = Callable[[pytest.MonkeyPatch, Path], Camera]


def make_twin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, latency_s: float = 0.0) -> Camera:
    pytest.importorskip("mujoco")
    from dvla.runtime.cameras.twin import TwinCamera, TwinScene
    from dvla.runtime.twin.world import TwinWorld

    world = TwinWorld()

    def newest() -> object:
        world.advance(monotonic_ns())
        return world.snapshot()

    world.reset(0, monotonic_ns())
    snapshots = SimpleNamespace(newest=newest)
    scene = TwinScene(snapshots, SHAPE, 40_000_000)  # type: ignore[arg-type]
    return TwinCamera("opst_cam", scene, latency_s)


def make_recorded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, latency_s: float = 0.0
) -> Camera:
    pytest.importorskip("av")
    pytest.importorskip("pyarrow")
    from lerobot_dataset import _film

    path = tmp_path / "film.mp4"
    _film(path, [20 + 10 * step for step in range(20)], (64, 48))
    begun_ns = monotonic_ns()
    return RecordedCamera(
        "opst", FilmPart(path=str(path)), SHAPE, "exact", lambda: begun_ns, latency_s=latency_s
    )


def make_device(monkeypatch: pytest.MonkeyPatch, kind: str) -> Camera:
    libraries = {"pyrealsense2": FakeRealSense(), "pyorbbecsdk": FakeOrbbec()}
    libraries["cv2"] = fake_cv2(FakeCapture(lambda: monotonic_ns() / 1e6 - 3.0))
    module = {"v4l2": v4l2, "realsense": realsense, "orbbec": orbbec}[kind]
    monkeypatch.setattr(module, "import_module", libraries.__getitem__)
    spec = parse_camera(f"opst={kind}:{'/dev/null' if kind == 'v4l2' else ''}")
    makers = {"v4l2": "V4l2Grabber", "realsense": "RealSenseGrabber", "orbbec": "OrbbecGrabber"}
    grabber = getattr(module, makers[kind])(spec, SHAPE)
    return DeviceCamera("opst", spec, SHAPE, grabber, monotonic_ns)


@pytest.fixture(params=KINDS)
def camera(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Camera]:
    makers: dict[str, Maker] = {"twin": make_twin, "recorded": make_recorded}
    maker = makers.get(request.param)
    camera = maker(monkeypatch, tmp_path) if maker else make_device(monkeypatch, request.param)
    yield camera
    camera.close()


def take(camera: Camera, count: int) -> list[CameraFrame]:
    """Return frames as they come."""
    frames: list[CameraFrame] = []
    for _ in range(5000):
        frame = camera.read(monotonic_ns())
        if frame is not None:
            frames.append(frame)
        if len(frames) == count:
            return frames
        time.sleep(0.001)
    raise AssertionError(f"only {len(frames)} frames came")


def test_frames_come_in_order_once_and_from_the_past(camera: Camera) -> None:
    frames = take(camera, 4)
    times = [frame.t_ns for frame in frames]
    assert times == sorted(set(times))
    assert times[-1] <= monotonic_ns()
    for frame in frames:
        assert frame.image_hwc.shape == (48, 64, 3)
        assert frame.image_hwc.dtype == np.uint8


def test_what_a_picture_is_late_is_taken_off_its_stamp(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for make in (make_twin, make_recorded):
        now_ns = monotonic_ns()
        monkeypatch.setattr(sys.modules[__name__], "monotonic_ns", lambda at=now_ns: at)
        stamps = []
        for latency_s in (0.0, 0.03):
            camera = make(monkeypatch, tmp_path, latency_s)
            frame = camera.read(now_ns)
            assert frame is not None
            stamps.append(frame.t_ns)
            assert ("less 30.0 ms" in camera.description) == (latency_s > 0)
            camera.close()
        assert stamps[0] - stamps[1] == 30_000_000


def test_a_twins_late_picture_shows_what_was_and_dates_it_now() -> None:
    pytest.importorskip("mujoco")
    from dvla.runtime.cameras.twin import TwinCamera, TwinScene
    from dvla.runtime.twin.world import TwinWorld

    period_ns, late_ns = 40_000_000, 80_000_000
    world = TwinWorld()
    world.reset(0, 0)
    past = []
    snapshots = SimpleNamespace(
        newest=lambda: past[-1],
        at=lambda t_ns: min(past, key=lambda seen: abs(seen.t_ns - t_ns)),
    )
    prompt, late = (
        TwinCamera("opst_cam", TwinScene(snapshots, SHAPE, period_ns, late_ns=ns))  # type: ignore[arg-type]
        for ns in (0, late_ns)
    )
    shown: dict[str, dict[int, CameraFrame]] = {"prompt": {}, "late": {}}
    for step in range(8):
        now_ns = step * period_ns
        world.advance(now_ns)
        past.append(world.snapshot())
        for name, camera in (("prompt", prompt), ("late", late)):
            frame = camera.read(now_ns)
            if frame is not None:
                shown[name][frame.t_ns] = frame
    assert len(shown["late"]) == len(shown["prompt"]) - late_ns // period_ns
    for t_ns, frame in shown["late"].items():
        if t_ns - late_ns in shown["prompt"]:
            before = shown["prompt"][t_ns - late_ns]
            assert np.array_equal(frame.image_hwc, before.image_hwc)
    assert not np.array_equal(shown["prompt"][now_ns].image_hwc, shown["late"][now_ns].image_hwc)


def test_a_frame_is_not_written_to_again(camera: Camera) -> None:
    first = take(camera, 1)[0]
    kept = first.image_hwc.copy()
    take(camera, 2)
    np.testing.assert_array_equal(first.image_hwc, kept)


def test_a_camera_says_what_it_is_and_closes_twice(camera: Camera) -> None:
    assert camera.description
    assert camera.dropped >= 0
    assert camera.implausible == 0
    camera.close()
    camera.close()
