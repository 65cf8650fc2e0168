"""The contract of a camera; the twin's, recorded ones and devices pass the same suite."""

from __future__ import annotations

from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray


class CameraFrame(msgspec.Struct, frozen=True, kw_only=True):
    """One picture.

    Attributes:
        image_hwc: (h, w, 3) uint8 RGB, first row at the top; the camera does not write to it again.
        t_ns: when it was captured, host monotonic clock.
    """

    image_hwc: NDArray[np.uint8]
    t_ns: int


def less(latency_s: float) -> str:
    """Say what is taken off the time stamps of a camera; nothing where that is nothing."""
    return f", less {1e3 * latency_s:.1f} ms" if latency_s else ""


class Camera(Protocol):
    """One camera. The camera process calls it from one thread; nothing here blocks.

    Frames come out in the order of their capture, each once; what was captured and never handed
    out is counted.
    """

    @property
    def description(self) -> str:
        """What it is, for people: kind, source, size, and where its times come from."""

    @property
    def dropped(self) -> int:
        """Frames that were captured, or should have been, and were never handed out."""

    @property
    def implausible(self) -> int:
        """Frames whose own time stamp could not be true, and that are dated by their arrival."""

    def read(self, now_ns: int) -> CameraFrame | None:
        """Return a frame captured by ``now_ns`` and not handed out yet, or None.

        A device gives its newest one; a recording gives all of them in order.

        Raises:
            CameraFault: it delivers no more.
        """

    def close(self) -> None:
        """Let go of it; twice is once."""
