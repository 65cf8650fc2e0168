"""Seams of an exact flow under the three modes, and the numbers that say so."""

from __future__ import annotations

import numpy as np
import pytest

from dvla.benchmarks.dom.seams import PlanRecorder, jerk_m_s3
from dvla.benchmarks.dom.seeded import SeededPolicy
from dvla.benchmarks.dom.smooth_flow import MIDDLE_M, SPREAD_M, SmoothFlow
from dvla.runtime.events import ActionInForce
from dvla.runtime.guide import weights
from dvla.runtime.observation import Observation
from dvla.runtime.oracle.policy import OraclePolicy
from dvla.runtime.policy_api import takes_guide
from dvla.runtime.pose import setpoints_from_actions
from dvla.runtime.timeline import empty_timeline, merge

T_NS = 40_000_000
HOME = np.array([[*MIDDLE_M, np.pi, 0.0, 0.1]] * 2, np.float32)


def see(state: np.ndarray = HOME) -> Observation:
    return Observation(images={}, state=state, instruction="")


def test_the_jerk_of_a_cubic_is_its_third_derivative() -> None:
    times_s = np.array([0.0, 0.03, 0.08, 0.12])
    positions = np.stack([2.0 * times_s**3 - times_s**2, 5.0 * times_s, np.ones(4)], axis=1)
    assert jerk_m_s3(times_s, positions) == pytest.approx(12.0)


def test_the_recorder_tells_seams_from_the_inside_of_chunks() -> None:
    def chunk(offset: float) -> np.ndarray:
        actions = np.zeros((8, 7))
        actions[:, 0] = offset + 0.01 * np.arange(8)
        return setpoints_from_actions(actions)

    recorder = PlanRecorder()
    first = merge(empty_timeline(T_NS), chunk(0.0), tau_ns=0, takeover_ns=0, sequence=0, t_obs_ns=0)
    both = merge(
        first, chunk(0.05), tau_ns=4 * T_NS, takeover_ns=4 * T_NS, sequence=1, t_obs_ns=4 * T_NS
    )
    recorder.take(first)
    recorder.take(both)
    events = [
        ActionInForce(t_ns=int(t), sequence=int(s), generation=0, index=int(i), t_obs_ns=0)
        for t, s, i in zip(both.in_force_ns, both.sequences, both.indices, strict=True)
    ]
    samples = recorder.samples(list(events))
    assert len(samples.seam_jerk_m_s3) == 3
    assert len(samples.chunk_jerk_m_s3) == 1 + 5
    assert max(samples.chunk_jerk_m_s3) == pytest.approx(0.0, abs=1e-6)
    # The plan is 10 mm off its line from the fourth action on.
    assert max(samples.seam_jerk_m_s3) == pytest.approx(2 * 0.01 / 0.04**3)


def test_the_flow_gives_the_chunks_that_it_is_made_of() -> None:
    policy = SmoothFlow()
    ends = np.array([policy.predict(see(), seed=seed).actions[-1, :3] for seed in range(300)])
    reached = 1.0 - np.exp(-0.8 / 0.4)
    np.testing.assert_allclose(ends.mean(axis=0), MIDDLE_M, atol=4 * SPREAD_M / 300**0.5)
    np.testing.assert_allclose(ends.std(axis=0), reached * SPREAD_M, rtol=0.2)
    chunk = policy.predict(see(), seed=1).actions
    assert np.abs(np.diff(chunk[:, :3], axis=0)).max() < 0.02
    np.testing.assert_array_equal(chunk, policy.predict(see(), seed=1).actions)


def test_a_guided_chunk_begins_as_the_previous_one_and_goes_on_with_it() -> None:
    policy = SmoothFlow()
    previous = policy.predict(see(), seed=1).actions
    later = HOME + np.array([0.01, -0.01, 0.005, 0.0, 0.02, 2 * np.pi], np.float32)
    weight = weights(8, 16, 20).astype(np.float32)
    free = policy.predict(see(later), seed=2).actions
    guided = policy.predict(see(later), seed=2, prev_actions=previous, prev_weight=weight).actions
    np.testing.assert_allclose(guided[:8, :3], previous[:8, :3], atol=1e-5)
    turns = (guided[:8, 5] - previous[:8, 5]) / (2 * np.pi)
    np.testing.assert_allclose(turns, 1.0, atol=1e-5)
    apart = [np.linalg.norm(chunk[8:, :3] - previous[8:, :3], axis=1) for chunk in (guided, free)]
    assert apart[0][0] < 0.2 * apart[1][0]
    assert (apart[0] < apart[1]).all()


def test_a_seeded_policy_repeats_an_episode_and_no_inference() -> None:
    def chunks(seed: int) -> list[np.ndarray]:
        policy = SeededPolicy(SmoothFlow(), seed)
        return [policy.predict(see()).actions for _ in range(2)]

    first, again, other = chunks(1), chunks(1), chunks(2)
    np.testing.assert_array_equal(first, again)
    assert np.abs(first[0] - first[1]).max() > 1e-3 < np.abs(first[0] - other[0]).max()


def test_only_policies_that_take_a_guide_are_given_one() -> None:
    assert takes_guide(SmoothFlow()) and takes_guide(SeededPolicy(SmoothFlow(), 0))
    assert not takes_guide(OraclePolicy())


def test_rtc_crosses_seams_as_smoothly_as_the_inside_of_chunks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("mujoco")
    pytest.importorskip("mujoco")
    pytest.importorskip("dvla.bindings.servo_planner", reason="bindings are not built")
    from dvla.benchmarks.dom.episode import ClosedLoop
    from dvla.benchmarks.dom.latency import Latency
    from dvla.benchmarks.dom.seam_modes import MODES, run_mode

    whole = ClosedLoop.run
    monkeypatch.setattr(ClosedLoop, "run", lambda loop: whole(loop, max_s=6.0))

    latency = Latency(median_ms=200, spread=0.1)
    seeds = range(20_000, 20_001)
    switch, blend, rtc, newest = (run_mode(mode, seeds, latency, None) for mode in MODES)
    assert rtc.seam_jerk_m_s3.p50 < 0.5 * blend.seam_jerk_m_s3.p50
    assert blend.seam_jerk_m_s3.p50 < switch.seam_jerk_m_s3.p50
    assert rtc.seam_m.p95 < 0.3 * switch.seam_m.p95
    assert newest.seam_jerk_m_s3.p50 < blend.seam_jerk_m_s3.p50
    assert newest.seam_m.p95 < 0.3 * switch.seam_m.p95
    assert newest.path_m > rtc.path_m, "the arm changes its mind more often"
    assert rtc.underruns == 0
