"""A camera process whose frames stop, get lost, swap, go black or come from the future."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dvla.benchmarks.faults.doubles.trigger import Trigger
from dvla.runtime.cameras.frame_ring import FrameRing
from dvla.runtime.processes import camera
from dvla.runtime.processes.child import run_child

TRIGGER = Trigger()
publish = FrameRing.publish
held: dict[int, NDArray[np.uint8]] = {}
count = 0


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
    FrameRing.publish = hostile_publish  # type: ignore[method-assign,assignment]
    run_child("camera", camera.body)
