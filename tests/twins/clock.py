"""Plain twin of dvla.bindings.ServoClock: deadlines and lateness from given times."""

from __future__ import annotations


class ClockTwin:
    """The pacer's arithmetic; ``wait`` is told when it was called and when it woke."""

    def __init__(self, period_ns: int) -> None:
        self.period_ns = period_ns
        self.deadline_ns = 0
        self.overruns = 0
        self.lateness_ns: list[int] = []

    def wait(self, called_ns: int, woken_ns: int) -> None:
        """Advance to the first deadline on the grid that has not passed."""
        self.deadline_ns = (self.deadline_ns or called_ns) + self.period_ns
        while self.deadline_ns < called_ns:
            self.deadline_ns += self.period_ns
            self.overruns += 1
        self.lateness_ns.append(woken_ns - self.deadline_ns)
