"""Every driver keeps the contract: the twin, the PiPER on an emulated bus, the Franka on a fake."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from driver_contract import LAWS, ArmRig

pytest.importorskip("mujoco")


class TwinRig:
    """An arm's twin under a virtual clock."""

    def __init__(self, robot: str = "franka") -> None:
        from dvla.runtime.ik import DifferentialIk
        from dvla.runtime.twin.driver import TwinDriver
        from dvla.runtime.twin.world import TwinWorld, WorldConfig

        self.world = TwinWorld(WorldConfig(robot=robot))
        self.joints = len(self.world.body.joints)
        self.now_ns = 1_000_000_000
        self.world.reset(0, self.now_ns)
        ik = DifferentialIk(0.004, self.world.body.joint_limits)
        self.driver = TwinDriver(self.world, ik)

    def wait(self) -> int:
        self.now_ns += 4_000_000
        return self.now_ns

    def true_q(self) -> np.ndarray:
        self.world.advance(self.now_ns)
        return self.world.q

    def close(self) -> None:
        self.driver.close()


def piper_twin_rig() -> TwinRig:
    return TwinRig("piper")


def piper_rig() -> Any:
    pytest.importorskip("can", reason="python-can is not installed")
    from piper_rig import PiperRig

    return PiperRig().take_over()


def franka_rig() -> Any:
    from fake_franka import FrankaRig

    return FrankaRig().take_over()


@pytest.mark.parametrize(
    "make",
    [TwinRig, piper_twin_rig, piper_rig, franka_rig],
    ids=["franka-twin", "piper-twin", "piper", "franka"],
)
@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_law(law: Callable[[ArmRig], None], make: Callable[[], ArmRig]) -> None:
    rig = make()
    try:
        law(rig)
    finally:
        rig.close()
