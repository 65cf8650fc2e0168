"""Pictures as JPEG and back, through PyAV."""

from __future__ import annotations

from fractions import Fraction
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

QUALITY = 3
"""FFmpeg's scale: 2 is the best, 31 the worst."""


class JpegEncoder:
    """Encodes pictures of one size.

    Raises:
        ModuleNotFoundError: PyAV is not installed.
    """

    def __init__(self) -> None:
        self._av: Any = import_module("av")
        self._contexts: dict[tuple[int, int], Any] = {}

    def __call__(self, image_hwc: NDArray[np.uint8]) -> bytes:
        """Return a picture (h, w, 3) as JPEG."""
        height, width = image_hwc.shape[:2]
        context = self._contexts.get((height, width)) or self._open(height, width)
        frame = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(image_hwc), format="rgb24")
        frame = frame.reformat(format="yuvj420p")
        return b"".join(bytes(packet) for packet in context.encode(frame))

    def _open(self, height: int, width: int) -> Any:
        context = self._av.CodecContext.create("mjpeg", "w")
        context.width, context.height, context.pix_fmt = width, height, "yuvj420p"
        context.time_base = Fraction(1, 1000)
        context.thread_count = 1  # the cores belong to the robot
        context.options = {"qmin": str(QUALITY), "qmax": str(QUALITY)}
        self._contexts[height, width] = context
        return context


def decode_jpeg(data: bytes) -> NDArray[np.uint8]:
    """Return the picture (h, w, 3) of a JPEG.

    Raises:
        ModuleNotFoundError: PyAV is not installed.
    """
    av = import_module("av")
    context = av.CodecContext.create("mjpeg", "r")
    frames = [*context.decode(av.Packet(data)), *context.decode(None)]
    return np.asarray(frames[0].to_ndarray(format="rgb24"), np.uint8)
