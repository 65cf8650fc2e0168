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
from dvla.training.spots import in_view, spot_loss

_YAW = 5
"""Of an action's columns, the hand's turn about the vertical."""
SPOT_STAGES = 3
"""Stages that point at the object, beside the tokens: 1/4, 1/8 and 1/16 of the picture."""
PLACE_STAGES = 2
"""Of them, those whose features tell the object's place within the cell where it is."""
_PLACE_WIDTH, _READ_WIDTH, _ASKED_WIDTH = 64, 256, 64
_PHRASE = 5
"""Tokens that are read together, so that the order of words counts."""
_TRUTHS = 8
"""Of the object: position, velocity, and the hand's turn for it as sine and cosine of twice it: a
hand turned by half a circle takes it as well."""
_PLANE = 2
"""Of a position, what says where something stands on the table."""


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


class TextLosses(NamedTuple):
    """Mean losses of what the language model understood.

    Attributes:
        told: of the object, by the last token.
        marked: of the pictures' tokens, which must say in which of them the object is.
        container: of where it stands, by the last token.
    """

    told: Tensor
    marked: Tensor
    container: Tensor


class Truth(NamedTuple):
    """What is known of the object that is meant.

    Attributes:
        state: (B, 6) position and velocity [m, m/s]; NaN where it is not known.
        spots: (B, N, n_obs, 2) from the left and the top, in [0, 1] where in view.
        yaw: (B,) of the hand at the end of the expert's chunk [rad].
        container: (B, 2) where it stands [m]; NaN where there is none.
    """

    state: Tensor
    spots: Tensor
    yaw: Tensor
    container: Tensor


def truth_of(batch: Batch) -> Truth:
    """Return what a batch knows of the object."""
    return Truth(batch.object_state, batch.spots, batch.actions[:, -1, _YAW], batch.container)


