"""Temporal ensembling: the plan is the weighted mean of every chunk that covers an instant."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mutants import mutant
from scheduler_scenario import CHUNK_SIZE, GRID_NS, PERIOD_NS, Log, chunk_for

from dvla.runtime import ensemble as ensemble_module
from dvla.runtime import scheduler as scheduler_module
from dvla.runtime.chunk import Chunk
from dvla.runtime.config import SchedulerConfig
from dvla.runtime.gripper import GripperLatch
from dvla.runtime.limits import GripperLimits
from dvla.runtime.pose import setpoints_from_actions
from dvla.runtime.scheduler import Scheduler
from dvla.runtime.timeline import Timeline

H, T = CHUNK_SIZE, PERIOD_NS


def play(
    config: SchedulerConfig, lives: list[tuple[int, int]], actions: dict[int, np.ndarray]
) -> tuple[list[Timeline], Scheduler]:
    """Deliver chunks one after another.

    Args:
        config: the switches.
        lives: (age, gap) of each: observed so long before it arrives, so long after the one before.
        actions: (H, 7) by number.
    """
    published: list[Timeline] = []
    scheduler = Scheduler(
        config, chunk_size=H, control_period_ns=T, sink=Log(), publish=published.append
    )
    now_ns = 100 * GRID_NS
    for number, (age_ns, gap_ns) in enumerate(lives):
        now_ns += gap_ns
        ticket = scheduler.begin_inference(now_ns, now_ns - age_ns)
        chunk = chunk_for(ticket)
        given_chunk = Chunk(
            actions=actions[number],
            t_obs_ns=chunk.t_obs_ns,
            inference_s=0.0,
            control_period_s=chunk.control_period_s,
            sequence=chunk.sequence,
            generation=chunk.generation,
        )
        assert scheduler.on_chunk(given_chunk, now_ns) is None
        scheduler.advance(now_ns)
    return published, scheduler


# Gaps shorter than what a chunk lasts, so that the plan never runs dry; ages that rise less than
# the gaps, so that observations come in order.
LIVES = st.lists(st.tuples(st.integers(0, 2), st.integers(4, 8)), min_size=1, max_size=7).map(
    lambda rows: [(age * GRID_NS, gap * GRID_NS) for age, gap in rows]
)


def random_actions(seed: int, count: int) -> dict[int, np.ndarray]:
    rng = np.random.default_rng(seed)
    found = {}
    for number in range(count):
        actions = rng.normal(0.0, 0.3, (H, 7))
        # Whole turns turn the sign of a quaternion, and mean the same rotation.
        actions[:, 3] += np.pi + 2.0 * np.pi * rng.integers(0, 2)
        actions[:, 6] = rng.choice((-1.0, -0.3, 0.05, 1.0), H)
        found[number] = actions.astype(np.float32)
    return found


def by_the_letter(
    members: list[tuple[int, np.ndarray]], t_ns: int, decay: float
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return position, quaternion and gripper at an instant, one chunk after another."""
    heard = [(tau, s) for tau, s in members if tau <= t_ns <= tau + (H - 1) * T]
    position, turn, gripper, total = np.zeros(3), np.zeros(4), 0.0, 0.0
    for rank, (tau, setpoints) in enumerate(heard):
        weight = math.exp(-decay * rank)
        index, rest = divmod(t_ns - tau, T)
        after = min(index + 1, H - 1)
        share = rest / T
        position += weight * ((1 - share) * setpoints[index, :3] + share * setpoints[after, :3])
        a, b = setpoints[index, 3:7], setpoints[after, 3:7]
        b = b if a @ b > 0 else -b
        angle = math.acos(min(1.0, a @ b))
        if angle > 1e-9:
            between = math.sin((1 - share) * angle) * a + math.sin(share * angle) * b
        else:
            between = a
        between = between / np.linalg.norm(between)
        turn += weight * (between if between @ heard[-1][1][0, 3:7] > 0 else -between)
        gripper += weight * setpoints[index, 7]
        total += weight
    return position / total, turn / np.linalg.norm(turn), gripper / total


def law_the_plan_is_the_weighted_mean(
    lives: list[tuple[int, int]], decay: float, seed: int
) -> None:
    actions = random_actions(seed, len(lives))
    published, _ = play(SchedulerConfig(seam="ensemble", ensemble_decay=decay), lives, actions)
    members: list[tuple[int, np.ndarray]] = []
    for number, timeline in enumerate(published):
        mine = timeline.sequences == number
        tau_ns = int(timeline.due_ns[mine][0] - timeline.indices[mine][0] * T)
        members.append((tau_ns, setpoints_from_actions(actions[number])))
        for due_ns, setpoint in zip(timeline.due_ns[mine], timeline.setpoints[mine], strict=True):
            position, turn, gripper = by_the_letter(members, int(due_ns), decay)
            assert setpoint[:3] == pytest.approx(position, abs=1e-6)
            assert abs(setpoint[3:7] @ turn) == pytest.approx(1.0, abs=1e-6)
            assert setpoint[7] == pytest.approx(gripper, abs=1e-6)


