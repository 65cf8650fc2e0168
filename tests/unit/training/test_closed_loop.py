"""Success in closed loop while a policy is trained: a good policy's, a bad one's, wrong wishes."""

from __future__ import annotations

from pathlib import Path

import pytest
from training_data import made_up_dataset

from dvla.engines.errors import UsageError
from dvla.runtime.errors import ConfigError
from dvla.training.closed_loop import PlayOptions, play
from dvla.training.options import Curve, TrainOptions
from dvla.training.session import train

NANO = Path(__file__).resolve().parents[3] / "policies" / "nano"
BALLS = PlayOptions(every=2, trials=4, task="pick up the ball")


@pytest.mark.slow
def test_a_training_tells_how_often_its_policy_catches(tmp_path: Path) -> None:
    """Begun from a policy that catches, and not moved from it; the network's noise is seeded."""
    data = made_up_dataset(tmp_path / "episodes")
    options = TrainOptions(steps=2, batch=4, draws=1, save_every=1, lr=1e-12, held_out=2)
    curves: list[Curve] = []
    out = tmp_path / "out"
    train("nano", NANO, [data], out, options, resume=False, report=curves.append, play=BALLS)
    assert [curve.trials for curve in curves] == [0, 4]
    none, some = (curve.successes for curve in curves)
    assert none is None and some is not None and some >= 2
    late = PlayOptions(trials=1, task="pick up the ball", latency_ms=2000.0)
    assert play(out, "franka", late) == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (PlayOptions(trials=0), "--play-trials"),
        (PlayOptions(trials=20_000), "--play-trials"),
        (PlayOptions(every=-1), "--play-every"),
        (PlayOptions(latency_ms=-1.0), "--play-latency"),
        (PlayOptions(latency_ms=float("nan")), "--play-latency"),
        (PlayOptions(task="pick up the spoon"), "spoon"),
        (PlayOptions(task="place", scenes="plain"), "plain"),
    ],
)
def test_what_cannot_be_played_is_refused(options: PlayOptions, words: str) -> None:
    with pytest.raises((UsageError, ConfigError), match=words):
        options.check()
