"""V4L2 and UVC cameras, through OpenCV."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from dvla.runtime.cameras.base import CameraFrame
from dvla.runtime.cameras.device_clock import KernelClock
from dvla.runtime.cameras.errors import CameraError, CameraFault, CameraMissing
from dvla.runtime.cameras.frame_ring import FrameShape
from dvla.runtime.cameras.spec import CameraSpec
from dvla.runtime.clock import NS_PER_MS, monotonic_ns

FAILURES = 25


class V4l2Grabber:
    """A ``Grabber`` of a V4L2 device.

    The kernel stamps buffers with the monotonic clock; OpenCV hands the stamp out in milliseconds.

    Args:
        spec: source ``/dev/videoN`` or a number.
        wanted: size to ask for where the spec asks for none.

    Raises:
        CameraMissing: OpenCV or the device is not there.
        CameraError: the device does not open.
    """

    def __init__(self, spec: CameraSpec, wanted: FrameShape) -> None:
        device = spec.source or "/dev/video0"
        device = f"/dev/video{device}" if device.isdigit() else device
        try:
            cv2 = import_module("cv2")
        except ImportError as error:
            raise CameraMissing(
                "V4L2 cameras need OpenCV",
                got=str(error),
                next_command="pip install 'dvla[cameras]'",
            ) from error
        if not Path(device).exists():
            there = sorted(str(path) for path in Path("/dev").glob("video*"))
            raise CameraMissing(
                f"there is no camera at {device}",
                got=", ".join(there) or "no /dev/video* at all",
                next_command="plug it in; in a container, pass the device through",
            )
        self._cv2, self._device, self._failures = cv2, device, 0
        self._clock = KernelClock()
        self._capture: Any = cv2.VideoCapture(device, cv2.CAP_V4L2)
        if not self._capture.isOpened():
            raise CameraError(
                f"{device} does not open as a camera",
                expected="a capture device that no other program uses, and group video",
                next_command="v4l2-ctl --list-devices",
            )
        self._capture.set(cv2.CAP_PROP_FRAME_WIDTH, spec.width or wanted.width)
        self._capture.set(cv2.CAP_PROP_FRAME_HEIGHT, spec.height or wanted.height)
        if spec.fps:
            self._capture.set(cv2.CAP_PROP_FPS, spec.fps)
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 2)
        self.stamps = "the kernel"

    @property
    def implausible(self) -> int:
        """Frames whose stamp could not be true, and that are dated by their arrival."""
        return self._clock.implausible

    def grab(self) -> CameraFrame | None:
        """Return the next frame; None when the device skipped one."""
        taken = self._capture.grab()
        arrived_ns = monotonic_ns()
        if not taken:
            self._failures += 1
            if self._failures >= FAILURES:
                raise CameraFault(f"{self._device} delivers no more frames")
            return None
        stamp_ns = round(self._capture.get(self._cv2.CAP_PROP_POS_MSEC) * NS_PER_MS)
        decoded, image_bgr = self._capture.retrieve()
        if not decoded:
            return None
        self._failures = 0
        t_ns = self._clock.host_ns(stamp_ns, arrived_ns)
        if self._clock.implausible:
            self.stamps = "the arrival"
        image_hwc = self._cv2.cvtColor(image_bgr, self._cv2.COLOR_BGR2RGB)
        return CameraFrame(image_hwc=image_hwc, t_ns=t_ns)

    def close(self) -> None:
        """Let go of the device."""
        self._capture.release()
