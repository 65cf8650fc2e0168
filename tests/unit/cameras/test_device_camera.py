"""Devices that misbehave, and what is said when one is missing."""

from __future__ import annotations

from pathlib import Path

import pytest
from camera_doubles import (
    UNPLUGGED,
    FakeCapture,
    FakeGrabber,
    FakeOrbbec,
    FakeRealSense,
    fake_cv2,
    frame,
)

from dvla.engines.errors import DvlaError
from dvla.runtime.cameras import orbbec, realsense, v4l2
from dvla.runtime.cameras.device import SILENT_NS, DeviceCamera
from dvla.runtime.cameras.errors import CameraError, CameraFault, CameraMissing
from dvla.runtime.cameras.frame_ring import FrameShape
from dvla.runtime.cameras.spec import parse_camera
from dvla.runtime.clock import monotonic_ns

SHAPE = FrameShape(height=48, width=64)


def open_fake(grabber: FakeGrabber, options: str = "", now_ns: int = 10) -> DeviceCamera:
    spec = parse_camera(f"opst=v4l2:0{options}")
    return DeviceCamera("opst", spec, SHAPE, grabber, lambda: now_ns, first_frame_s=0.2)


def test_only_the_newest_frame_comes_out_and_the_others_are_counted() -> None:
    grabber = FakeGrabber(frame(1))
    camera = open_fake(grabber)
    grabber.put(frame(2), frame(3, shade=9))
    newest = camera.read(10)
    assert newest is not None
    assert (newest.t_ns, int(newest.image_hwc[0, 0, 0])) == (3, 9)
    assert camera.dropped == 2
    assert camera.read(10) is None
    camera.close()
    assert grabber.closed == 1


def test_a_frame_out_of_order_is_dropped() -> None:
    grabber = FakeGrabber(frame(5))
    camera = open_fake(grabber)
    assert camera.read(10) is not None
    grabber.put(frame(4))
    assert camera.read(10) is None
    assert camera.dropped == 1
    camera.close()


def test_the_measured_latency_comes_off_every_capture_time() -> None:
    camera = open_fake(FakeGrabber(frame(60_000_000)), ",latency_s=0.02")
    taken = camera.read(70_000_000)
    assert taken is not None
    assert taken.t_ns == 40_000_000
    camera.close()


@pytest.mark.parametrize("failure", [UNPLUGGED, RuntimeError("bus error")])
def test_a_failing_device_is_a_fault_of_the_run(failure: Exception) -> None:
    grabber = FakeGrabber(frame(1))
    camera = open_fake(grabber)
    camera.read(10)
    grabber._script.append(failure)
    camera._thread.join(5.0)
    with pytest.raises(CameraFault):
        camera.read(10)
    camera.close()


def test_a_silent_device_is_a_fault_after_two_seconds() -> None:
    camera = open_fake(FakeGrabber(frame(1)), now_ns=10)
    camera.read(20)
    assert camera.read(10 + SILENT_NS) is None
    with pytest.raises(CameraFault, match="no frame for 2 s"):
        camera.read(11 + SILENT_NS)
    camera.close()


def test_a_device_without_frames_is_refused_and_let_go() -> None:
    grabber = FakeGrabber()
    with pytest.raises(CameraError, match="no frame in"):
        open_fake(grabber)
    assert grabber.closed == 1


def test_another_size_is_refused_with_the_way_out() -> None:
    grabber = FakeGrabber(frame(1, width=128, height=96))
    with pytest.raises(CameraError, match=r"Got 128x96. Expected 64x48.*fit=crop-resize"):
        open_fake(grabber)
    assert grabber.closed == 1


def missing(name: str) -> object:
    raise ModuleNotFoundError(f"No module named {name!r}")


@pytest.mark.parametrize(
    ("module", "grabber", "library"),
    [
        (v4l2, v4l2.V4l2Grabber, "OpenCV"),
        (realsense, realsense.RealSenseGrabber, "pyrealsense2"),
        (orbbec, orbbec.OrbbecGrabber, "pyorbbecsdk"),
    ],
)
def test_a_missing_library_is_named(
    monkeypatch: pytest.MonkeyPatch, module: object, grabber: type, library: str
) -> None:
    monkeypatch.setattr(module, "import_module", missing)
    with pytest.raises(CameraMissing, match=library) as caught:
        grabber(parse_camera("opst=v4l2:0"), SHAPE)
    assert caught.value.exit_code == 3
    assert "pip install" in str(caught.value)


