"""Spots in pictures as shares of cells, and the loss of logits that should point at them."""

from __future__ import annotations

from dvla.export.torch_ import Tensor, torch


def in_view(spots: Tensor) -> Tensor:
    """Return which spots (n, 2) lie in their picture (n,)."""
    return spots.isfinite().all(dim=1) & (spots >= 0).all(dim=1) & (spots <= 1).all(dim=1)


def pointed_at(spots: Tensor, rows: int, columns: int) -> Tensor:
    """Share each spot (n, 2) in [0, 1] among the four cells around it.

    Returns:
        (n, rows * columns), each row of sum 1.
    """

    def along(at: Tensor, cells: int) -> Tensor:
        centre = (at * cells - 0.5).clamp(0, cells - 1)
        return (1.0 - (centre[:, None] - torch.arange(cells)).abs()).clamp(min=0.0)

    across, down = along(spots[:, 0], columns), along(spots[:, 1], rows)
    return (down[:, :, None] * across[:, None]).flatten(1)


def spot_loss(logits: Tensor, spots: Tensor) -> Tensor:
    """Return the cross-entropy of cells (n, h, w) at the spots (n, 2) that are in view."""
    shown = in_view(spots)
    if not shown.any():
        return logits.new_zeros(())
    share = pointed_at(spots[shown], *logits.shape[1:])
    return -(share * logits[shown].flatten(1).log_softmax(dim=1)).sum(dim=1).mean()
