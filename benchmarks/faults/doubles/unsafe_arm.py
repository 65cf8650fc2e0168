"""An arm process without its gate, or without its watchdog: the campaign must fail on it."""

from __future__ import annotations

import os
from typing import Any

from dvla.runtime import arm as controller
from dvla.runtime.joint_gate import JointGate
from dvla.runtime.lease import Lease
from dvla.runtime.processes import arm
from dvla.runtime.processes.child import run_child
from dvla.runtime.safety import ACCEPTED, Verdict

UNSAFE = "DVLA_FAULT_UNSAFE"


def accept(*_: Any) -> Verdict:
    """Find nothing wrong with anything."""
    return ACCEPTED


def without_gate() -> None:
    """Accept whatever has the shape of a command."""
    for name in [name for name in vars(controller) if name.startswith("check_")]:
        if name != "check_limits":
            setattr(controller, name, accept)
    JointGate.check = accept  # type: ignore[method-assign,assignment]
    JointGate.splice = lambda self, joint, period_ns: None  # type: ignore[method-assign]


def without_watchdog() -> None:
    """Go on whether commands come or not."""
    controller.ArmController._interlock = lambda self, now_ns: ""  # type: ignore[method-assign]
    Lease.expired = lambda self, now_ns: False  # type: ignore[method-assign]


if __name__ == "__main__":
    {"gate": without_gate, "watchdog": without_watchdog}[os.environ[UNSAFE]]()
    run_child("arm", arm.body)
