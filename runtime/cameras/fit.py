"""How a camera's frames get the policy's size: not at all, by cutting, or by cutting and scaling.

What a policy was trained on it must be fed with: nothing is ever stretched, and nothing is scaled
unless the configuration says so.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dvla.runtime.cameras.errors import CameraError
from dvla.runtime.cameras.frame_ring import FrameShape
from dvla.runtime.cameras.spec import Fit


class FrameFit:
    """Brings frames of one size to another.

    Args:
        native: size of the camera's frames.
        wanted: size that the policy takes.
        fit: the way that was declared.
        name: of the camera, for errors.

    Raises:
        CameraError: the declared way does not lead there.
    """

    def __init__(self, native: FrameShape, wanted: FrameShape, fit: Fit, name: str) -> None:
        self.native, self.wanted = native, wanted
        self._scales, self.words = False, ""
        if native == wanted:
            self._rows, self._columns = slice(None), slice(None)
            return
        got = f"{native.width}x{native.height}"
        expected = f"{wanted.width}x{wanted.height}"
        if fit == "exact":
            raise CameraError(
                f"{name} delivers frames of another size than the policy takes",
                got=got,
                expected=expected,
                next_command="ask for that mode (width=...,height=...), or declare fit=crop or "
                "fit=crop-resize",
            )
        height, width = wanted.height, wanted.width
        if fit == "crop-resize":
            share = min(native.height / wanted.height, native.width / wanted.width)
            height = max(1, round(wanted.height * share))
            width = max(1, round(wanted.width * share))
        if height > native.height or width > native.width:
            raise CameraError(
                f"{name} delivers frames that are smaller than what is cut out of them",
                got=got,
                expected=f"at least {expected}, or fit=crop-resize",
            )
        top, left = (native.height - height) // 2, (native.width - width) // 2
        self._rows, self._columns = slice(top, top + height), slice(left, left + width)
        self._scales = (height, width) != (wanted.height, wanted.width)
        self.words = f", {fit} to {expected}"
        self._down = _area(height, wanted.height)
        self._across = _area(width, wanted.width)

    def __call__(self, image_hwc: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return a frame (h, w, 3) of the wanted size.

        Raises:
            CameraError: the frame has not the size that was announced.
        """
        if image_hwc.shape[:2] != (self.native.height, self.native.width):
            raise CameraError(
                "a camera changed the size of its frames",
                got=f"{image_hwc.shape[1]}x{image_hwc.shape[0]}",
                expected=f"{self.native.width}x{self.native.height}",
            )
        part = image_hwc[self._rows, self._columns]
        if not self._scales:
            return part
        rows, weights = self._down
        down = np.einsum("k...,k...->...", part[rows].astype(np.float32), weights[:, :, None, None])
        columns, weights = self._across
        across = np.einsum("hkw...,kw...->hw...", down[:, columns], weights[:, :, None])
        return np.asarray(np.rint(across).clip(0, 255), np.uint8)


def _area(source: int, target: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Return the source pixels (taps, target) under each target pixel, and their shares.

    Scaling up, a target pixel lies inside one source pixel or across two.
    """
    edges = np.arange(target + 1) * source / target
    taps = int(np.ceil(source / target)) + 1
    index = np.floor(edges[:-1]).astype(np.intp) + np.arange(taps)[:, None]
    overlap = np.minimum(index + 1, edges[1:]) - np.maximum(index, edges[:-1])
    weights = np.clip(overlap, 0.0, None) * target / source
    return np.clip(index, 0, source - 1), weights.astype(np.float32)
