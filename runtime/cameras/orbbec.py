"""Orbbec cameras: the colour stream, through pyorbbecsdk."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from dvla.runtime.cameras.base import CameraFrame
from dvla.runtime.cameras.device_clock import DeviceClock
from dvla.runtime.cameras.errors import CameraError, CameraMissing
from dvla.runtime.cameras.frame_ring import FrameShape
from dvla.runtime.cameras.spec import CameraSpec
from dvla.runtime.clock import monotonic_ns

WAIT_MS = 500
DEFAULT_FPS = 30


class OrbbecGrabber:
    """A ``Grabber`` of an Orbbec camera; its own clock is brought to the host's.

    Args:
        spec: source is the serial number; the first camera when empty.
        wanted: size to ask for where the spec asks for none.

    Raises:
        CameraMissing: pyorbbecsdk or the camera is not there.
        CameraError: it has no such mode.
    """

    stamps = "the camera's clock"

    def __init__(self, spec: CameraSpec, wanted: FrameShape) -> None:
        try:
            sdk = import_module("pyorbbecsdk")
        except ImportError as error:
            raise CameraMissing(
                "Orbbec cameras need pyorbbecsdk",
                got=str(error),
                next_command="pip install pyorbbecsdk2",
            ) from error
        devices = sdk.Context().query_devices()
        serials = [devices.get_device_serial_number_by_index(i) for i in range(len(devices))]
        if not serials or (spec.source and spec.source not in serials):
            raise CameraMissing(
                f"there is no Orbbec camera {spec.source}".rstrip(),
                got=", ".join(serials) or "none on this host",
                next_command="plug it in, or name one of those",
            )
        serial = spec.source or serials[0]
        width, height = spec.width or wanted.width, spec.height or wanted.height
        fps = round(spec.fps or DEFAULT_FPS)
        self._clock = DeviceClock()
        self._pipeline: Any = sdk.Pipeline(devices.get_device_by_serial_number(serial))
        config = sdk.Config()
        try:
            profiles = self._pipeline.get_stream_profile_list(sdk.OBSensorType.COLOR_SENSOR)
            mode = profiles.get_video_stream_profile(width, height, sdk.OBFormat.RGB, fps)
            config.enable_stream(mode)
            self._pipeline.start(config)
        except sdk.OBError as error:
            raise CameraError(
                f"Orbbec {serial} has no RGB mode {width}x{height} at {fps} frames per second",
                got=str(error),
                expected="a mode of the camera, as width=640,height=480,fps=30,fit=crop-resize",
            ) from error

    @property
    def implausible(self) -> int:
        """Leaps of the camera's clock; the frame after one is dated by its arrival."""
        return self._clock.implausible

    def grab(self) -> CameraFrame | None:
        """Return the next colour frame; None when none came in time."""
        frames = self._pipeline.wait_for_frames(WAIT_MS)
        arrived_ns = monotonic_ns()
        colour = frames.get_color_frame() if frames is not None else None
        if colour is None:
            return None
        image_hwc = np.array(colour.get_data(), np.uint8).reshape(
            colour.get_height(), colour.get_width(), 3
        )
        device_ns = int(colour.get_timestamp_us()) * 1000
        return CameraFrame(image_hwc=image_hwc, t_ns=self._clock.host_ns(device_ns, arrived_ns))

    def close(self) -> None:
        """Let go of the camera."""
        self._pipeline.stop()
