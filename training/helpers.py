"""What helps a policy to see, in training only: where is the object that is asked for, and how does
it move?

A policy that is cloned from actions alone needs many more samples before it looks at a thing of a
few pixels. The encoder's helpers are told the instruction, for among several things the pictures
do not say which is meant; the language model's helper reads what it made of the instruction. None
of this is an input of the policy, and none of it ships.
"""

from __future__ import annotations

from typing import NamedTuple, cast

from dvla.export.model.decoder import KeyValue
from dvla.export.model.policy import DynamicVla
from dvla.export.torch_ import F, Tensor, nn, torch
from dvla.training.dense_vision import Seen
from dvla.training.flow_loss import Batch

SPOT_STAGES = 3
"""Stages that point at the object: 1/4, 1/8 and 1/16 of the picture."""
PLACE_STAGES = 2
"""Of them, those whose features tell the object's place within the cell where it is."""
_PLACE_WIDTH, _READ_WIDTH, _EARLY_WIDTH, _ASKED_WIDTH = 64, 256, 64, 64
_PHRASE = 5
"""Tokens that are read together, so that the order of words counts."""


class Words(NamedTuple):
    """Instructions: embedded (B, n, hidden), and which tokens are any (B, n) bool."""

    embedded: Tensor
    mask: Tensor


def words_of(policy: DynamicVla, batch: Batch) -> Words:
    """Return the instructions of a batch as a policy embeds them."""
    return Words(policy.vlm.embed_tokens(batch.token_ids), batch.token_mask)


class HelperLosses(NamedTuple):
    """Mean losses: of the object's state, of the cell in the picture, of the place within it."""

    state: Tensor
    spot: Tensor
    place: Tensor


class Helpers(nn.Module):
    """Reads the object's position and velocity off tokens and features, and its place off maps.

    Args:
        seen: of any one observation, for the widths.
        words: of any one instruction, for the width.
        cache: of the same prefix, for the widths.
        state_width: of the normalised, padded states, which are read beside the tokens.
        mean / std: (6,) of the object's state [m, m/s].
        picture: its width and height [pixels].
        frames: of each camera in an observation.
    """

    def __init__(
        self,
        seen: Seen,
        words: Words,
        cache: list[KeyValue],
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
        self.phrases = nn.Conv1d(
            words.embedded.shape[-1], _ASKED_WIDTH, _PHRASE, padding=_PHRASE // 2
        )
        self.hidden = nn.Linear(seen.tokens[0].numel() + state_width, _READ_WIDTH)
        self.gate = _silent(_READ_WIDTH)
        self.out = nn.Linear(_READ_WIDTH, 6)
        pointing = seen.stages[:SPOT_STAGES]
        self.spots = nn.ModuleList(nn.Linear(len(stage), 1) for stage in pointing)
        self.asked = nn.ModuleList(_silent(len(stage)) for stage in pointing)
        self.early = nn.Linear(pointing[-1].numel() // len(seen.tokens), _EARLY_WIDTH)
        self.early_gate = _silent(_EARLY_WIDTH)
        self.early_out = nn.Linear(_EARLY_WIDTH, 6)
        self.places = nn.ModuleList(
            nn.ModuleList(_place_head(len(stage)) for _ in range(frames))
            for stage in pointing[:PLACE_STAGES]
        )
        self.told = nn.Sequential(
            nn.Linear(_last_values(cache).shape[1], _READ_WIDTH),
            nn.GELU(),
            nn.Linear(_READ_WIDTH, 6),
        )

    def _read(self, words: Words) -> Tensor:
        """Return what instructions ask for (B, 64): of each feature of a phrase the largest."""
        mask = words.mask[:, None]
        phrases = F.gelu(self.phrases(words.embedded.detach().movedim(1, 2) * mask))
        return phrases.masked_fill(~mask, -1.0).amax(dim=2)

    def _state(self, seen: Seen, state: Tensor, asked: Tensor) -> Tensor:
        """Return the object's state (B, 6), normalised, as tokens and state (B, S) tell it."""
        read = torch.cat([seen.tokens.flatten(1), state], dim=1)
        answer: Tensor = self.out(F.gelu(self.hidden(read)) * (1.0 + self.gate(asked)))
        return answer

    def answers(self, seen: Seen, state: Tensor, words: Words) -> Tensor:
        """Return the object's positions and velocities (B, 6) [m, m/s] as they are read."""
        return self._in_metres(self._state(seen, state, self._read(words)))

    def understood(self, cache: list[KeyValue]) -> Tensor:
        """Return the same (B, 6) as the language model's last token tells it to the expert."""
        return self._in_metres(self.told(_last_values(cache)))

    def _in_metres(self, answer: Tensor) -> Tensor:
        return answer * self.get_buffer("std") + self.get_buffer("mean")

    def told_loss(self, cache: list[KeyValue], object_state: Tensor) -> Tensor:
        """Return the loss of what the language model understood, of (B, 6) [m, m/s]."""
        return _known_l1(self.told(_last_values(cache)), self._normalised(object_state))

    def _normalised(self, object_state: Tensor) -> Tensor:
        return (object_state - self.get_buffer("mean")) / self.get_buffer("std")

    def losses(
        self, seen: Seen, state: Tensor, words: Words, object_state: Tensor, spots: Tensor
    ) -> HelperLosses:
        """Return the losses; what is not known, or not in view, teaches nothing.

        Args:
            seen: of B observations with N cameras.
            state: (B, S), normalised and padded.
            words: of their instructions.
            object_state: (B, 6) [m, m/s].
            spots: (B, N, n_obs, 2) from the left and the top, in [0, 1] where in view.
        """
        truth, asked = self._normalised(object_state), self._read(words)
        features = seen.stages[SPOT_STAGES - 1].movedim(0, -1).reshape(len(truth), -1)
        early = self.early_out(F.gelu(self.early(features)) * (1.0 + self.early_gate(asked)))
        both = _known_l1(self._state(seen, state, asked), truth) + _known_l1(early, truth)
        frames = spots.flatten(0, 1)
        flat, shown = frames[:, -1], in_view(frames[:, -1])
        spot = truth.new_zeros(())
        if shown.any():
            each = asked.repeat_interleave(spots.shape[1], dim=0)[shown]
            for head, query, stage in zip(self.spots, self.asked, seen.stages, strict=False):
                features = stage.movedim(0, -1)[shown]
                logits = head(features).squeeze(-1)
                logits = logits + torch.einsum("nhwc,nc->nhw", features, query(each))
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


def _silent(features: int) -> nn.Linear:
    """Return a layer that reads what is asked for, and says nothing of it to begin with."""
    layer = nn.Linear(_ASKED_WIDTH, features)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def _last_values(cache: list[KeyValue]) -> Tensor:
    """Return the values (B, V) of all layers at the last token, which has seen all others."""
    return torch.cat([values[:, -1].flatten(1) for _, values in cache], dim=1)


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
