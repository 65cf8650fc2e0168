"""The statistics of a training: gathered in pieces, they are those of the whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from training_data import made_up_dataset

from dvla.training.dataset import Episodes
from dvla.training.statistics import Moments


@given(
    lengths=st.lists(st.integers(0, 7), min_size=1, max_size=6),
    offset=st.sampled_from([0.0, -3.0, 1e6]),
    seed=st.integers(0, 99),
)
def test_pieces_make_the_mean_and_the_deviation_of_all(
    lengths: list[int], offset: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    pieces = [rng.normal(offset, 0.5, (length, 3)) for length in lengths]
    moments = Moments(3)
    for piece in pieces:
        moments.add(piece)
    rows = np.concatenate(pieces)
    if len(rows):
        assert np.allclose(moments.mean, rows.mean(axis=0), rtol=1e-12, atol=1e-12)
        assert np.allclose(moments.deviation(0.0), rows.std(axis=0), rtol=1e-6, atol=1e-9)
    else:
        assert moments.mean == (0.0, 0.0, 0.0) and moments.deviation(0.01) == (0.01,) * 3


def test_episodes_have_the_statistics_of_their_samples(tmp_path: Path) -> None:
    """Of states with their motion, of actions relative to them, of objects where they are known."""
    folder = made_up_dataset(tmp_path / "episodes")
    unknown = max(folder.glob("*.npy"))
    steps = np.load(unknown, allow_pickle=False)
    steps["object"] = np.nan
    np.save(unknown, steps, allow_pickle=False)
    episodes = Episodes([folder], (-4, 0), state_width=12)
    found = episodes.statistics()
    now, _, states, _ = episodes.rows(np.arange(len(episodes)))
    assert states.shape == (found.steps, 12) and found.episodes == len(episodes.infos)
    relative = now["actions"].astype(np.float64)
    relative[..., :6] -= states[:, None, :6]
    known = now["object"][np.isfinite(now["object"]).all(axis=1)]
    assert 0 < len(known) < len(now)
    for rows, mean, deviation in (
        (states, found.state_mean, found.state_std),
        (relative.reshape(-1, 7), found.action_mean, found.action_std),
        (known, found.object_mean, found.object_std),
    ):
        assert np.allclose(rows.mean(axis=0, dtype=np.float64), mean, atol=1e-6)
        wanted = np.maximum(rows.std(axis=0, dtype=np.float64), 0.01)
        assert np.allclose(wanted, deviation, atol=1e-6)
