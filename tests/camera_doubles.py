"""Doubles of cameras: grabbers that can misbehave, and fake driver libraries."""

from __future__ import annotations

import threading
import time
from collections import deque
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dvla.runtime.cameras.base import CameraFrame
from dvla.runtime.cameras.errors import CameraFault


def picture(shade: int, width: int = 64, height: int = 48) -> NDArray[np.uint8]:
    """Return a plain picture (h, w, 3)."""
    return np.full((height, width, 3), shade, np.uint8)


class FakeGrabber:
    """A ``Grabber`` that hands out what a test puts in: frames, Nones, exceptions.

    Attributes:
        taken: how many things were asked for.
    """

    stamps = "a test"
    implausible = 0

    def __init__(self, *script: Any) -> None:
        self._script: deque[Any] = deque(script)
        self.taken, self.closed = 0, 0
        self.idle = threading.Event()

    def put(self, *script: Any) -> None:
        """Add to the script, and wait until all of it has been taken."""
        self.idle.clear()
        self._script.extend(script)
        assert self.idle.wait(5.0)

    def grab(self) -> CameraFrame | None:
        """Return the next thing of the script."""
        if not self._script:
            self.idle.set()
            time.sleep(0.001)
            return None
        self.taken += 1
        thing = self._script.popleft()
        if isinstance(thing, Exception):
            raise thing
        return thing  # type: ignore[no-any-return]

    def close(self) -> None:
        """Count."""
        self.closed += 1


def frame(t_ns: int, shade: int = 0, width: int = 64, height: int = 48) -> CameraFrame:
    """Return a frame."""
    return CameraFrame(image_hwc=picture(shade, width, height), t_ns=t_ns)


class FakeCapture:
    """OpenCV's capture of a device.

    Args:
        clock: gives the stamp in milliseconds.
    """

    def __init__(self, clock: Any, opened: bool = True, size: tuple[int, int] = (64, 48)) -> None:
        self.clock, self.opened, self.size = clock, opened, size
        self.asked: dict[int, float] = {}
        self.works, self.released = True, False

    def isOpened(self) -> bool:
        return self.opened

    def set(self, key: int, value: float) -> bool:
        self.asked[key] = value
        return True

    def grab(self) -> bool:
        time.sleep(0.001)
        return self.works

    def get(self, key: int) -> float:
        return float(self.clock())

    def retrieve(self) -> tuple[bool, NDArray[np.uint8]]:
        image = picture(0, *self.size)
        image[..., 0] = 200  # blue, in OpenCV's order
        return True, image

    def release(self) -> None:
        self.released = True


def fake_cv2(capture: FakeCapture) -> Any:
    """Return a module with what the driver asks of OpenCV."""
    return SimpleNamespace(
        CAP_V4L2=200, CAP_PROP_FRAME_WIDTH=3, CAP_PROP_FRAME_HEIGHT=4, CAP_PROP_FPS=5,
        CAP_PROP_BUFFERSIZE=38, CAP_PROP_POS_MSEC=0, COLOR_BGR2RGB=4,
        VideoCapture=lambda device, backend: capture,
        cvtColor=lambda image, code: np.ascontiguousarray(image[..., ::-1]),
    )  # fmt: skip


class FakeRealSense:
    """What the driver asks of pyrealsense2: one colour stream with a clock of its own."""

    stream = SimpleNamespace(color="color")
    format = SimpleNamespace(rgb8="rgb8")
    camera_info = SimpleNamespace(serial_number="serial")

    def __init__(self, serials: tuple[str, ...] = ("123",), modes: bool = True) -> None:
        self._serials, self._modes, self.count, self.stopped = serials, modes, 0, 0

    def context(self) -> Any:
        devices = [SimpleNamespace(get_info=lambda key, s=s: s) for s in self._serials]
        return SimpleNamespace(devices=devices)

    def config(self) -> Any:
        return SimpleNamespace(enable_device=lambda s: None, enable_stream=lambda *mode: None)

    def pipeline(self) -> FakeRealSense:
        return self

    def start(self, config: Any) -> None:
        if not self._modes:
            raise RuntimeError("Couldn't resolve requests")

    def try_wait_for_frames(self, wait_ms: int) -> tuple[bool, Any]:
        time.sleep(0.001)
        self.count += 1
        colour = SimpleNamespace(
            get_timestamp=lambda: 5e11 + 40.0 * self.count, get_data=lambda: picture(7)
        )
        return True, SimpleNamespace(get_color_frame=lambda: colour)

    def stop(self) -> None:
        self.stopped += 1


class FakeOrbbec:
    """What the driver asks of pyorbbecsdk."""

    OBSensorType = SimpleNamespace(COLOR_SENSOR=1)
    OBFormat = SimpleNamespace(RGB=2)

    class OBError(Exception):
        """The library's own error."""

    def __init__(self, serials: tuple[str, ...] = ("A1",), modes: bool = True) -> None:
        self._serials, self._modes, self.count, self.stopped = serials, modes, 0, 0

    def Context(self) -> Any:
        serials = self._serials

        class Devices:
            def __len__(self) -> int:
                return len(serials)

            def get_device_serial_number_by_index(self, index: int) -> str:
                return serials[index]

            def get_device_by_serial_number(self, serial: str) -> str:
                return serial

        return SimpleNamespace(query_devices=Devices)

    def Pipeline(self, device: str) -> FakeOrbbec:
        return self

    def Config(self) -> Any:
        return SimpleNamespace(enable_stream=lambda mode: None)

    def get_stream_profile_list(self, sensor: int) -> Any:
        def mode(*wanted: int) -> int:
            if not self._modes:
                raise self.OBError("no such profile")
            return 0

        return SimpleNamespace(get_video_stream_profile=mode)

    def start(self, config: Any) -> None:
        """Begin."""

    def wait_for_frames(self, wait_ms: int) -> Any:
        time.sleep(0.001)
        self.count += 1
        colour = SimpleNamespace(
            get_data=lambda: picture(9).reshape(-1), get_height=lambda: 48, get_width=lambda: 64,
            get_timestamp_us=lambda: 40_000 * self.count,
        )  # fmt: skip
        return SimpleNamespace(get_color_frame=lambda: colour)

    def stop(self) -> None:
        self.stopped += 1


UNPLUGGED = CameraFault("the camera was unplugged")
