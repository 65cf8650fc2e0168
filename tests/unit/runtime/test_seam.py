"""The seam: slerp, cross-fade and jump."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dvla.runtime import seam
from dvla.runtime.pose import Float64, setpoints_from_actions
from dvla.runtime.timeline import Timeline, empty_timeline, merge

T = 40


def line(speed: float, offset: float = 0.0, rows: int = 20, yaw: float = 0.0) -> Float64:
    """Return setpoints (rows, 8) that move along x and turn about z, both per period."""
    actions = np.zeros((rows, 7))
    actions[:, 0] = offset + speed * np.arange(rows)
    actions[:, 5] = yaw * np.arange(rows)
    actions[:, 6] = 1.0
    return setpoints_from_actions(actions)


def timeline_of(setpoints: Float64, tau_ns: int = 0) -> Timeline:
    """Return a timeline of one chunk."""
    return merge(
        empty_timeline(T), setpoints, tau_ns=tau_ns, takeover_ns=tau_ns, sequence=0, t_obs_ns=tau_ns
    )


@settings(deadline=None, max_examples=100)
@given(st.lists(st.floats(-1, 1), min_size=8, max_size=8), st.floats(0, 1))
def test_slerp_divides_the_shorter_arc(numbers: list[float], fraction: float) -> None:
    a, b = np.array(numbers[:4]) + 2e-3, np.array(numbers[4:]) - 1e-3
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    middle = seam.slerp(a[None], b[None], np.array([fraction]))[0]
    pose = np.zeros((3, 8))
    pose[:, 3:7] = a, middle, b
    _, part = seam.step_size(pose[0], pose[1])
    _, whole = seam.step_size(pose[0], pose[2])
    assert np.linalg.norm(middle) == pytest.approx(1.0)
    assert float(part) == pytest.approx(fraction * float(whole), abs=1e-6)


def test_two_chunks_of_one_motion_have_the_seam_of_a_step() -> None:
    old = timeline_of(line(0.01, yaw=0.02))
    # The new grid lies a quarter of a period later; so do its positions on the same line.
    new = line(0.01, offset=0.01 * 5.25, yaw=0.02)
    new[:, 3:7] = setpoints_from_actions(
        np.column_stack([np.zeros((20, 5)), 0.02 * (np.arange(20) + 5.25), np.ones(20)])
    )[:, 3:7]
    jump = seam.seam_jump(old, new, due_ns=5 * T + 10, first=0)
    assert jump.seam_m == pytest.approx(jump.in_chunk_m, abs=1e-9)
    assert jump.seam_rad == pytest.approx(jump.in_chunk_rad, abs=1e-6)
    assert not jump.alarming


def test_a_jump_is_measured_and_alarms() -> None:
    old = timeline_of(line(0.01))
    jump = seam.seam_jump(old, line(0.01, offset=0.01 * 5 + 0.05), due_ns=5 * T, first=0)
    assert jump.seam_m == pytest.approx(0.06)
    assert jump.in_chunk_m == pytest.approx(0.01)
    assert jump.alarming


def test_a_small_jump_of_a_chunk_at_rest_does_not_alarm() -> None:
    jump = seam.seam_jump(timeline_of(line(0.0)), line(0.0, offset=0.005), due_ns=T, first=0)
    assert jump.seam_m == pytest.approx(0.005) and not jump.alarming


def test_the_first_chunk_has_no_seam() -> None:
    assert seam.seam_jump(empty_timeline(T), line(0.01), due_ns=0, first=0).seam_m == 0.0


def test_a_blend_divides_the_jump_among_its_steps() -> None:
    old, new = timeline_of(line(0.0)), line(0.0, offset=0.1)
    faded = seam.blend(old, new, due_ns=5 * T, first=2, steps=4)
    assert faded[:2, 0] == pytest.approx(0.1)  # stale actions are nobody's business
    assert faded[2:6, 0] == pytest.approx([0.02, 0.04, 0.06, 0.08])
    assert faded[6:, 0] == pytest.approx(0.1)
    assert np.allclose(np.linalg.norm(faded[:, 3:7], axis=1), 1.0)
    assert seam.seam_jump(old, faded, 5 * T, 2).seam_m == pytest.approx(0.02)


def test_a_blend_lasts_no_longer_than_the_old_plan() -> None:
    old, new = timeline_of(line(0.0)), line(0.0, offset=0.1)
    faded = seam.blend(old, new, due_ns=18 * T, first=0, steps=4)
    assert faded[:2, 0] == pytest.approx([0.1 / 3, 0.2 / 3])
    assert faded[2:, 0] == pytest.approx(0.1)
    assert seam.blend(old, new, due_ns=20 * T, first=0, steps=4) is new


def test_a_blend_leaves_the_gripper_to_the_new_chunk() -> None:
    new = line(0.0)
    new[:, 7] = -1.0
    faded = seam.blend(timeline_of(line(0.0)), new, due_ns=5 * T, first=0, steps=4)
    assert (faded[:, 7] == -1.0).all()


def test_resampling_meets_the_rows_and_clamps_at_the_ends() -> None:
    rows = line(0.01, yaw=0.1)
    old = timeline_of(rows)
    assert np.allclose(seam.resample(old, np.array([0, 3 * T, 19 * T])), rows[[0, 3, 19]])
    assert np.allclose(seam.resample(old, np.array([-T, 30 * T])), rows[[0, 19]])
    assert seam.resample(old, np.array([T // 2]))[0, 0] == pytest.approx(0.005)
    assert np.allclose(seam.resample(timeline_of(rows[:1]), np.array([-5, 5])), rows[[0, 0]])