class Helpers(nn.Module):
    """Points at the object in every picture, and reads off what it points at where the object is.

    Args:
        seen: of any one observation, for the widths.
        words: of any one instruction, for the width.
        cache: of the same prefix, for the widths.
        state_width: of the normalised, padded states, which are read beside the features.
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
        self.register_buffer("mean", F.pad(mean, (0, _TRUTHS - len(mean))))
        self.register_buffer("std", F.pad(std, (0, _TRUTHS - len(std)), value=1.0))
        self.phrases = nn.Conv1d(
            words.embedded.shape[-1], _ASKED_WIDTH, _PHRASE, padding=_PHRASE // 2
        )
        maps, cameras = _maps(seen), seen.tokens.shape[1]
        self.spots = nn.ModuleList(nn.Linear(len(each), 1) for each in maps)
        self.asked = nn.ModuleList(_silent(len(each)) for each in maps)
        self.readers = nn.ModuleList(
            _reader(cameras * (len(each) + 3) + state_width) for each in maps[-2:]
        )
        self.places = nn.ModuleList(
            nn.ModuleList(_place_head(len(stage)) for _ in range(frames))
            for stage in seen.stages[:PLACE_STAGES]
        )
        self.told = _reader(_values(cache)[:, -1].shape[1])
        self.marked = nn.Linear(_values(cache).shape[2], 1)
        self.container = _reader(_values(cache)[:, -1].shape[1], _PLANE)

    def _read(self, words: Words) -> Tensor:
        """Return what instructions ask for (B, 64): of each feature of a phrase the largest."""
        mask = words.mask[:, None]
        phrases = F.gelu(self.phrases(words.embedded.detach().movedim(1, 2) * mask))
        return phrases.masked_fill(~mask, -1.0).amax(dim=2)

    def _point(self, level: int, features: Tensor, asked: Tensor) -> Tensor:
        """Return logits (B N, h, w) of the cells of a map (C, B N, h, w)."""
        cells = features.movedim(0, -1)
        query = self.asked[level](asked.repeat_interleave(len(cells) // len(asked), dim=0))
        logits: Tensor = self.spots[level](cells).squeeze(-1)
        return logits + torch.einsum("nhwc,nc->nhw", cells, query)

    def _object(self, reader: int, features: Tensor, logits: Tensor, state: Tensor) -> Tensor:
        """Return the truths (B, 8), normalised, of what logits (B N, h, w) point at in a map."""
        rows, columns = logits.shape[1:]
        shares = logits.flatten(1).softmax(dim=1)
        found = torch.einsum("np,cnp->nc", shares, features.flatten(2))
        down, across = torch.meshgrid(
            torch.linspace(-1.0, 1.0, rows), torch.linspace(-1.0, 1.0, columns), indexing="ij"
        )
        at = shares @ torch.stack([across.flatten(), down.flatten()], dim=1)
        sure = logits.flatten(1).amax(dim=1, keepdim=True).tanh()
        each = torch.cat([found, at, sure], dim=1).reshape(len(state), -1)
        answer: Tensor = self.readers[reader](torch.cat([each, state], dim=1))
        return answer

    def answers(self, seen: Seen, state: Tensor, words: Words) -> Tensor:
        """Return the object's positions and velocities (B, 6) [m, m/s] as the tokens tell them."""
        features = _maps(seen)[-1]
        logits = self._point(len(self.spots) - 1, features, self._read(words))
        return self._in_metres(self._object(-1, features, logits, state))

    def understood(self, cache: list[KeyValue]) -> Tensor:
        """Return the same (B, 6) as the language model's last token tells it to the expert."""
        return self._in_metres(self.told(_values(cache)[:, -1]))

    def understood_container(self, cache: list[KeyValue]) -> Tensor:
        """Return where the container stands (B, 2) [m] as the last token tells it."""
        answer: Tensor = self.container(_values(cache)[:, -1])
        return answer * self._on_table + self.get_buffer("mean")[:_PLANE]

    @property
    def _on_table(self) -> Tensor:
        return self.get_buffer("std")[:_PLANE]

    def _in_metres(self, answer: Tensor) -> Tensor:
        return (answer * self.get_buffer("std") + self.get_buffer("mean"))[:, :6]

    def _normalised(self, truth: Truth) -> Tensor:
        turn = torch.stack([(2.0 * truth.yaw).sin(), (2.0 * truth.yaw).cos()], dim=1)
        both = torch.cat([truth.state, turn], dim=1)
        both = torch.where(truth.state.isfinite().all(dim=1, keepdim=True), both, torch.nan)
        return (both - self.get_buffer("mean")) / self.get_buffer("std")

    def text_losses(self, cache: list[KeyValue], seen: Seen, truth: Truth) -> TextLosses:
        """Return the losses of what the language model understood, from the prefix's cache.

        Its last token must tell the expert what the helpers know and where the container stands;
        of the pictures' tokens the one where the object is must be marked.
        """
        values = _values(cache)
        told = _known_l1(self.told(values[:, -1]), self._normalised(truth))
        cameras, count = seen.tokens.shape[1:3]
        rows, columns = seen.stages[-1].shape[-2:]
        logits = self.marked(values[:, : cameras * count]).reshape(-1, rows, columns)
        marked = spot_loss(logits, truth.spots.flatten(0, 1)[:, -1])
        stands = (truth.container - self.get_buffer("mean")[:_PLANE]) / self._on_table
        known = stands.isfinite().float().mean().clamp(min=1.0 / stands.numel())
        return TextLosses(told, marked, _known_l1(self.container(values[:, -1]), stands) / known)

    def losses(self, seen: Seen, state: Tensor, words: Words, truth: Truth) -> HelperLosses:
        """Return the losses; what is not known, or not in view, teaches nothing.

        Args:
            seen: of B observations with N cameras.
            state: (B, S), normalised and padded.
            words: of their instructions.
            truth: of the objects that they mean.
        """
        wanted, asked = self._normalised(truth), self._read(words)
        frames = truth.spots.flatten(0, 1)
        maps = _maps(seen)
        both = spot = wanted.new_zeros(())
        for level, features in enumerate(maps):
            logits = self._point(level, features, asked)
            spot = spot + spot_loss(logits, frames[:, -1]) / len(maps)
            reader = level - len(maps)
            if -reader <= len(self.readers):
                answer = self._object(reader, features, logits, state)
                both = both + _known_l1(answer, wanted)
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


def _silent(features: int) -> nn.Linear:
    """Return a layer that reads what is asked for, and says nothing of it to begin with."""
    layer = nn.Linear(_ASKED_WIDTH, features)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def _maps(seen: Seen) -> list[Tensor]:
    """Return the maps (C, B N, h, w) that point: the first stages, and the tokens."""
    grid = seen.stages[-1].shape[-2:]
    tokens = seen.tokens.flatten(0, 1).movedim(2, 0)
    return [*seen.stages[:SPOT_STAGES], tokens.reshape(*tokens.shape[:2], *grid)]


def _values(cache: list[KeyValue]) -> Tensor:
    """Return the values (B, L, V) of all layers, which say what each token has seen of others."""
    return torch.cat([values.flatten(2) for _, values in cache], dim=2)


def _reader(width: int, answers: int = _TRUTHS) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, _READ_WIDTH), nn.GELU(), nn.Linear(_READ_WIDTH, answers))


def _place_head(features: int) -> nn.Module:
    return nn.Sequential(nn.Linear(features, _PLACE_WIDTH), nn.GELU(), nn.Linear(_PLACE_WIDTH, 2))


def _known_l1(answer: Tensor, truth: Tensor) -> Tensor:
    truth = torch.where(truth.isfinite(), truth, answer.detach())
    return F.smooth_l1_loss(answer, truth, beta=0.1)
