"""From camera frames of any size to the square that the vision encoder sees."""

from __future__ import annotations

from collections.abc import Sequence

from dvla.export.arch import WHOLE, Crop
from dvla.export.torch_ import F, Tensor, torch


def frames_to_unit(frames: Tensor) -> Tensor:
    """Return frames (B, n_obs, h, w, 3) uint8 as (B, n_obs, 3, h, w) float32 in [0, 1]."""
    return frames.movedim(-1, -3).to(torch.float32) / 255.0


def fitted_size(size: tuple[int, int], square: tuple[int, int]) -> tuple[int, int]:
    """Return the largest (h, w) [pixel] of the image's proportions that fits, floored.

    Integers, because in floating point the side that fits exactly can come out one pixel short.
    """
    (height, width), (max_height, max_width) = size, square
    if height * max_width >= width * max_height:
        return max_height, max(1, width * max_height // height)
    return max(1, height * max_width // width), max_width


def letterbox(images: Tensor, square: tuple[int, int]) -> Tensor:
    """Scale images (N, 3, h, w) to fit, and pad with zeros at the left and the top.

    Returns:
        (N, 3, H, W) float32 in [0, 1].
    """
    size = fitted_size((images.shape[-2], images.shape[-1]), square)
    images = F.interpolate(images, size=size, mode="bilinear", align_corners=False)
    return F.pad(images, (square[1] - size[1], 0, square[0] - size[0], 0))


def prepare_images(
    frames: Tensor, feature_size: Sequence[int], square: tuple[int, int], crop: Crop = WHOLE
) -> Tensor:
    """Bring the frames of one camera to the input of the vision encoder.

    Args:
        frames: (B, n_obs, h, w, 3) uint8, or (B, n_obs, 3, h, w) float in [0, 1]; oldest first.
        feature_size: the (H, W) [pixel] of the camera's feature in the config.
        square: the (H, W) [pixel] that the encoder sees.
        crop: the part of the frames that is seen.

    Returns:
        (B, 3 * n_obs, H, W) float32 in [-1, 1]; the frames lie behind one another in the channels.
    """
    if not frames.is_floating_point():
        frames = frames_to_unit(frames)
    rows, columns = crop.slices(frames.shape[-2], frames.shape[-1])
    images = frames[..., rows, columns].to(torch.float32).flatten(0, 1)
    if tuple(images.shape[-2:]) != tuple(feature_size):
        images = F.interpolate(
            images, size=list(feature_size), mode="bilinear", align_corners=False, antialias=True
        )
    images = letterbox(images, square) * 2.0 - 1.0
    return images.reshape(frames.shape[0], -1, *square)
