"""The way back from a refused command onto what the arm plays.

The arm plays the newest command that it accepted to its end, and then stops. A servo that planned
on from a refused one would ask for a step from there; so its plan is taken back onto the accepted
command, and brakes along it. Once the arm plays the brake, the plan follows its stream again from
there, slower than before; if that is refused as well it goes on braking. Where even the first steps
from rest are refused, as near to a singularity, where joints must go fast for a slow hand, it tries
with half of its speed, acceleration and jerk, and with half of that.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from dvla.runtime.messages import ArmState
from dvla.runtime.pose import Float64

LONGEST_WAIT = 10
"""Plans that brake before the next try, where tries keep failing."""
LEAST_SHARE = 1.0 / 16.0
"""Of the bounds of the plan, for the gentlest try."""


class Braked(Protocol):
    """What the way back needs of a planner."""

    braking: bool
    share: float

    def reset(self, setpoint: Float64) -> None:
        """Start again from rest at a setpoint (8,)."""

    def remember(self, number: int) -> None:
        """Keep the newest plan under a number."""

    def take_back(self, number: int) -> int | None:
        """Go on from where a remembered plan is by now; return how many of its rows have passed."""


class WayBack:
    """Keeps what was sent, heeds refusals, and says when to brake and when to follow.

    Of the newest commands as many are kept as the planner remembers: verdicts that take longer end
    in a stop of the arm.

    Args:
        planner: whose plans are sent.
        rows: (history + horizon, 8) of the newest command: earlier setpoints, then the plan.
        horizon: setpoints per plan.

    Attributes:
        taken_back: plans, counted.
    """

    def __init__(self, planner: Braked, rows: Float64, horizon: int) -> None:
        from dvla.bindings import REMEMBERED

        self._planner, self._rows, self._horizon = planner, rows, horizon
        self._kept = np.zeros((REMEMBERED, *rows.shape))
        self.taken_back = 0
        self.reset(rows[0])

    def reset(self, pose: Float64) -> None:
        """Begin anew from rest at a setpoint (8,), where commands that stand still were sent."""
        self._pose = pose.copy()
        self._first = self._newest = self._answered = self._braked_at = self._followed_at = 0
        self._wait = 1
        self._share_from_rest = 1.0

    def sent(self, sequence: int) -> None:
        """Keep the command that was made of the rows."""
        self._kept[sequence % len(self._kept)] = self._rows
        self._newest = sequence
        self._first = self._first or sequence
        self._planner.remember(sequence)

    def heed(self, state: ArmState, plan: int, resting: bool) -> None:
        """Look at what the arm said of the commands, before the next plan is made.

        Args:
            state: the arm's.
            plan: number of the newest plan; one more with every period.
            resting: that plan rests.
        """
        accepted = state.command_sequence
        if state.refused_sequence > max(accepted, self._answered):
            self._go_back(accepted, plan)
        elif self._planner.braking:
            if accepted > self._answered and plan - self._braked_at >= self._wait:
                self._try_again(plan, resting)
        elif plan - self._followed_at > self._horizon:
            self._wait = 1
            self._followed_at = plan
            self._planner.share = self._share_from_rest = min(1.0, 2.0 * self._planner.share)

    def _go_back(self, accepted: int, plan: int) -> None:
        """Take the plan back onto an accepted command, and brake."""
        # Those that are under way were planned from the refused one: their verdicts say no more.
        self._answered = self._newest
        if accepted < self._first:
            self._planner.reset(self._pose)
            self._rows[:] = self._pose
        elif (passed := self._planner.take_back(accepted)) is not None:
            kept = self._kept[accepted % len(self._kept), passed:]
            self._rows[: len(kept)] = kept
        else:
            return  # the arm will stop, and the servo begin anew
        self.taken_back += 1
        if not self._planner.braking:
            self._planner.braking = True
            self._braked_at = plan
            self._wait = min(2 * self._wait, LONGEST_WAIT)

    def _try_again(self, plan: int, resting: bool) -> None:
        """Follow the stream from where the brake has come to; from rest more gently each time."""
        if resting:
            self._planner.share = self._share_from_rest
            self._share_from_rest = max(LEAST_SHARE, self._share_from_rest / 2.0)
        self._planner.braking = False
        self._followed_at = plan
