"""Resizing and padding as two constant matrices, one along the height and one along the width.

Bilinear resizing and padding are linear and separable, so a frame X becomes ``rows @ X @ columns``;
no backend needs a Resize operator, whose conventions differ from one to the next. The matrices come
from torch itself: its resize of an identity matrix is the resize.
"""

from __future__ import annotations

from dvla.export.arch import WHOLE, Crop
from dvla.export.model.images import letterbox
from dvla.export.torch_ import F, Tensor, torch

Size = tuple[int, int]


def resize_matrices(
    camera: Size, feature: Size, square: Size, crop: Crop = WHOLE
) -> tuple[Tensor, Tensor]:
    """Return the matrices that bring a camera's frame to the square that the encoder sees.

    Args:
        camera: (height, width) of the frames [pixel].
        feature: (height, width) that the checkpoint's camera feature has [pixel]; frames of another
            size are brought to it first, antialiased.
        square: (height, width) of the encoder's input [pixel].
        crop: the part of the frames that is seen; the rest gets no weight.

    Returns:
        rows (square height, camera height) and columns (camera width, square width), float32.
    """
    rows, columns = _letterbox_matrices(feature, square)
    down, across = crop.slices(*camera)
    seen = (down.stop - down.start, across.stop - across.start)
    if seen != feature:
        rows = rows @ _antialiased_matrix(seen[0], feature[0])
        columns = _antialiased_matrix(seen[1], feature[1]).T @ columns
    rows = F.pad(rows, (down.start, camera[0] - down.stop))
    columns = F.pad(columns, (0, 0, across.start, camera[1] - across.stop))
    return rows.to(torch.float32), columns.to(torch.float32)


def _letterbox_matrices(size: Size, square: Size) -> tuple[Tensor, Tensor]:
    """Return rows and columns of the letterbox, each through images constant in the other.

    A constant image stays constant along its axis but for the padding, so the last row (or column),
    which padding at the top (or left) never reaches, shows the weights of the other axis.
    """
    height, width = size
    by_row = torch.eye(height)[:, None, :, None].expand(-1, 1, -1, width)
    by_column = torch.eye(width)[:, None, None, :].expand(-1, 1, height, -1)
    rows = letterbox(by_row, square)[:, 0, :, -1].T
    columns = letterbox(by_column, square)[:, 0, -1, :]
    return rows.to(torch.float64), columns.to(torch.float64)


def _antialiased_matrix(size: int, target: int) -> Tensor:
    """Return the (target, size) matrix of torch's antialiased bilinear resize of one axis."""
    # Several images of one channel: of one image with a channel per row and a width of one,
    # torch 2.13 returns wrong values.
    by_row = torch.eye(size)[:, None, :, None].repeat(1, 1, 1, 8)
    resized = F.interpolate(
        by_row, size=[target, 8], mode="bilinear", align_corners=False, antialias=True
    )
    return resized[:, 0, :, 0].T.to(torch.float64)
