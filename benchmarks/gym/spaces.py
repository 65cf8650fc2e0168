"""The spaces of ``dvla/DOM-v0``: what a policy sees and does, with bounds."""

from __future__ import annotations

import math
import string
from types import ModuleType
from typing import Any

import numpy as np

from dvla.runtime.limits import ArmLimits
from dvla.runtime.twin.scene import CAMERAS

STATE, INSTRUCTION = "state", "instruction"
REACH_M = 2.0
_CHARACTERS = string.ascii_letters + string.digits + " .,'-"
_LONGEST = 200


def action_space(spaces: ModuleType, limits: ArmLimits) -> Any:
    """Return the box of absolute actions (7,): the TCP in the workspace, any attitude, gripper.

    Args:
        spaces: ``gymnasium.spaces``.
        limits: of the arm.
    """
    turn = 2 * math.pi
    low = (*limits.workspace.lower, 0.0, -math.pi / 2, -math.pi, -1.0)
    high = (*limits.workspace.upper, turn, math.pi / 2, turn, 1.0)
    return spaces.Box(np.array(low, np.float32), np.array(high, np.float32), dtype=np.float32)


def observation_space(spaces: ModuleType, width: int, height: int) -> Any:
    """Return the dictionary of both cameras' pictures, the measured pose and the instruction.

    Args:
        spaces: ``gymnasium.spaces``.
        width: of the pictures [px].
        height: of the pictures [px].
    """
    turn = 2 * math.pi
    low = np.array([-REACH_M] * 3 + [0.0, -math.pi / 2, 0.0], np.float32)
    high = np.array([REACH_M] * 3 + [turn, math.pi / 2, turn], np.float32)
    pictures = {
        camera: spaces.Box(0, 255, (height, width, 3), dtype=np.uint8) for camera in CAMERAS
    }
    return spaces.Dict(
        {
            **pictures,
            STATE: spaces.Box(low, high, dtype=np.float32),
            INSTRUCTION: spaces.Text(_LONGEST, charset=_CHARACTERS),
        }
    )
