"""Frames of one camera in a shared ring: one process captures, any number read."""

from __future__ import annotations

from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from dvla.bindings import SharedRing

FRAME_SLOTS = 16
"""At 25 fps these are 0.64 s: the history of an observation and time to copy it."""


class FrameShape(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Size of the frames of one camera [pixel], RGB uint8."""

    height: int
    width: int

    @property
    def nbytes(self) -> int:
        """Bytes of one frame."""
        return self.height * self.width * 3


class FrameSource(Protocol):
    """What the observation assembler asks of a camera."""

    def times(self) -> list[tuple[int, int]]:
        """Return (sequence, capture time [ns]) of the frames that can be read, oldest first."""

    def read(self, sequence: int) -> NDArray[np.uint8] | None:
        """Return a copy of a frame (h, w, 3), or None when it has been overwritten."""


class FrameRing:
    """The shared ring of one camera.

    Args:
        shape: size of the frames.
        ring: a ring whose slots hold exactly one frame.
    """

    def __init__(self, shape: FrameShape, ring: SharedRing) -> None:
        if ring.slot_bytes != shape.nbytes:
            raise ValueError(f"ring slots hold {ring.slot_bytes} bytes, a frame {shape.nbytes}")
        self.shape = shape
        self.ring = ring

    @staticmethod
    def create(shape: FrameShape) -> FrameRing:
        """Make a ring for frames of a size."""
        return FrameRing(shape, SharedRing.create(shape.nbytes, FRAME_SLOTS))

    @staticmethod
    def attach(shape: FrameShape, fd: int) -> FrameRing:
        """Open the ring behind an inherited file descriptor."""
        return FrameRing(shape, SharedRing.attach(fd))

    def publish(self, image_hwc: NDArray[np.uint8], t_capture_ns: int) -> int:
        """Share a frame (h, w, 3); returns its sequence number."""
        return self.ring.publish(np.ascontiguousarray(image_hwc).reshape(-1), t_capture_ns)

    def times(self) -> list[tuple[int, int]]:
        """Return (sequence, capture time [ns]) of the frames in the ring, oldest first."""
        return self.ring.times()

    def read(self, sequence: int) -> NDArray[np.uint8] | None:
        """Return a copy of a frame (h, w, 3), or None when it has been overwritten."""
        image_hwc = np.empty((self.shape.height, self.shape.width, 3), np.uint8)
        return None if self.ring.read(sequence, image_hwc.reshape(-1)) is None else image_hwc
