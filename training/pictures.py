"""What a policy's encoder sees of the cameras' frames: the form in which a training keeps them."""

from __future__ import annotations

import hashlib
from functools import lru_cache

import msgspec
import numpy as np
from numpy.typing import NDArray

from dvla.export.arch import WHOLE, Arch, Crop
from dvla.export.config import PolicyConfig
from dvla.export.resize import Size, resize_matrices
from dvla.training.collect.frames import (
    CAMERA_HEIGHT,
    CAMERA_WIDTH,
    CROPS,
    IMAGE_SIZE,
    step_dtype,
)
from dvla.training.lerobot.schema import CAMERA_KEYS

Matrix = NDArray[np.float32]


class Pictures(msgspec.Struct, frozen=True, kw_only=True):
    """How frames become the encoder's input, but for the scale of its values.

    Attributes:
        keys: features of the cameras, in the policy's order.
        features: (H, W) [pixel] of each in the checkpoint's config: frames are brought to it first.
        crops: the part of each camera's frames that is seen.
        square: (H, W) [pixel] that the encoder sees, padded at the left and the top.
    """

    keys: tuple[str, ...]
    features: tuple[Size, ...]
    crops: tuple[Crop, ...]
    square: Size

    @classmethod
    def of(cls, config: PolicyConfig, arch: Arch) -> Pictures:
        """Return those of a policy."""
        return cls(
            keys=config.image_keys,
            features=tuple(config.image_size(key) for key in config.image_keys),
            crops=tuple(arch.crops.get(key, WHOLE) for key in config.image_keys),
            square=config.resize_imgs_with_padding,
        )

    @property
    def step(self) -> np.dtype[np.void]:
        """The layout of a recorded step with such pictures."""
        return step_dtype(len(self.keys), self.square)

    @property
    def name(self) -> str:
        """Names them: two that differ in anything have different names."""
        height, width = self.square
        if self == STORED:
            return f"{width}x{height}"
        return f"{width}x{height}-{hashlib.sha256(msgspec.json.encode(self)).hexdigest()[:8]}"

    @property
    def camera(self) -> Size:
        """(H, W) [pixel] of the frames that a camera is best asked for."""
        return (CAMERA_HEIGHT, CAMERA_WIDTH) if self == STORED else self.features[0]

    def prepare(self, frame: NDArray[np.uint8], camera: int) -> NDArray[np.uint8]:
        """Return what the encoder sees of a frame (h, w, 3) of a camera by its number."""
        return shrink(frame, self.features[camera], self.square, self.crops[camera])


STORED = Pictures(
    keys=CAMERA_KEYS, features=(IMAGE_SIZE, IMAGE_SIZE), crops=CROPS, square=IMAGE_SIZE
)
"""Those of the nano policies, which ``dvla-collect`` keeps with its episodes."""


@lru_cache(maxsize=8)
def _matrices(camera: Size, feature: Size, square: Size, crop: Crop) -> tuple[Matrix, Matrix]:
    rows, columns = resize_matrices(camera, feature, square, crop)
    return rows.numpy(), np.ascontiguousarray(columns.numpy().T)


def shrink(
    image_hwc: NDArray[np.uint8], feature: Size, square: Size, crop: Crop = WHOLE
) -> NDArray[np.uint8]:
    """Do with a frame (h, w, 3) what the policy's own graph does, and round to bytes.

    Args:
        image_hwc: the frame.
        feature: (H, W) [pixel] that it is brought to first, antialiased.
        square: (H, W) [pixel] that it is fitted into then.
        crop: the part of it that is seen.

    Returns:
        (*square, 3).
    """
    height, width, _ = image_hwc.shape
    if (height, width) == feature == square and crop == WHOLE:
        return image_hwc
    rows, columns = _matrices((height, width), feature, square, crop)
    shorter = (rows @ image_hwc.reshape(height, -1).astype(np.float32)).reshape(-1, width, 3)
    both = np.matmul(columns, shorter)
    small: NDArray[np.uint8] = np.clip(np.rint(both), 0, 255).astype(np.uint8)
    return small
