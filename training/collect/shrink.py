"""Pictures brought to the size at which they are stored, as the policy's own graph does it."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from dvla.export.arch import WHOLE, Crop
from dvla.export.resize import Size, resize_matrices

Matrix = NDArray[np.float32]


@lru_cache(maxsize=8)
def _matrices(camera: Size, size: Size, crop: Crop) -> tuple[Matrix, Matrix]:
    rows, columns = resize_matrices(camera, size, size, crop)
    return rows.numpy(), np.ascontiguousarray(columns.numpy().T)


def shrink(image_hwc: NDArray[np.uint8], size: Size, crop: Crop = WHOLE) -> NDArray[np.uint8]:
    """Resize a part of a picture (h, w, 3) to (*size, 3): bilinear, antialiased, rounded."""
    height, width, _ = image_hwc.shape
    if (height, width) == size and crop == WHOLE:
        return image_hwc
    rows, columns = _matrices((height, width), size, crop)
    shorter = (rows @ image_hwc.reshape(height, -1).astype(np.float32)).reshape(size[0], width, 3)
    both = np.matmul(columns, shorter)
    small: NDArray[np.uint8] = np.clip(np.rint(both), 0, 255).astype(np.uint8)
    return small