@settings(deadline=None, max_examples=60)
@given(LIVES, st.sampled_from([0.0, 0.01, 0.7]), st.integers(0, 1000))
def test_the_plan_is_the_weighted_mean_of_what_covers_an_instant(
    lives: list[tuple[int, int]], decay: float, seed: int
) -> None:
    law_the_plan_is_the_weighted_mean(lives, decay, seed)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("rank += heard", "rank -= heard"),  # the newest would count most
        ("np.exp(-self._decay * rank)", "np.ones(len(t_ns))"),
        ("(t_ns >= member.tau_ns) & (t_ns <= self._end_ns(member))", "t_ns > 0"),
        ("said[opposite, 3:7] *= -1.0", "pass"),
        ("total /= weights[:, None]", "total[:, :7] /= weights[:, None]"),
        ("if self._end_ns(m) >= due_ns", ""),  # harmless: it only forgets who cannot speak
    ],
)
def test_the_law_notices_mutants(old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler_module, "Ensemble", mutant(ensemble_module, old, new).Ensemble)
    lives = [(GRID_NS, 6 * GRID_NS)] * 6
    if not new:
        law_the_plan_is_the_weighted_mean(lives, 0.7, 3)
        return
    with pytest.raises(AssertionError):
        for seed in range(5):
            law_the_plan_is_the_weighted_mean(lives, 0.7, seed)


@settings(deadline=None, max_examples=30)
@given(LIVES, st.integers(0, 1000), st.booleans())
def test_the_grid_is_that_of_a_switch_and_without_streaming_so_is_the_plan(
    lives: list[tuple[int, int]], seed: int, laas: bool
) -> None:
    actions = random_actions(seed, len(lives))
    plans = [
        play(SchedulerConfig(seam=seam, laas=laas), lives, actions)[0]  # type: ignore[arg-type]
        for seam in ("switch", "ensemble")
    ]
    for switched, averaged in zip(*plans, strict=True):
        for name in ("due_ns", "in_force_ns", "sequences", "indices", "t_obs_ns"):
            assert np.array_equal(getattr(switched, name), getattr(averaged, name))
        if not laas:
            assert np.array_equal(switched.setpoints, averaged.setpoints)


def test_chunks_that_agree_change_nothing() -> None:
    lives = [(0, 100 * GRID_NS)] + [(GRID_NS, 5 * GRID_NS)] * 5
    start_ns, line, now_ns = 200 * GRID_NS, {}, 100 * GRID_NS
    for number, (age_ns, gap_ns) in enumerate(lives):
        now_ns += gap_ns
        since = (now_ns - age_ns - start_ns + np.arange(H) * T) / T
        actions = np.zeros((H, 7), np.float32)
        actions[:, 0], actions[:, 3], actions[:, 6] = 0.01 * since, np.pi, 1.0
        line[number] = actions
    switched, _ = play(SchedulerConfig(), lives, line)
    averaged, _ = play(SchedulerConfig(seam="ensemble"), lives, line)
    for a, b in zip(switched, averaged, strict=True):
        assert a.setpoints == pytest.approx(b.setpoints, abs=1e-6)


def test_a_gripper_that_hovers_around_zero_is_decided_by_the_arm_alone() -> None:
    lives = [(GRID_NS, 5 * GRID_NS)] * 40
    hovering = np.random.default_rng(4).uniform(-0.09, 0.09, (40, H))
    actions = {}
    for number, gripper in enumerate(hovering):
        actions[number] = np.zeros((H, 7), np.float32)
        actions[number][:, 3], actions[number][:, 6] = np.pi, gripper
    decided = {}
    for seam in ("switch", "ensemble"):
        published, _ = play(SchedulerConfig(seam=seam), lives, actions)  # type: ignore[arg-type]
        latch = GripperLatch(GripperLimits(), 0.0)
        for timeline, following in itertools.pairwise(published):
            begin_ns, end_ns = timeline.in_force_ns[0], following.in_force_ns[0]
            for t_ns, setpoint in zip(timeline.in_force_ns, timeline.setpoints, strict=True):
                if begin_ns <= t_ns < end_ns:
                    latch.decide(float(setpoint[7]), int(t_ns))
        decided[seam] = latch.opening
    assert decided == {"switch": 0.0, "ensemble": 0.0}, "nobody asked it to open or to close"


@pytest.mark.parametrize("ending", ["hold", "generation", "underrun"])
def test_a_new_motion_owes_the_old_one_nothing(ending: str) -> None:
    actions = random_actions(1, 3)
    lives = [(0, 4 * GRID_NS), (0, 4 * GRID_NS)]
    published, scheduler = play(SchedulerConfig(seam="ensemble"), lives, actions)
    now_ns = 100 * GRID_NS + 9 * GRID_NS
    if ending == "hold":
        scheduler.on_hold(now_ns)
    elif ending == "generation":
        scheduler.new_generation(now_ns)
    else:
        now_ns += 2 * H * T
        scheduler.advance(now_ns)
        assert scheduler.state == "underrun"
    ticket = scheduler.begin_inference(now_ns, now_ns)
    chunk = chunk_for(ticket)
    fresh = Chunk(
        actions=actions[2],
        t_obs_ns=now_ns,
        inference_s=0.0,
        control_period_s=chunk.control_period_s,
        sequence=ticket.sequence,
        generation=ticket.generation,
    )
    scheduler.on_chunk(fresh, now_ns)
    timeline = published[-1]
    mine = timeline.sequences == ticket.sequence
    assert timeline.setpoints[mine] == pytest.approx(setpoints_from_actions(actions[2]))
