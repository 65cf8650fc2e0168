"""Plans of the servo that are taken back, brake, or keep a share of the bounds."""

from __future__ import annotations

import numpy as np
import pytest
from planner_rig import HORIZON, LINEAR, PERIOD_NS, REST, PlannerRig, make_timeline

from dvla.bindings import REMEMBERED, PlanStatus


def test_a_plan_that_is_taken_back_goes_on_as_if_nothing_had_been_planned_since():
    """One planner is led astray by later actions and taken back, the other never saw them."""
    astray, straight = PlannerRig(), PlannerRig()
    start_ns = 10**12
    line = make_timeline(start_ns, 12)
    for rig in (astray, straight):
        rig.publish(line)
    for k in range(20):
        now_ns = start_ns + k * PERIOD_NS
        astray.plan(now_ns)
        straight.plan(now_ns)
    astray.planner.remember(41)
    astray.publish(make_timeline(start_ns, 12, seed=1, speed=0.5))
    for k in range(20, 25):
        astray.plan(start_ns + k * PERIOD_NS)
        straight.plan(start_ns + k * PERIOD_NS)
    assert np.abs(astray.rows[0] - straight.rows[0]).max() > 1e-5
    assert astray.planner.take_back(9) is None
    assert astray.planner.take_back(41) == 5
    for rig in (astray, straight):
        rig.planner.braking = True
        assert rig.plan(start_ns + 25 * PERIOD_NS) is PlanStatus.STOPPING
    np.testing.assert_array_equal(astray.rows, straight.rows)
    assert astray.planner.underruns == 0


def test_braking_stops_whatever_the_stream_says_and_ends_when_told():
    rig = PlannerRig()
    start_ns = 10**12
    rig.publish(make_timeline(start_ns, 40))
    for k in range(30):
        rig.plan(start_ns + k * PERIOD_NS)
    ahead = rig.rows.copy()
    rig.planner.braking = True
    statuses = [rig.plan(start_ns + k * PERIOD_NS) for k in range(30, 130)]
    assert statuses[0] is PlanStatus.STOPPING and statuses[-1] is PlanStatus.IDLE
    np.testing.assert_array_equal(rig.rows, np.repeat(rig.rows[:1], HORIZON, axis=0))
    assert np.linalg.norm(rig.rows[0, :3] - ahead[0, :3]) < 0.1
    rig.planner.braking = False
    assert rig.plan(start_ns + 130 * PERIOD_NS) is PlanStatus.FOLLOWING
    assert np.ptp(rig.rows[:, :3], axis=0).max() > 1e-3


def test_a_share_of_the_bounds_is_kept_until_more_is_taken():
    rig = PlannerRig()
    start_ns = 10**12
    far = make_timeline(start_ns, 60, speed=5.0)
    rig.publish(far)
    rig.planner.share = 0.25
    rig.plan(start_ns)
    rig.planner.remember(1)
    sent = []
    for k in range(1, 200):
        if k == 120:
            rig.planner.share = 1.0
        rig.plan(start_ns + k * PERIOD_NS)
        sent.append(rig.rows[0, :3].copy())
    for share, part in ((0.25, slice(0, 118)), (1.0, slice(None))):
        for order, bound in enumerate((LINEAR.v, LINEAR.a, LINEAR.j), 1):
            values = np.diff(np.array(sent)[part], order, axis=0) / (PERIOD_NS * 1e-9) ** order
            largest = np.linalg.norm(values, axis=1).max()
            assert largest <= share * bound * 1.01
            assert largest > 0.5 * share * bound or share < 1.0
    rig.planner.reset(REST)
    assert rig.planner.share == 1.0 and rig.planner.take_back(1) is None


def test_going_back_takes_the_share_of_the_plan_again():
    rig = PlannerRig()
    start_ns = 10**12
    rig.publish(make_timeline(start_ns, 30, speed=2.0))
    rig.planner.share = 0.5
    rig.plan(start_ns)
    rig.planner.remember(3)
    rig.planner.share = 1.0
    rig.plan(start_ns + PERIOD_NS)
    assert rig.planner.take_back(3) == 1 and rig.planner.share == 0.5


@pytest.mark.parametrize("age", [HORIZON, HORIZON + 3])
def test_a_plan_that_has_run_out_is_not_gone_back_to(age):
    rig = PlannerRig()
    start_ns = 10**12
    rig.publish(make_timeline(start_ns, 30))
    rig.plan(start_ns)
    rig.planner.remember(1)
    rig.plan(start_ns + (HORIZON - 1) * PERIOD_NS)
    assert rig.planner.take_back(1) == HORIZON - 1
    rig.plan(start_ns + age * PERIOD_NS)
    assert rig.planner.take_back(1) is None


def test_the_oldest_remembered_plan_makes_room():
    rig = PlannerRig()
    rig.publish(make_timeline(10**12, 30))
    rig.plan(10**12)
    for number in range(1, REMEMBERED + 2):
        rig.planner.remember(number)
    assert rig.planner.take_back(1) is None
    assert rig.planner.take_back(2) == rig.planner.take_back(REMEMBERED + 1) == 0


@pytest.mark.parametrize("number", [0, -1])
def test_numbers_of_plans_are_above_0(number):
    rig = PlannerRig()
    with pytest.raises(ValueError, match="expected one above 0"):
        rig.planner.remember(number)
    rig.plan(10**12)
    with pytest.raises(ValueError, match="expected one above 0"):
        rig.planner.remember(number)
    assert rig.planner.take_back(number) is None


@pytest.mark.parametrize("share", [0.0, -0.5, 1.5, float("nan")])
def test_shares_are_above_0_and_at_most_1(share):
    with pytest.raises(ValueError, match="share"):
        PlannerRig().planner.share = share
