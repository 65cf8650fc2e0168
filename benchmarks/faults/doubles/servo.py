"""A servo process whose clock steps: what it stamps is a second late or early."""

from __future__ import annotations

from dvla.benchmarks.faults.doubles.trigger import Trigger
from dvla.runtime.messages import ArmState, Command
from dvla.runtime.processes import servo
from dvla.runtime.processes.child import run_child
from dvla.runtime.servo import ServoCore

STEPS_NS = {"clock_forward": 1_000_000_000, "clock_back": -1_000_000_000}
TRIGGER = Trigger()
tick = ServoCore.tick


def stepped_tick(core: ServoCore, now_ns: int, arm_state: ArmState | None) -> Command | None:
    """Tick by a clock that was set."""
    step_ns = STEPS_NS.get(TRIGGER.kind, 0) if TRIGGER.pulled else 0
    return tick(core, now_ns + step_ns, arm_state)


if __name__ == "__main__":
    ServoCore.tick = stepped_tick  # type: ignore[method-assign,assignment]
    run_child("servo", servo.body)
