"""The closed loop under the virtual clock, through the classes that drive real arms."""

import math
import sys
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from installed_policies import install_policies

from dvla.benchmarks import cli
from dvla.benchmarks.dom.campaign import CampaignReport, Cell, run_campaign
from dvla.benchmarks.dom.episode import ClosedLoop, run_episode
from dvla.benchmarks.dom.latency import Latency
from dvla.benchmarks.dom.observing import frames_kept
from dvla.benchmarks.dom.result import CellConfig, wilson_interval
from dvla.benchmarks.dom.seeded import seeded
from dvla.benchmarks.dom.worker import open_policy, world_of
from dvla.runtime.config import SchedulerConfig
from dvla.runtime.errors import ConfigError, StaleObservation
from dvla.runtime.oracle.policy import OraclePolicy
from dvla.runtime.policy_api import WrappedPolicy
from dvla.runtime.twin.world import TwinWorld

pytest.importorskip("mujoco")
pytest.importorskip("dvla.bindings.servo_planner", reason="bindings are not built")

RECORDED = Path(__file__).parents[3] / "benchmarks/results/ablation/200ms-ci-laas.json"
STREAMING = CellConfig(latency=Latency(median_ms=200))


@pytest.fixture(scope="module")
def world():
    return TwinWorld()


def test_the_oracle_catches_moving_objects_with_200_ms_of_latency(world):
    results = [run_episode(STREAMING, OraclePolicy(), world, seed) for seed in range(6)]
    assert sum(result.success for result in results) >= 4
    assert sum(r.rejected for r in results) <= 0.05 * sum(r.accepted for r in results)
    for result in results:
        # One chunk every 200 ms, whose first five of twenty actions are stale when it arrives.
        assert result.inferences == pytest.approx(result.completion_s / 0.2, abs=3)
        assert 0.2 < result.observation_age_p50_s < 0.45


def test_the_frankas_episodes_are_those_of_the_recorded_figures(world):
    recorded = msgspec.json.decode(RECORDED.read_bytes(), type=CampaignReport)
    then = recorded.episodes[0]
    now = run_episode(recorded.cell.config, OraclePolicy(), world, then.seed)
    # Another processor's libm may round the last digits otherwise.
    for name in ("path_m", "seam_max_m", "tracking_max_m"):
        assert getattr(now, name) == pytest.approx(getattr(then, name), abs=2e-3)
    assert (now.outcome, now.inferences, now.actions_stale) == (
        then.outcome, then.inferences, then.actions_stale
    )  # fmt: skip
    assert now.completion_s == pytest.approx(then.completion_s, abs=0.02)


def test_the_piper_catches_within_the_limits_of_the_real_arm():
    config = CellConfig(robot="piper", latency=Latency(median_ms=200))
    result = run_episode(config, OraclePolicy(), world_of(config), 1)
    assert result.outcome == "success" and not result.rejected


def test_the_same_seed_gives_the_same_result_whatever_ran_before():
    fresh = run_episode(STREAMING, OraclePolicy(), TwinWorld(), 11)
    used_world = TwinWorld()
    run_episode(STREAMING, OraclePolicy(), used_world, 12)
    again = run_episode(STREAMING, OraclePolicy(), used_world, 11)
    assert msgspec.json.encode(fresh) == msgspec.json.encode(again)


def test_the_switches_change_what_happens(world):
    results = {}
    for ci in (True, False):
        for laas in (True, False):
            config = CellConfig(
                latency=Latency(median_ms=200), scheduler=SchedulerConfig(ci=ci, laas=laas)
            )
            results[ci, laas] = run_episode(config, OraclePolicy(), world, 2)
    assert results[True, True].inferences > 2 * results[False, False].inferences / (
        results[False, False].completion_s / results[True, True].completion_s
    )
    assert results[True, False].actions_stale == 0 == results[False, False].actions_stale
    assert results[True, True].actions_stale > 0
    assert results[False, False].underruns > 0 == results[True, True].underruns


