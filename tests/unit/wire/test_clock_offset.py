"""The other host's clock: the bound always holds, whatever the network does."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dvla.runtime.clock_offset import (
    MAX_DRIFT_PPB,
    MAX_EXECUTE_BOUND_NS,
    ClockEstimator,
    ClockOffset,
    ClockSample,
    command_for,
    require_for_execute,
    state_from,
)
from dvla.runtime.errors import WireError
from dvla.runtime.messages import ArmState, Command

MS = 1_000_000
delay = st.integers(0, 400 * MS)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(-(10**15), 10**15),
    st.floats(-1.1e-3, 1.1e-3),
    st.lists(st.tuples(delay, delay, st.integers(0, 30_000 * MS)), min_size=1, max_size=20),
)
def test_the_true_offset_is_never_outside_the_bound(
    true_ns: int, drift: float, answers: list[tuple[int, int, int]]
) -> None:
    estimator, now_ns = ClockEstimator(), 10**12
    for there_ns, back_ns, pause_ns in answers:
        now_ns += pause_ns
        moment_ns = now_ns + there_ns
        theirs_ns = moment_ns + true_ns + round(drift * (moment_ns - 10**12))
        offset = estimator.add(
            ClockSample(asked_ns=now_ns, answered_ns=moment_ns + back_ns, theirs_ns=theirs_ns)
        )
        now_ns = moment_ns + back_ns
        truth_ns = true_ns + round(drift * (now_ns - 10**12))
        assert abs(offset.offset_ns - truth_ns) <= offset.bound_at(now_ns) + 1  # of rounding
    assert estimator.contradictions == 0


def test_a_clock_that_stepped_is_noticed_and_followed() -> None:
    estimator = ClockEstimator()
    for place, theirs in enumerate((500, 500, 500 + 3_000 * MS)):
        asked = place * MS
        estimator.add(
            ClockSample(asked_ns=asked, answered_ns=asked + 100, theirs_ns=asked + theirs)
        )
    assert estimator.contradictions == 1
    assert estimator.offset is not None
    assert abs(estimator.offset.offset_ns - 3_000 * MS) < 1_000


@pytest.mark.parametrize("slew", [-5e-3, 2e-3, 0.083])
def test_a_clock_that_is_slewed_faster_is_noticed_and_bounded_from_then_on(slew: float) -> None:
    estimator, second = ClockEstimator(), 1_000 * MS
    offset = None
    for place in range(200):  # longer than the calm that ends a drift
        asked_ns = place * second
        slewed_ns = max(0, asked_ns - 10 * second)
        if offset is not None and estimator.contradictions:
            truth_ns = 7 + round(slew * slewed_ns)
            assert abs(offset.offset_ns - truth_ns) <= offset.bound_at(asked_ns) + 1
        theirs_ns = asked_ns + 200_000 + 7 + round(slew * (slewed_ns + 200_000 * (place > 9)))
        offset = estimator.add(
            ClockSample(asked_ns=asked_ns, answered_ns=asked_ns + 400_000, theirs_ns=theirs_ns)
        )
    assert estimator.contradictions == 1
    assert offset is not None
    if abs(slew) > 4e-3:
        with pytest.raises(WireError):
            require_for_execute(offset, 200 * second)


def test_a_drift_that_is_over_is_forgotten() -> None:
    estimator, second = ClockEstimator(), 1_000 * MS
    for place in range(120):
        asked_ns = place * second
        theirs_ns = asked_ns + 100 + (10 * MS if place > 20 else 0)
        offset = estimator.add(
            ClockSample(asked_ns=asked_ns, answered_ns=asked_ns + 200, theirs_ns=theirs_ns)
        )
        fast = 21 <= place <= 81
        assert (offset.drift_ppb > MAX_DRIFT_PPB) == fast
    assert estimator.contradictions == 1


def test_an_uncertain_clock_moves_no_arm() -> None:
    good = ClockOffset(offset_ns=7, bound_ns=MAX_EXECUTE_BOUND_NS - 2 * MS, t_ns=0)
    require_for_execute(good, 100 * MS)  # it is good until the next answer
    with pytest.raises(WireError, match=r"up to 5\.5 ms"):
        require_for_execute(good, 600 * MS)
    assert good.bound_at(5_000 * MS) == MAX_EXECUTE_BOUND_NS + 4 * MS


def test_what_is_not_known_makes_things_older_never_younger() -> None:
    offset = ClockOffset(offset_ns=100 * MS, bound_ns=2 * MS, t_ns=0)
    command = Command(
        session=1, sequence=1, generation=0, t_obs_ns=10 * MS, t_due_ns=50 * MS,
        valid_until_ns=150 * MS, arm_epoch=1, period_ns=4 * MS, setpoints=b"",
    )  # fmt: skip
    there = command_for(command, offset, 0)
    assert there.t_due_ns == 150 * MS
    assert there.valid_until_ns == 248 * MS
    assert there.t_obs_ns == 108 * MS
    state = ArmState(
        session=1, sequence=1, t_ns=200 * MS, mode="hold", reason="", arm_epoch=1,
        lease_session=0, command_sequence=-1, measured=(), twist=(), q=(), commanded=(),
        tracking_m=0.0, tracking_rad=0.0, accepted=0, rejected={},
    )  # fmt: skip
    assert state_from(state, offset, 0).t_ns == 98 * MS
