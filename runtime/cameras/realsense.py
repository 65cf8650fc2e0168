"""RealSense cameras: the colour stream, through pyrealsense2."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from dvla.runtime.cameras.base import CameraFrame
from dvla.runtime.cameras.device_clock import DeviceClock
from dvla.runtime.cameras.errors import CameraError, CameraMissing
from dvla.runtime.cameras.frame_ring import FrameShape
from dvla.runtime.cameras.spec import CameraSpec
from dvla.runtime.clock import NS_PER_MS, monotonic_ns

WAIT_MS = 500
DEFAULT_FPS = 30


class RealSenseGrabber:
    """A ``Grabber`` of a RealSense camera; its own clock is brought to the host's.

    Args:
        spec: source is the serial number; the first camera when empty.
        wanted: size to ask for where the spec asks for none.

    Raises:
        CameraMissing: pyrealsense2 or the camera is not there.
        CameraError: it has no such mode.
    """

    stamps = "the camera's clock"

    def __init__(self, spec: CameraSpec, wanted: FrameShape) -> None:
        try:
            rs = import_module("pyrealsense2")
        except ImportError as error:
            raise CameraMissing(
                "RealSense cameras need pyrealsense2",
                got=str(error),
                next_command="pip install pyrealsense2",
            ) from error
        serials = [device.get_info(rs.camera_info.serial_number) for device in rs.context().devices]
        if not serials or (spec.source and spec.source not in serials):
            raise CameraMissing(
                f"there is no RealSense camera {spec.source}".rstrip(),
                got=", ".join(serials) or "none on this host",
                next_command="plug it in, or name one of those",
            )
        width, height = spec.width or wanted.width, spec.height or wanted.height
        fps = round(spec.fps or DEFAULT_FPS)
        config = rs.config()
        config.enable_device(spec.source or serials[0])
        config.enable_stream(rs.stream.color, width, height, rs.format.rgb8, fps)
        self._clock, self._pipeline = DeviceClock(), rs.pipeline()
        try:
            self._pipeline.start(config)
        except RuntimeError as error:
            raise CameraError(
                f"RealSense {spec.source or serials[0]} has no colour mode {width}x{height} "
                f"at {fps} frames per second",
                got=str(error),
                expected="a mode of the camera, as width=640,height=480,fps=30,fit=crop-resize",
            ) from error

    @property
    def implausible(self) -> int:
        """Leaps of the camera's clock; the frame after one is dated by its arrival."""
        return self._clock.implausible

    def grab(self) -> CameraFrame | None:
        """Return the next colour frame; None when none came in time."""
        found, frames = self._pipeline.try_wait_for_frames(WAIT_MS)
        arrived_ns = monotonic_ns()
        colour: Any = frames.get_color_frame() if found else None
        if not colour:
            return None
        device_ns = round(colour.get_timestamp() * NS_PER_MS)
        return CameraFrame(
            image_hwc=np.array(colour.get_data(), np.uint8),  # a copy: the driver reuses its own
            t_ns=self._clock.host_ns(device_ns, arrived_ns),
        )

    def close(self) -> None:
        """Let go of the camera."""
        self._pipeline.stop()