def test_latency_spreads_around_its_median_and_repeats():
    import numpy as np

    latency = Latency(median_ms=200, spread=0.3)
    draws = [latency.draw_ns(np.random.default_rng(seed)) for seed in range(400)]
    assert np.median(draws) == pytest.approx(200e6, rel=0.1)
    assert draws[7] == latency.draw_ns(np.random.default_rng(7))
    assert Latency(median_ms=80).draw_ns(np.random.default_rng(1)) == 80_000_000


def test_wilson_interval_of_known_counts():
    low, high = wilson_interval(80, 100)
    assert (low, high) == pytest.approx((0.7112, 0.8666), abs=1e-4)
    low, high = wilson_interval(100, 100)
    assert low == pytest.approx(0.9630, abs=1e-4) and high == pytest.approx(1.0)
    assert math.isclose(sum(wilson_interval(5, 10)), 1.0)


def test_a_campaign_goes_on_where_it_was_killed(tmp_path):
    cell = Cell(config=CellConfig(latency=Latency(median_ms=0)), first_seed=2, trials=2)
    out, seen = tmp_path / "cell.json", []
    report = run_campaign(cell, out, workers=1, command="-", progress=seen.append)
    assert [episode.seed for episode in report.episodes] == [2, 3] == [r.seed for r in seen]
    assert msgspec.json.decode(out.read_bytes(), type=CampaignReport) == report
    partial = out.with_suffix(".partial.jsonl")
    assert not partial.exists()
    lines = [msgspec.json.encode(cell), *(msgspec.json.encode(r) for r in seen)]
    partial.write_bytes(b"\n".join(lines) + b"\n" + lines[-1][:40])
    again = run_campaign(cell, out, workers=1, command="-", progress=seen.append)
    assert len(seen) == 2 and again.episodes == report.episodes
    partial.write_bytes(b"\n".join([lines[0], lines[1][:40], lines[2], b""]))  # by a full disk
    again = run_campaign(cell, out, workers=1, command="-", progress=seen.append)
    assert [result.seed for result in seen] == [2, 3, 2] and again.episodes == report.episodes
    partial.write_bytes(lines[0] + b"\n")
    other = Cell(config=STREAMING, first_seed=2, trials=2)
    with pytest.raises(ConfigError, match="another latency"):
        run_campaign(other, out, workers=1, command="-", progress=seen.append)


def test_wrong_flags_are_one_paragraph(monkeypatch, capsys):
    for flags, words in (
        (["--robot", "toaster"], ("toaster", "franka, piper")),
        (["--robot", "replay"], ("replay has no digital twin", "franka, piper")),
        (["--trials", "0"], ("--trials", "1 to")),
        (["--first-seed", "-1"], ("--first-seed", "0 to")),
        (["--out", "page.html"], ("page.html", "ends in .json", "--out page.json")),
        (["--out", "tests"], ("tests, a folder",)),
        (["--out", "README.md", "--dims", "motion"], ("README.md, a file",)),
        (["--latency", "-1"], ("--latency", "10000 ms")),
        (["--policy", "no.bundle"], ("no.bundle", "expert, oracle")),
        (["--policy", "expert", "--latency", "90"], ("never late",)),
        (["--schedule", "rtc", "--no-ci"], ("--schedule rtc sets",)),
        (["--schedule", "rtc", "--guide", "aged"], ("--guide aged", "--seam rtc")),
        (["--seam", "blend", "--guide", "aged"], ("--guide aged", "--seam rtc")),
        (["--seam", "rtc"], ("--seam rtc", "the oracle samples nothing")),
        (["--noise-scale", "0.5"], ("--noise-scale", "bundle's network", "oracle")),
        (["--policy", "policies/nano.bundle", "--noise-scale", "3"], ("--noise-scale", "0 to 2")),
        (["--policy", "blurred-oracle:speed=3"], ("blurred-oracle:NAME=NUMBER", "velocity")),
        (["--task", "make coffee"], ("coffee", "ball, can, box")),
    ):
        monkeypatch.setattr(sys, "argv", ["dvla-bench", "dom", *flags])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        told = capsys.readouterr().err
        assert ended.value.code == 2
        assert all(word in told for word in words) and "Traceback" not in told


