"""What helps the encoder to see, in training only: where is the object, and how does it move?

A policy that is cloned from actions alone needs many more samples before it looks at a thing of a
few pixels. None of this is an input of the policy, and none of it ships.
"""

from __future__ import annotations

from typing import NamedTuple, cast

from dvla.export.torch_ import F, Tensor, nn, torch
from dvla.training.dense_vision import Seen

SPOT_STAGES = 3
"""Stages that point at the object: 1/4, 1/8 and 1/16 of the picture."""
PLACE_STAGES = 2
"""Of them, those whose features tell the object's place within the cell where it is."""
_PLACE_WIDTH = 64


class HelperLosses(NamedTuple):
    """Mean losses: of the object's state, of the cell in the picture, of the place within it."""

    state: Tensor
    spot: Tensor
    place: Tensor


class Helpers(nn.Module):
    """Reads the object's position and velocity off tokens and features, and its place off maps.

    Args:
        seen: of any one observation, for the widths.
        state_width: of the normalised, padded states, which are read beside the tokens.
        mean / std: (6,) of the object's state [m, m/s].
        picture: its width and height [pixels].
        frames: of each camera in an observation.
    """

    def __init__(
        self,
        seen: Seen,
        state_width: int,
        mean: Tensor,
        std: Tensor,
        picture: tuple[int, int],
        frames: int,
    ) -> None:
        super().__init__()
        self._picture = torch.tensor(picture, dtype=torch.float32)
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)
        self.hidden = nn.Linear(seen.tokens[0].numel() + state_width, 256)
        self.out = nn.Linear(256, 6)
        pointing = seen.stages[:SPOT_STAGES]
        self.spots = nn.ModuleList(nn.Linear(len(stage), 1) for stage in pointing)
        self.early = nn.Linear(pointing[-1].numel() // len(seen.tokens), 6)
        self.places = nn.ModuleList(
            nn.ModuleList(_place_head(len(stage)) for _ in range(frames))
            for stage in pointing[:PLACE_STAGES]
        )

    def forward(self, seen: Seen, state: Tensor) -> Tensor:
        """Return the object's state (B, 6), normalised, as tokens and state (B, S) tell it."""
        read = torch.cat([seen.tokens.flatten(1), state], dim=1)
        answer: Tensor = self.out(F.gelu(self.hidden(read)))
        return answer

    def answers(self, seen: Seen, state: Tensor) -> Tensor:
        """Return the object's positions and velocities (B, 6) [m, m/s] as they are read."""
        answer: Tensor = self(seen, state) * self.get_buffer("std") + self.get_buffer("mean")
        return answer

    def losses(
        self, seen: Seen, state: Tensor, object_state: Tensor, spots: Tensor
    ) -> HelperLosses:
        """Return the losses; what is not known, or not in view, teaches nothing.

        Args:
            seen: of B observations with N cameras.
            state: (B, S), normalised and padded.
            object_state: (B, 6) [m, m/s].
            spots: (B, N, n_obs, 2) from the left and the top, in [0, 1] where in view.
        """
        truth = (object_state - self.get_buffer("mean")) / self.get_buffer("std")
        features = seen.stages[SPOT_STAGES - 1].movedim(0, -1).reshape(len(truth), -1)
        both = _known_l1(self(seen, state), truth) + _known_l1(self.early(features), truth)
        frames = spots.flatten(0, 1)
        flat, shown = frames[:, -1], in_view(frames[:, -1])
        spot = truth.new_zeros(())
        if shown.any():
            for head, stage in zip(self.spots, seen.stages, strict=False):
                logits = head(stage.movedim(0, -1)).squeeze(-1)[shown]
                share = pointed_at(flat[shown], *logits.shape[1:])
                chances = logits.flatten(1).log_softmax(dim=1)
                spot = spot - (share * chances).sum(dim=1).mean() / SPOT_STAGES
        return HelperLosses(both, spot, self._place_loss(seen, frames))

    def _place_loss(self, seen: Seen, frames: Tensor) -> Tensor:
        """Return the error [pixels] of places within cells, for spots (B N, n_obs, 2)."""
        loss = frames.new_zeros(())
        for heads, stage in zip(self.places, seen.stages, strict=False):
            rows, columns = stage.shape[-2:]
            sides = torch.tensor([columns, rows], dtype=torch.float32)
            for head, spots in zip(cast("nn.ModuleList", heads), frames.unbind(1), strict=True):
                shown = in_view(spots)
                if not shown.any():
                    continue
                at = spots[shown] * sides
                cell = torch.minimum(at.floor(), sides - 1.0)
                across, down = cell.long().unbind(1)
                features = stage.movedim(0, -1)[shown][torch.arange(len(cell)), down, across]
                wanted = (at - cell - 0.5) * self._picture / sides
                loss = loss + F.smooth_l1_loss(head(features), wanted, beta=0.1)
        return loss / (len(self.places) * frames.shape[1])


def in_view(spots: Tensor) -> Tensor:
    """Return which spots (n, 2) lie in their picture (n,)."""
    return spots.isfinite().all(dim=1) & (spots >= 0).all(dim=1) & (spots <= 1).all(dim=1)


def _place_head(features: int) -> nn.Module:
    return nn.Sequential(nn.Linear(features, _PLACE_WIDTH), nn.GELU(), nn.Linear(_PLACE_WIDTH, 2))


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


def _known_l1(answer: Tensor, truth: Tensor) -> Tensor:
    truth = torch.where(truth.isfinite(), truth, answer.detach())
    return F.smooth_l1_loss(answer, truth, beta=0.1)
