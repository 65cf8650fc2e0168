"""The helpers: a spot becomes shares of cells, and what is unknown teaches nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvla.export.model.decoder import KeyValue
from dvla.export.torch_ import F, Tensor, nn, torch
from dvla.training.dense_vision import Seen
from dvla.training.helpers import Helpers, Truth, Words
from dvla.training.spots import pointed_at

B, N, S = 3, 2, 4
SIDES = (8, 4, 2, 1, 1)
NOWHERE = torch.full((B, 2), torch.nan)
STATE = torch.linspace(-1.0, 1.0, B * S).reshape(B, S)


def seen() -> Seen:
    generator = torch.Generator().manual_seed(0)
    stages = tuple(torch.randn(4, B * N, side, side, generator=generator) for side in SIDES)
    return Seen(torch.randn(B, N, 1, 5, generator=generator), stages)


def asked(*tokens: int) -> Words:
    """One instruction for all B, of one-hot words."""
    embedded = torch.eye(6)[list(tokens)].expand(B, -1, -1)
    return Words(embedded, torch.ones(B, len(tokens), dtype=torch.bool))


def cached() -> list[KeyValue]:
    generator = torch.Generator().manual_seed(1)
    return [(torch.zeros(B, 5, 2, 3), torch.randn(B, 5, 2, 3, generator=generator))]


WORDS = asked(0, 1)


@given(x=st.floats(0, 1), y=st.floats(0, 1), rows=st.integers(1, 9), columns=st.integers(1, 9))
def test_the_mean_cell_is_the_spot(x: float, y: float, rows: int, columns: int) -> None:
    share = pointed_at(torch.tensor([[x, y]]), rows, columns).reshape(rows, columns)
    assert float(share.sum()) == pytest.approx(1.0, abs=1e-5)
    for along, at, cells in ((share.sum(0), x, columns), (share.sum(1), y, rows)):
        mean = float(along @ (torch.arange(cells) + 0.5)) / cells
        inside = min(max(at, 0.5 / cells), 1 - 0.5 / cells)
        assert mean == pytest.approx(inside, abs=1e-5)
        assert int((along > 0).sum()) <= 2


def truth(spots: Tensor, state: Tensor | None = None) -> Truth:
    known = torch.zeros(B, 6) if state is None else state
    return Truth(known, spots, torch.zeros(B), NOWHERE)


def helpers_of(look: Seen) -> Helpers:
    return Helpers(
        look, WORDS, cached(), S, torch.zeros(6), torch.ones(6), picture=(32, 32), frames=2
    )


def test_what_is_not_known_teaches_nothing() -> None:
    helpers = helpers_of(seen())
    unknown = truth(torch.full((B, N, 2, 2), torch.nan), torch.full((B, 6), torch.nan))
    losses = (
        *helpers.losses(seen(), STATE, WORDS, unknown),
        *helpers.text_losses(cached(), seen(), unknown),
    )
    sum(losses, torch.zeros(())).backward()  # type: ignore[no-untyped-call]
    assert all(loss.item() == 0.0 for loss in losses)
    assert all(p.grad is None or not p.grad.any() for p in helpers.parameters())


def test_a_spot_out_of_view_counts_for_nothing() -> None:
    helpers = helpers_of(seen())
    spots = torch.full((B, N, 2), 0.3)
    alone = spots.clone()
    alone[1:] = torch.nan
    alone[0, 1] = 1.5
    first = Seen(seen().tokens, tuple(stage[:, :1] for stage in seen().stages))
    wanted = [
        -(pointed_at(spots[0, :1], side, side) * chances).sum()
        for side, head, stage in zip(SIDES, helpers.spots[:3], first.stages, strict=False)
        for chances in [head(stage.movedim(0, -1)).flatten(1).log_softmax(1)]
    ]  # the tokens' map has one cell: nothing to be wrong about
    older = torch.full_like(alone, torch.nan)
    both = torch.stack([older, alone], dim=2)
    spot = helpers.losses(seen(), STATE, WORDS, truth(both)).spot
    assert spot.item() == pytest.approx(torch.stack(wanted).sum().item() / 4, rel=1e-5)


def test_they_learn_to_point() -> None:
    """A bright cell is found, by its brightness, after some steps."""
    torch.manual_seed(0)
    cells = torch.randint(0, 64, (B * N,))
    maps = torch.zeros(4, B * N, 64)
    maps[1].scatter_(1, cells[:, None], 1.0)
    stages = (maps.reshape(4, B * N, 8, 8), *seen().stages[1:])
    look = Seen(seen().tokens, stages)
    spots = (torch.stack([cells % 8, cells // 8], dim=1) + 0.5) / 8
    helpers = helpers_of(look)
    optimiser = torch.optim.Adam(helpers.parameters(), lr=0.3)
    for _ in range(60):
        known = spots.reshape(B, N, 1, 2).expand(B, N, 2, 2)
        loss = helpers.losses(look, STATE, WORDS, truth(known)).spot
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    head = helpers.spots[0]
    assert isinstance(head, nn.Linear)
    found = head(stages[0].movedim(0, -1)).flatten(1).argmax(dim=1)
    assert torch.equal(found, cells)


def test_they_learn_the_place_within_a_cell_of_each_frame() -> None:
    """Features that tell a place within a cell: one of the newest frame, one of the older."""
    torch.manual_seed(0)
    within = torch.rand(2, B * N, 2)
    cell = torch.tensor([2, 1])
    stages = [torch.zeros(4, B * N, side, side) for side in SIDES]
    stages[0][:, :, 1, 2] = torch.cat([within[0].T, within[1].T])
    spots = ((cell + within) / 8).movedim(0, 1).reshape(B, N, 2, 2)
    look = Seen(seen().tokens, tuple(stages))
    helpers = helpers_of(look)
    optimiser = torch.optim.Adam(helpers.parameters(), lr=0.01)
    losses = []
    for _ in range(200):
        place = helpers.losses(look, STATE, WORDS, truth(spots)).place
        optimiser.zero_grad()
        place.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(place.item())
    assert losses[-1] < 0.6 * losses[0]  # of the second stage nothing can be told
    heads = helpers.places[0]
    assert isinstance(heads, nn.ModuleList)
    told = heads[1](stages[0][:, :, 1, 2].T)  # pixels of 4 a cell, from its middle
    torch.testing.assert_close(told, (within[1] - 0.5) * 4, atol=0.4, rtol=0)


def test_among_two_things_they_learn_to_point_at_the_one_that_is_asked_for() -> None:
    """Two bright cells in every picture; only the order of the words says which is meant."""
    torch.manual_seed(0)
    maps = torch.zeros(4, B * N, 64)
    maps[1, :, 10], maps[2, :, 53] = 1.0, 1.0
    look = Seen(seen().tokens, (maps.reshape(4, B * N, 8, 8), *seen().stages[1:]))
    helpers = helpers_of(look)
    optimiser = torch.optim.Adam(helpers.parameters(), lr=0.1)
    asks = [(asked(2, 3, 4), 10), (asked(4, 3, 2), 53)]
    for _ in range(80):
        losses = []
        for words, cell in asks:
            spot = (torch.tensor([cell % 8, cell // 8]) + 0.5) / 8
            known = spot.expand(B, N, 2, 2)
            losses.append(helpers.losses(look, STATE, words, truth(known)).spot)
        optimiser.zero_grad()
        sum(losses, torch.zeros(())).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    first = torch.tensor([loss.item() for loss in losses])
    assert (
        first < 2.6
    ).all()  # log 2 = 0.69 more where it points at both; the other stages cannot tell
    queries = [helpers.asked[0](helpers._read(words)) for words, _ in asks]
    assert (queries[0][:, 1] > queries[0][:, 2]).all()
    assert (queries[1][:, 2] > queries[1][:, 1]).all()


def test_padding_of_an_instruction_says_nothing() -> None:
    helpers = helpers_of(seen())
    short = asked(0, 1, 2)
    padded = Words(
        torch.cat([short.embedded, torch.full((B, 3, 6), 9.0)], dim=1),
        torch.tensor([True] * 3 + [False] * 3).expand(B, -1),
    )
    torch.testing.assert_close(helpers._read(short), helpers._read(padded))


def test_what_is_pointed_at_is_read() -> None:
    """Each observation has its object in another cell of each map, whose features say all of it."""
    torch.manual_seed(0)
    wanted = torch.randn(B, 6)
    maps = torch.randn(8, B * N, 4, 4)
    cells = torch.tensor([3, 9, 6, 12, 1, 14])  # of B observations, N cameras each
    for index, cell in enumerate(cells):
        maps[:6, index].flatten(1)[:, cell] = wanted[index // N]
        maps[6, index].flatten()[cell] = 4.0
    tokens = maps.flatten(2).permute(1, 2, 0).reshape(B, N, 16, 8)
    look = Seen(tokens, (*seen().stages[:2], maps, maps))
    helpers = helpers_of(look)
    spots = (torch.stack([cells % 4, cells // 4], dim=1) + 0.5) / 4
    known = truth(spots.reshape(B, N, 1, 2).expand(B, N, 2, 2), wanted)
    optimiser = torch.optim.Adam(helpers.parameters(), lr=0.01)
    for _ in range(200):
        losses = helpers.losses(look, STATE, WORDS, known)
        optimiser.zero_grad()
        (losses.state + losses.spot).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    torch.testing.assert_close(helpers.answers(look, STATE, WORDS), wanted, atol=0.2, rtol=0)
    elsewhere = tokens.clone()
    flat = elsewhere.flatten(0, 1)
    for index, cell in enumerate(cells):
        flat[index, (cell + 5) % 16, :6] += 3.0
    moved = helpers.answers(Seen(elsewhere, look.stages), STATE, WORDS)
    assert (moved - wanted).abs().max() < 0.5, "what is not pointed at says little"


def test_a_hand_turned_by_half_a_circle_is_no_other_answer() -> None:
    helpers = helpers_of(seen())
    spots, yaw = torch.full((B, N, 2, 2), torch.nan), torch.tensor([0.3, -1.0, 2.0])
    once, twice = (
        helpers.losses(seen(), STATE, WORDS, truth(spots)._replace(yaw=turned)).state.item()
        for turned in (yaw, yaw + torch.pi)
    )
    assert once == pytest.approx(twice, rel=1e-4)
    other = helpers.losses(seen(), STATE, WORDS, truth(spots)._replace(yaw=yaw + 0.7)).state
    assert other.item() != pytest.approx(once, rel=1e-3)


def test_what_the_last_token_tells_is_read() -> None:
    torch.manual_seed(0)
    helpers, cache = helpers_of(seen()), cached()
    known = truth(torch.full((B, N, 2, 2), torch.nan), torch.randn(B, 6))
    optimiser = torch.optim.Adam(helpers.told.parameters(), lr=0.03)
    for _ in range(150):
        loss = helpers.text_losses(cache, seen(), known).told
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    torch.testing.assert_close(helpers.understood(cache), known.state, atol=0.1, rtol=0)
    changed = [(keys, values.clone()) for keys, values in cache]
    changed[0][1][:, :-1] = 0.0  # the tokens before the last
    assert torch.equal(helpers.understood(changed), helpers.understood(cache))


def test_the_last_token_tells_where_the_container_stands_of_those_samples_that_have_one() -> None:
    torch.manual_seed(0)
    helpers, cache = helpers_of(seen()), cached()
    nowhere = truth(torch.full((B, N, 2, 2), torch.nan), torch.full((B, 6), torch.nan))
    stands = torch.tensor([[0.4, -0.2], [0.6, 0.1], [torch.nan, torch.nan]])
    only_first = nowhere._replace(container=stands[[0, 2, 2]])
    off = helpers.understood_container(cache)[0] - stands[0]
    wanted = F.smooth_l1_loss(off, torch.zeros(2), beta=0.1)
    torch.testing.assert_close(helpers.text_losses(cache, seen(), only_first).container, wanted)
    optimiser = torch.optim.Adam(helpers.container.parameters(), lr=0.03)
    for _ in range(150):
        losses = helpers.text_losses(cache, seen(), nowhere._replace(container=stands))
        optimiser.zero_grad()
        losses.container.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    told = helpers.understood_container(cache)
    torch.testing.assert_close(told[:2], stands[:2], atol=0.03, rtol=0)


def test_the_token_of_the_picture_where_the_object_is_gets_marked() -> None:
    torch.manual_seed(0)
    tokens, stage = torch.zeros(B, N, 6, 5), torch.zeros(4, B * N, 2, 3)
    look = Seen(tokens, (*seen().stages[:3], stage))
    values = torch.zeros(B, N * 6 + 3, 1, 4)
    cells = torch.randint(0, 6, (B, N))
    for camera in range(N):
        values[torch.arange(B), camera * 6 + cells[:, camera], 0, 2] = 1.0
    cache = [(torch.zeros_like(values), values)]
    helpers = Helpers(
        look, WORDS, cache, S, torch.zeros(6), torch.ones(6), picture=(32, 32), frames=2
    )
    spots = (torch.stack([cells % 3, cells // 3], dim=2) + 0.5) / torch.tensor([3, 2])
    known = truth(spots[:, :, None].expand(B, N, 2, 2))
    optimiser = torch.optim.Adam(helpers.marked.parameters(), lr=0.3)
    for _ in range(60):
        loss = helpers.text_losses(cache, look, known).marked
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    assert loss.item() < 0.05
    wrong = helpers.text_losses(cache, look, truth(1.0 - known.spots)).marked
    assert wrong.item() > 1.0