def test_missing_devices_and_modes_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(realsense, "import_module", lambda name: FakeRealSense(("1", "2")))
    with pytest.raises(CameraMissing, match=r"RealSense camera 9\. Got 1, 2"):
        realsense.RealSenseGrabber(parse_camera("a=realsense:9"), SHAPE)
    monkeypatch.setattr(realsense, "import_module", lambda name: FakeRealSense(modes=False))
    with pytest.raises(CameraError, match="no colour mode 64x48 at 30"):
        realsense.RealSenseGrabber(parse_camera("a=realsense:"), SHAPE)
    monkeypatch.setattr(orbbec, "import_module", lambda name: FakeOrbbec(()))
    with pytest.raises(CameraMissing, match="none on this host"):
        orbbec.OrbbecGrabber(parse_camera("a=orbbec:"), SHAPE)
    monkeypatch.setattr(orbbec, "import_module", lambda name: FakeOrbbec(modes=False))
    with pytest.raises(CameraError, match="no RGB mode 64x48 at 30"):
        orbbec.OrbbecGrabber(parse_camera("a=orbbec:"), SHAPE)
    monkeypatch.setattr(v4l2, "import_module", lambda name: fake_cv2(FakeCapture(lambda: 0)))
    with pytest.raises(CameraMissing, match="no camera at /dev/video77"):
        v4l2.V4l2Grabber(parse_camera("a=v4l2:77"), SHAPE)


def test_v4l2_takes_the_kernels_stamp_and_turns_the_colours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    capture = FakeCapture(lambda: monotonic_ns() / 1e6 - 20.0)
    monkeypatch.setattr(v4l2, "import_module", lambda name: fake_cv2(capture))
    grabber = v4l2.V4l2Grabber(parse_camera("a=v4l2:/dev/null,width=32,fps=15"), SHAPE)
    assert capture.asked == {3: 32, 4: 48, 5: 15.0, 38: 2}
    before_ns = monotonic_ns()
    taken = grabber.grab()
    assert taken is not None
    assert taken.t_ns < before_ns
    assert taken.image_hwc[0, 0].tolist() == [0, 0, 200]
    assert grabber.stamps == "the kernel"
    capture.clock = lambda: 0.0  # a backend without stamps
    late = grabber.grab()
    assert late is not None
    assert late.t_ns >= before_ns
    assert (grabber.stamps, grabber.implausible) == ("the arrival", 1)
    capture.works = False
    with pytest.raises(CameraFault):
        for _ in range(100):
            grabber.grab()


def test_a_closed_device_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    capture = FakeCapture(lambda: 0, opened=False)
    monkeypatch.setattr(v4l2, "import_module", lambda name: fake_cv2(capture))
    with pytest.raises(DvlaError, match="does not open as a camera"):
        v4l2.V4l2Grabber(parse_camera("a=v4l2:/dev/null"), SHAPE)


def test_old_frames_out_of_the_kernels_queue_keep_their_age(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, stamp = {"ns": 10**10}, {"ms": 0.0}
    monkeypatch.setattr(v4l2, "monotonic_ns", lambda: now["ns"])
    capture = FakeCapture(lambda: stamp["ms"])
    monkeypatch.setattr(v4l2, "import_module", lambda name: fake_cv2(capture))
    camera = v4l2.V4l2Grabber(parse_camera("a=v4l2:/dev/null"), SHAPE)
    dated = []
    # Live; then 1.5 s of standing still, after which two frames lie in the queue; then live again.
    for captured_ms, arrived_ms in ((10_000, 10_005), (10_040, 11_540), (10_080, 11_541),
                                    (11_560, 11_565)):  # fmt: skip
        stamp["ms"], now["ns"] = captured_ms, arrived_ms * 1_000_000
        frame = camera.grab()
        assert frame is not None
        dated.append(frame.t_ns // 1_000_000)
    assert dated == [10_000, 10_040, 10_080, 11_560]
    assert (camera.stamps, camera.implausible) == ("the kernel", 0)


def test_a_camera_tells_how_many_frames_its_arrival_dated() -> None:
    grabber = FakeGrabber(frame(1))
    grabber.implausible = 3
    camera = open_fake(grabber)
    assert camera.implausible == 3
    camera.close()
