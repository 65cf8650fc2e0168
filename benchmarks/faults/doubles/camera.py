"""A camera process whose frames stop, get lost, swap, go black or come from the future.

With ``LIGHT`` set it paints its pictures instead of rendering them: the oracle looks at none, and a
software renderer alone would take a core of a small host.
"""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

from dvla.benchmarks.faults.doubles.trigger import Trigger
from dvla.runtime.cameras import twin
from dvla.runtime.cameras.frame_ring import FrameRing
from dvla.runtime.processes import camera
from dvla.runtime.processes.child import run_child
from dvla.runtime.twin.snapshot import TwinSnapshot

LIGHT = "DVLA_FAULT_LIGHT"
TRIGGER = Trigger()
publish = FrameRing.publish
held: dict[int, NDArray[np.uint8]] = {}
count = 0


class PaintedRenderer:
    """Paints a few bars that move with the hand: a picture of its own for every camera.

    Args:
        arm_model: not looked at.
        width / height: of the pictures.
    """

    platform = "painted"

    def __init__(self, arm_model: object = None, *, width: int, height: int) -> None:
        across = np.linspace(0.0, 6.0 * np.pi, 2 * width)
        self._bars = (128.0 + 100.0 * np.sin(across)).astype(np.uint8)
        self._width, self._height = width, height

    def render(self, snapshot: TwinSnapshot, camera: str, image_hwc: NDArray[np.uint8]) -> None:
        """Write a picture (h, w, 3)."""
        shift = int(abs(snapshot.measured[:3] @ (300.0, 200.0, 100.0))) % self._width
        if camera == "wrist_cam":
            image_hwc[:] = self._bars[shift : shift + self._height][:, None, None]
        else:
            image_hwc[:] = self._bars[shift : shift + self._width][None, :, None]

    def close(self) -> None:
        """Let go of nothing."""


def hostile_publish(ring: FrameRing, image_hwc: NDArray[np.uint8], t_capture_ns: int) -> int:
    """Share a frame, or something else."""
    global count  # noqa: PLW0603
    if not TRIGGER.pulled:
        held[id(ring)] = image_hwc.copy()
        return publish(ring, image_hwc, t_capture_ns)
    count += 1
    match TRIGGER.kind:
        case "camera_silent":
            return 0
        case "camera_drops" if count % 6 >= 2:  # two of three frames of each camera
            return 0
        case "camera_frozen":
            image_hwc = held[id(ring)]
        case "camera_black":
            image_hwc = np.zeros_like(image_hwc)
        case "camera_swap":
            others = [image for key, image in held.items() if key != id(ring)]
            held[id(ring)] = image_hwc.copy()
            image_hwc = others[0] if others else image_hwc
        case "camera_future":
            t_capture_ns += 1_000_000_000
    return publish(ring, image_hwc, t_capture_ns)


if __name__ == "__main__":
    if os.environ.get(LIGHT):
        vars(twin)["TwinRenderer"] = PaintedRenderer
    FrameRing.publish = hostile_publish  # type: ignore[method-assign,assignment]
    run_child("camera", camera.body)
