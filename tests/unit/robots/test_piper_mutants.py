"""Mutants of the PiPER's driver: what goes wrong without each of its precautions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mutants import mutant
from piper_emulator import CAN, MOVE_J, READY
from piper_rig import PiperRig

from dvla.runtime.robots.piper import driver, engagement, feedback

for package in ("can", "mujoco"):
    pytest.importorskip(package, reason=f"{package} is not installed")


def moved_by_taking_over(monkeypatch: pytest.MonkeyPatch, engagement_module: Any) -> float:
    """Return how far a stale target moves the arm when it is taken over [rad]."""
    monkeypatch.setattr(driver, "Engagement", engagement_module.Engagement)
    rig = PiperRig()
    rig.hear()
    rig.driver.engage(rig.now_ns)
    rig.read(100)
    moved = float(np.abs(rig.arm.q - READY).max())
    rig.close()
    return moved


def test_without_the_preload_the_stale_target_is_executed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert moved_by_taking_over(monkeypatch, engagement) < 1e-4
    careless = mutant(
        engagement,
        "frames: tuple[Frame, ...] = joint_target_frames(self.target)",
        "frames: tuple[Frame, ...] = ()",
    )
    assert moved_by_taking_over(monkeypatch, careless) > 0.5


def test_without_the_ageing_of_queued_frames_old_positions_are_of_now(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ages = []
    careless = mutant(feedback, "t_ns = now_ns if prompt else self._emptied_ns", "t_ns = now_ns")
    for module in (feedback, careless):
        monkeypatch.setattr(driver, "Listener", module.Listener)
        rig = PiperRig().hear()
        for _ in range(100):
            rig.wait()
        ages.append(rig.now_ns - rig.driver.read(rig.now_ns).t_ns)
        rig.close()
    assert ages[0] >= 400_000_000 > ages[1]


def test_without_the_check_of_the_mode_a_lost_arm_looks_well(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    faults = []
    careless = mutant(driver, "            wrong = wrong or grip_lost(self.feedback)\n", "")
    for module in (driver, careless):
        rig = PiperRig()
        rig.driver = module.PiperDriver(rig.driver._bus, rig.driver._ik)
        rig.take_over()
        assert (rig.arm.control, rig.arm.move) == (CAN, MOVE_J)
        rig.arm.control = 0
        faults.append(rig.read(10).fault)
        rig.close()
    assert "standby" in faults[0] and faults[1] == ""
