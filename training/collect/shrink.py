"""Pictures brought to the size at which they are stored, as the policy's own graph does it."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from dvla.export.resize import resize_matrices

Matrix = NDArray[np.float32]


@lru_cache(maxsize=8)
def _matrices(height: int, width: int, side: int) -> tuple[Matrix, Matrix]:
    rows, columns = resize_matrices((height, width), (side, side), (side, side))
    return rows.numpy(), np.ascontiguousarray(columns.numpy().T)


def shrink(image_hwc: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Resize a picture (h, w, 3) to (side, side, 3): bilinear, antialiased, rounded."""
    height, width, _ = image_hwc.shape
    if (height, width) == (side, side):
        return image_hwc
    rows, columns = _matrices(height, width, side)
    shorter = (rows @ image_hwc.reshape(height, -1).astype(np.float32)).reshape(side, width, 3)
    both = np.matmul(columns, shorter)
    small: NDArray[np.uint8] = np.clip(np.rint(both), 0, 255).astype(np.uint8)
    return small
