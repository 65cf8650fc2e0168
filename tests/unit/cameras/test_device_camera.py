"""Devices that misbehave, and what is said when one is missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
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
from hypothesis import given
from hypothesis import strategies as st

from dvla.engines.errors import DvlaError
from dvla.runtime.cameras import orbbec, realsense, v4l2
from dvla.runtime.cameras.device import SILENT_NS, DeviceCamera
from dvla.runtime.cameras.device_clock import MAX_AGE_NS, DeviceClock, monotonic_stamp_ns
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
    assert grabber.stamps == "the arrival"
    capture.works = False
    with pytest.raises(CameraFault):
        for _ in range(100):
            grabber.grab()


def test_a_closed_device_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    capture = FakeCapture(lambda: 0, opened=False)
    monkeypatch.setattr(v4l2, "import_module", lambda name: fake_cv2(capture))
    with pytest.raises(DvlaError, match="does not open as a camera"):
        v4l2.V4l2Grabber(parse_camera("a=v4l2:/dev/null"), SHAPE)


@given(
    offset_ns=st.integers(-(2**60), 2**60),
    delays_ns=st.lists(st.integers(1_000_000, 80_000_000), min_size=2, max_size=100),
)
def test_a_devices_clock_is_at_most_late_by_the_spread_of_its_delays(
    offset_ns: int, delays_ns: list[int]
) -> None:
    clock, captured = DeviceClock(), 0
    for index, delay_ns in enumerate(delays_ns):
        captured = 40_000_000 * index
        found = clock.host_ns(captured + offset_ns, captured + delay_ns)
        # Never after its arrival, and late by no more than the least delay so far.
        assert found == captured + min(delays_ns[: index + 1])
    assert clock.implausible == 0


def test_a_device_that_counts_anew_is_followed() -> None:
    clock = DeviceClock()
    clock.host_ns(10**12, 5 * 10**9)
    assert clock.host_ns(0, 6 * 10**9) == 6 * 10**9
    assert clock.implausible == 1


@given(stamp_ns=st.integers(-(2**62), 2**62), arrived_ns=st.integers(0, 2**62))
def test_a_stamp_is_believed_only_shortly_before_its_arrival(
    stamp_ns: int, arrived_ns: int
) -> None:
    found = monotonic_stamp_ns(stamp_ns, arrived_ns)
    assert arrived_ns - MAX_AGE_NS <= found <= arrived_ns
    assert found in (stamp_ns, arrived_ns)
    assert isinstance(np.int64(found), np.int64)
