"""The PiPER's body as plain numbers, for the gate that judges joints, for IK and for the twin."""

from __future__ import annotations

PIPER_HOME_Q = (0.0, 1.40, -0.95, 0.0, 1.15, 0.0)
"""Jaws nearly down in front of the base; what the weak posture task of IK prefers."""
ORIENTATION_M_PER_RAD = 0.05
"""Joint 5 ends at 70 degrees; with more weight on attitude the TCP is off by centimetres there."""

_Point = tuple[float, float, float]
LINK_CAPSULES: tuple[tuple[float, _Point, _Point], ...] = (
    # radius [m], capsule from, capsule to, in the frame of the link after each joint
    (0.045, (0.0, 0.0, -0.05), (0.0, 0.0, 0.0)),
    (0.035, (0.0, 0.0, 0.0), (0.285, 0.0, 0.0)),
    (0.032, (0.0, 0.0, 0.0), (-0.022, -0.10, 0.0)),
    (0.030, (0.0, 0.0, -0.12), (0.0, 0.0, 0.0)),
    (0.028, (0.0, 0.0, 0.0), (0.0, -0.03, 0.0)),
    (0.026, (0.0, 0.0, -0.03), (0.0, 0.0, 0.08)),
)