def test_what_the_oracle_sees_wrongly_costs_catches_and_repeats_by_seed():
    config = CellConfig(policy="blurred-oracle:position=30,velocity=200", task="pick up the ball")
    policy, render = open_policy(config)
    assert render is None
    world = world_of(config)
    seeds = range(2, 6)
    results = [run_episode(config, policy, world, seed) for seed in seeds]
    assert not any(result.success for result in results)
    assert run_episode(config, policy, world, seeds[0]) == results[0]


def test_an_installed_policy_plays_an_episode_with_pictures_of_its_size(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(install_policies(tmp_path / "site")))
    config = CellConfig(policy="seeing", latency=Latency(median_ms=40.0))
    policy, render = open_policy(config)
    assert render is not None
    result = run_episode(config, policy, world_of(config), 3, render)
    assert result.inferences > 20 and not result.success
    assert policy._policy.shapes == {(3, 48, 64, 3)}
    assert len(set(policy._policy.seeds)) == len(policy._policy.seeds)


class Looking(WrappedPolicy):
    """The oracle, that looks at its observations as a network of other sizes would."""

    def __init__(self, history_steps, period_s=0.04, chunk_size=20, width=6):
        super().__init__(OraclePolicy(control_period_s=period_s, chunk_size=chunk_size))
        self.steps, self.facts, self.seen = history_steps, SimpleNamespace(state_width=width), []

    @property
    def history_steps(self):
        return self.steps

    def predict(self, observation, noise=None, seed=None):
        self.seen.append(observation)
        return super().predict(observation, noise, seed)


@pytest.mark.parametrize(
    ("steps", "period_s", "width"), [((-8, 0), 0.04, 6), ((-2, 0), 0.1, 7), ((-8, -3, 0), 0.1, 6)]
)
def test_a_policy_observes_its_own_steps_of_its_own_period(world, steps, period_s, width):
    looking = Looking(steps, period_s, 10, width)
    config = CellConfig(latency=Latency(median_ms=100))
    loop = ClosedLoop(config, seeded(looking, 1), world, 20_000)
    first_ns = []
    loop._watch_exposure = lambda snapshot: first_ns.append(snapshot.t_ns)
    try:
        loop.run(max_s=1.6)
    finally:
        loop.close()
    for observation in looking.seen:
        assert observation.state.shape == (len(steps), width)
        # Frames are 40 ms apart, and none is older than the episode.
        wanted = [max(observation.t_obs_ns + round(step * period_s * 1e9), first_ns[0])
                  for step in steps]  # fmt: skip
        seen = [observation.t_obs_ns + round(step * period_s * 1e9) + offset for step, offset
                in zip(steps, observation.history_offset_ns, strict=True)]  # fmt: skip
        assert all(abs(a - b) <= 20_000_000 for a, b in zip(wanted, seen, strict=True))
    assert looking.seen[-1].t_obs_ns - first_ns[0] > 1_300_000_000


def test_more_frames_are_kept_only_for_a_policy_that_looks_further_back():
    assert frames_kept(OraclePolicy()) == 10 == frames_kept(Looking((-8, 0)))
    assert frames_kept(Looking((-8, 0), 0.1)) == 22


def test_an_episode_whose_policy_is_given_nothing_to_see_is_no_timeout(world):
    looking = Looking((-2, 0))
    loop = ClosedLoop(STREAMING, looking, world, 20_000)
    loop._exposures._snapshots = type(loop._exposures._snapshots)(maxlen=2)
    try:
        with pytest.raises(StaleObservation, match=r"no observation for 1000 ms.*near -80 ms"):
            loop.run()
    finally:
        loop.close()
