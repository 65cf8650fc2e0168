"""The arm process, with every setpoint that its twin is sent written down: the judge's evidence.

The run's own recording would end with its recorder, and a controller of its own has none. Nothing
else is changed, but where ``UNSAFE`` asks for an arm without one of its protections, on which the
campaign must fail.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dvla.benchmarks.faults.trace import TRACE, TRACE_ROW
from dvla.runtime import arm_gate
from dvla.runtime.interlocks import Interlocks
from dvla.runtime.joint_gate import JointGate
from dvla.runtime.lease import Lease
from dvla.runtime.processes import arm
from dvla.runtime.processes.child import run_child
from dvla.runtime.safety import ACCEPTED, Verdict
from dvla.runtime.twin.driver import TwinDriver

UNSAFE = "DVLA_FAULT_UNSAFE"
command = TwinDriver.command
row = np.zeros(1, TRACE_ROW)
file = -1


def traced_command(driver: TwinDriver, setpoint: NDArray[np.float64], now_ns: int) -> None:
    """Write a setpoint down, and send it."""
    row["t_ns"], row["setpoint"], row["q"] = now_ns, setpoint, driver._world.q
    os.write(file, row.tobytes())
    command(driver, setpoint, now_ns)


def accept(*_: Any) -> Verdict:
    """Find nothing wrong with anything."""
    return ACCEPTED


def without_joint_gate() -> None:
    """Accept whatever the TCP may do, whatever it makes of the joints."""
    JointGate.check = accept  # type: ignore[method-assign,assignment]
    JointGate.splice = lambda self, joint, period_ns: None  # type: ignore[method-assign]


def without_gate() -> None:
    """Accept whatever has the shape of a command."""
    for name in [name for name in vars(arm_gate) if name.startswith("check_")]:
        setattr(arm_gate, name, accept)
    without_joint_gate()


def without_watchdog() -> None:
    """Go on whether commands come or not."""
    Interlocks.look = lambda *_, **__: ""  # type: ignore[method-assign]
    Lease.expired = lambda self, now_ns: False  # type: ignore[method-assign]


BUILDS = {
    "": lambda: None,
    "gate": without_gate,
    "joint gate": without_joint_gate,
    "watchdog": without_watchdog,
}

if __name__ == "__main__":
    BUILDS[os.environ.get(UNSAFE, "")]()
    file = os.open(os.environ[TRACE], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    TwinDriver.command = traced_command  # type: ignore[method-assign,assignment]
    run_child("arm", arm.body)
