"""Compiled parts of the control path: stream, clock, interpolation, shaping, shared rings."""

from __future__ import annotations

try:
    from dvla.bindings.action_stream import ActionStream, SampleStatus
    from dvla.bindings.chain import FACTS, REPORT, Chain
    from dvla.bindings.interpolation import interpolate
    from dvla.bindings.servo_clock import ServoClock
    from dvla.bindings.servo_planner import REMEMBERED, PlanStatus, ServoPlanner
    from dvla.bindings.shaper import PoseShaper, ShaperLimits
    from dvla.bindings.shared_ring import SharedRing
    from dvla.bindings.workspace_guard import WorkspaceGuard
except ModuleNotFoundError as error:  # an uncompiled checkout: say how to build, hide nothing else
    if not (error.name or "").startswith("dvla.bindings."):
        raise
    raise ImportError(
        f"{error.name} is not compiled. Next: pip install -e . (needs a C compiler) or: "
        "python setup.py build_ext --inplace"
    ) from error

__all__ = [
    "FACTS",
    "REMEMBERED",
    "REPORT",
    "ActionStream",
    "Chain",
    "PlanStatus",
    "PoseShaper",
    "SampleStatus",
    "ServoClock",
    "ServoPlanner",
    "ShaperLimits",
    "SharedRing",
    "WorkspaceGuard",
    "interpolate",
]
