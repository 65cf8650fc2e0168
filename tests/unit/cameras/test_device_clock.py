"""Stamps of devices and of the kernel on the host's clock: late is late, and never now."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dvla.runtime.cameras.device_clock import (
    LEAP_NS,
    MAX_AGE_NS,
    WINDOW,
    DeviceClock,
    KernelClock,
)

HOST_NS = 10**12
"""When the device of ``watched`` began to count."""


@given(
    offset_ns=st.integers(-(2**60), 2**60),
    delays_ns=st.lists(st.integers(1_000_000, 80_000_000), min_size=2, max_size=100),
)
def test_a_devices_clock_is_at_most_late_by_the_spread_of_its_delays(
    offset_ns: int, delays_ns: list[int]
) -> None:
    clock, captured = DeviceClock(), 0
    for index, delay_ns in enumerate(delays_ns):
        captured = 40_000_000 * index
        found = clock.host_ns(captured + offset_ns, captured + delay_ns)
        # Never after its arrival, and late by no more than the least delay so far.
        assert found == captured + min(delays_ns[: index + 1])
    assert clock.implausible == 0


def watched(period_ns: int = 33_000_000, frames: int = 100) -> tuple[DeviceClock, int]:
    """Return a clock that has seen frames 5 ms after their capture, and the last one's stamp."""
    clock = DeviceClock()
    for index in range(frames):
        clock.host_ns(index * period_ns, HOST_NS + index * period_ns + 5_000_000)
    return clock, (frames - 1) * period_ns


@given(
    late_ms=st.lists(st.integers(0, 5_000), min_size=1, max_size=16),
    stalled_ms=st.integers(500, 10_000),
)
def test_frames_out_of_a_queue_keep_their_age_however_long_the_host_stood_still(
    late_ms: list[int], stalled_ms: int
) -> None:
    clock, last_ns = watched()
    resumed_ns = HOST_NS + last_ns + 1_000_000 * (stalled_ms + 33 * len(late_ms))
    for index, waited_ms in enumerate(sorted(late_ms)):
        captured_ns = last_ns + 33_000_000 * (index + 1)
        dated_ns = clock.host_ns(captured_ns, resumed_ns + 1_000_000 * waited_ms)
        assert dated_ns == HOST_NS + captured_ns + 5_000_000
    live_ns = last_ns + 20_000_000_000
    assert clock.host_ns(live_ns, HOST_NS + live_ns + 5_000_000) == HOST_NS + live_ns + 5_000_000
    assert clock.implausible == 0


def test_a_device_that_counts_anew_is_followed() -> None:
    clock, _ = watched()
    assert clock.host_ns(0, HOST_NS + 9 * 10**9) == HOST_NS + 9 * 10**9
    assert clock.host_ns(33_000_000, HOST_NS + 9 * 10**9 + 31_000_000) == (
        HOST_NS + 9 * 10**9 + 31_000_000
    )
    assert clock.implausible == 1


def test_a_device_that_counted_on_while_the_host_slept_is_followed_at_once() -> None:
    clock, last_ns = watched()
    woken_ns = HOST_NS + last_ns + 38_000_000  # the host's clock stood still for an hour
    assert clock.host_ns(last_ns + 3600 * 10**9, woken_ns) == woken_ns
    assert clock.implausible == 1


def test_one_stamp_out_of_the_future_spoils_no_other() -> None:
    clock, last_ns = watched()
    arrived_ns = HOST_NS + last_ns + 38_000_000
    assert clock.host_ns(last_ns + 10**15, arrived_ns) == arrived_ns
    for step in (2, 3):
        captured_ns = last_ns + 33_000_000 * step
        arrived_ns = HOST_NS + captured_ns + 5_000_000
        assert clock.host_ns(captured_ns, arrived_ns) == arrived_ns
    assert clock.implausible == 2


@given(back_ns=st.integers(1, LEAP_NS), late_ns=st.integers(5_000_000, 3_000_000_000))
def test_a_late_frame_out_of_order_is_no_reset(back_ns: int, late_ns: int) -> None:
    clock, last_ns = watched()
    captured_ns = last_ns - back_ns
    arrived_ns = HOST_NS + captured_ns + late_ns
    assert clock.host_ns(captured_ns, arrived_ns) == HOST_NS + captured_ns + 5_000_000
    assert clock.implausible == 0


def test_a_device_whose_clock_is_slow_is_followed_within_the_window() -> None:
    clock, captured = DeviceClock(), 0
    for index in range(10 * WINDOW):
        captured = 33_000_000 * index
        found = clock.host_ns(captured - captured // 10_000, captured + 5_000_000)
        assert captured < found <= captured + 5_000_000
    assert found > captured + 4_000_000
    assert clock.implausible == 0


@given(stamp_ns=st.integers(-(2**62), 2**62), arrived_ns=st.integers(1, 2**62))
def test_a_stamp_proves_the_clock_only_shortly_before_its_arrival(
    stamp_ns: int, arrived_ns: int
) -> None:
    clock = KernelClock()
    found = clock.host_ns(stamp_ns, arrived_ns)
    assert arrived_ns - MAX_AGE_NS <= found <= arrived_ns
    assert found in (stamp_ns, arrived_ns)


@given(stamp_ns=st.integers(-(2**62), 2**62), arrived_ns=st.integers(10**9, 2**62))
def test_after_the_proof_every_past_stamp_stays_and_none_is_from_the_future(
    stamp_ns: int, arrived_ns: int
) -> None:
    clock = KernelClock()
    assert clock.host_ns(10**9 - 20_000_000, 10**9) == 10**9 - 20_000_000
    past = 0 < stamp_ns <= arrived_ns
    assert clock.host_ns(stamp_ns, arrived_ns) == (stamp_ns if past else arrived_ns)
    assert clock.implausible == (not past)
