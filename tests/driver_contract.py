"""The contract of an arm driver, as laws that every driver passes: twins and real arms alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dvla.runtime.clock import NS_PER_S
from dvla.runtime.robots.base import ArmDriver, ArmReading
from dvla.runtime.rotation import rotate, rotation_between


class ArmRig(Protocol):
    """A driver that is ready to be commanded, and the world that it drives.

    Attributes:
        driver: under test.
        joints: how many joints the arm has.
    """

    driver: ArmDriver
    joints: int

    def wait(self) -> int:
        """Let one period of the controller pass; return its end [ns]."""

    def true_q(self) -> NDArray[np.float64]:
        """Return where the joints are, without asking the driver."""

    def close(self) -> None:
        """Release what the rig holds."""


def follow(rig: ArmRig, setpoint: NDArray[np.float64], duration_s: float) -> ArmReading:
    """Command one setpoint for a while; return the last reading."""
    now_ns = rig.wait()
    end_ns = now_ns + round(duration_s * NS_PER_S)
    while now_ns < end_ns:
        reading = rig.driver.read(now_ns)
        rig.driver.command(setpoint, now_ns)
        now_ns = rig.wait()
    return reading


def glide(
    rig: ArmRig, start: NDArray[np.float64], end: NDArray[np.float64], duration_s: float
) -> list[tuple[int, ArmReading]]:
    """Command a smooth way from one setpoint to another; return the readings with their times."""
    now_ns = rig.wait()
    start_ns = now_ns
    turn = rotation_between(start[3:7], end[3:7])
    readings = []
    while now_ns - start_ns < duration_s * NS_PER_S:
        s = (now_ns - start_ns) / NS_PER_S / duration_s
        share = s * s * (3.0 - 2.0 * s)
        setpoint = start + share * (end - start)
        setpoint[3:7] = rotate(share * turn, start[3:7])
        readings.append((now_ns, rig.driver.read(now_ns)))
        rig.driver.command(setpoint, now_ns)
        now_ns = rig.wait()
    return readings


def fresh(rig: ArmRig) -> ArmReading:
    """Return a reading of now."""
    return rig.driver.read(rig.wait())


def a_reading_is_whole_and_of_now(rig: ArmRig) -> None:
    now_ns = rig.wait()
    reading = rig.driver.read(now_ns)
    assert 0 <= now_ns - reading.t_ns <= 20_000_000
    assert reading.setpoint.shape == (8,) and reading.twist.shape == (6,)
    assert reading.q.shape == reading.dq.shape == (rig.joints,)
    for array in (reading.setpoint, reading.twist, reading.q, reading.dq):
        assert array.dtype == np.float64 and np.isfinite(array).all()
    assert abs(np.linalg.norm(reading.setpoint[3:7]) - 1.0) < 1e-9
    assert -1.0 <= reading.setpoint[7] <= 1.0
    assert reading.fault == ""


def the_time_of_readings_advances(rig: ArmRig) -> None:
    times = [fresh(rig).t_ns for _ in range(20)]
    assert times == sorted(times)
    assert times[-1] - times[0] >= 50_000_000


def a_reading_does_not_change_afterwards(rig: ArmRig) -> None:
    reading = fresh(rig)
    before = [reading.setpoint.copy(), reading.q.copy(), reading.dq.copy(), reading.twist.copy()]
    end = reading.setpoint.copy()
    end[2] += 0.03
    glide(rig, reading.setpoint, end, 0.5)
    after = [reading.setpoint, reading.q, reading.dq, reading.twist]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def commanding_the_measured_pose_moves_nothing(rig: ArmRig) -> None:
    q = rig.true_q()
    setpoint = fresh(rig).setpoint
    setpoint[7] = 1.0
    follow(rig, setpoint, 0.6)
    assert np.abs(rig.true_q() - q).max() < 3e-3


def the_arm_goes_where_it_is_sent(rig: ArmRig) -> None:
    start = fresh(rig).setpoint
    end = start.copy()
    end[:3] += (0.02, 0.03, 0.02)
    end[3:7] = rotate(np.array([0.05, -0.05, 0.15]), start[3:7])
    glide(rig, start, end, 1.0)
    reading = follow(rig, end, 0.8)
    assert reading.fault == ""
    assert np.linalg.norm(reading.setpoint[:3] - end[:3]) < 4e-3
    assert np.linalg.norm(rotation_between(reading.setpoint[3:7], end[3:7])) < 0.02
    assert np.allclose(reading.q, rig.true_q(), atol=5e-3)


def the_twist_is_the_change_of_the_pose(rig: ArmRig) -> None:
    start = fresh(rig).setpoint
    end = start.copy()
    end[1] += 0.10
    end[3:7] = rotate(np.array([0.0, 0.0, 0.3]), start[3:7])
    readings = [reading for _, reading in glide(rig, start, end, 1.0)]
    first, middle, last = readings[100], readings[125], readings[150]
    elapsed_s = (last.t_ns - first.t_ns) / NS_PER_S
    linear = (last.setpoint[:3] - first.setpoint[:3]) / elapsed_s
    angular = rotation_between(first.setpoint[3:7], last.setpoint[3:7]) / elapsed_s
    assert np.linalg.norm(linear) > 0.05 and np.linalg.norm(angular) > 0.1
    assert np.linalg.norm(middle.twist[:3] - linear) < 0.03
    assert np.linalg.norm(middle.twist[3:] - angular) < 0.12


def the_gripper_opens_and_closes(rig: ArmRig) -> None:
    setpoint = fresh(rig).setpoint
    for opening in (1.0, -1.0, 1.0):
        setpoint[7] = opening
        reading = follow(rig, setpoint, 1.5)
        assert abs(reading.setpoint[7] - opening) < 0.1


def an_opening_as_found_leaves_the_gripper_alone(rig: ArmRig) -> None:
    setpoint = fresh(rig).setpoint
    found = setpoint[7]
    setpoint[7] = np.clip(found, -0.999, 0.999)
    assert abs(follow(rig, setpoint, 0.6).setpoint[7] - found) < 0.05


def a_setpoint_is_neither_kept_nor_changed(rig: ArmRig) -> None:
    setpoint = fresh(rig).setpoint
    setpoint[7] = 1.0
    sent = setpoint.copy()
    rig.driver.command(sent, rig.wait())
    assert np.array_equal(sent, setpoint)
    q = rig.true_q()
    sent[:] = 0.0
    for _ in range(50):
        fresh(rig)
    assert np.abs(rig.true_q() - q).max() < 3e-3


def a_setpoint_that_is_not_finite_is_a_fault_in_words(rig: ArmRig) -> None:
    q = rig.true_q()
    for index in (0, 5, 7):
        setpoint = fresh(rig).setpoint
        setpoint[index] = np.nan
        rig.driver.command(setpoint, rig.wait())
        assert "not finite" in fresh(rig).fault
    for _ in range(50):
        fresh(rig)
    assert np.abs(rig.true_q() - q).max() < 3e-3


def a_setpoint_out_of_reach_is_a_fault_in_words(rig: ArmRig) -> None:
    setpoint = fresh(rig).setpoint
    end = setpoint.copy()
    end[0] += 1.5
    readings = glide(rig, setpoint, end, 3.0)
    assert "the joints cannot follow" in readings[-1][1].fault
    q = rig.true_q()
    for _ in range(50):
        fresh(rig)
    assert np.abs(rig.true_q() - q).max() < 0.05


def a_faulted_driver_takes_no_commands(rig: ArmRig) -> None:
    bad = np.full(8, np.nan)
    rig.driver.command(bad, rig.wait())
    reading = fresh(rig)
    q = rig.true_q()
    away = reading.setpoint.copy()
    away[2] += 0.05
    assert follow(rig, away, 0.5).fault == reading.fault
    assert np.abs(rig.true_q() - q).max() < 3e-3


def a_closed_driver_leaves_the_arm_where_it_is(rig: ArmRig) -> None:
    start = fresh(rig).setpoint
    end = start.copy()
    end[2] += 0.03
    glide(rig, start, end, 0.6)
    follow(rig, end, 0.6)
    q = rig.true_q()
    rig.driver.close()
    for _ in range(100):
        rig.wait()
    assert np.abs(rig.true_q() - q).max() < 3e-3


LAWS: tuple[Callable[[ArmRig], None], ...] = (
    a_reading_is_whole_and_of_now,
    the_time_of_readings_advances,
    a_reading_does_not_change_afterwards,
    commanding_the_measured_pose_moves_nothing,
    the_arm_goes_where_it_is_sent,
    the_twist_is_the_change_of_the_pose,
    the_gripper_opens_and_closes,
    an_opening_as_found_leaves_the_gripper_alone,
    a_setpoint_is_neither_kept_nor_changed,
    a_setpoint_that_is_not_finite_is_a_fault_in_words,
    a_setpoint_out_of_reach_is_a_fault_in_words,
    a_faulted_driver_takes_no_commands,
    a_closed_driver_leaves_the_arm_where_it_is,
)
