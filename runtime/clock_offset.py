"""The clock of another host: its offset from ours, with a bound that is a proof and no guess.

A question leaves at t0 and its answer comes at t1 (ours); it carries the other host's time at some
instant between. So that time belongs to an instant in [t0, t1]: the offset is known to half the
round trip, whatever the network did. Intervals of several answers are intersected; between answers
the bound grows with the drift that two quartz clocks may have against each other.
"""

from __future__ import annotations

import math
from typing import TypeVar

import msgspec

from dvla.runtime.errors import WireError
from dvla.runtime.events import Event
from dvla.runtime.messages import ArmState, Command

MAX_DRIFT = 200e-6
"""Two clocks of 100 ppm each, in opposite directions."""
MAX_EXECUTE_BOUND_NS = 5_000_000
"""Above this nobody may move an arm: 5 ms are 5 mm at 1 m/s."""


class ClockSample(msgspec.Struct, frozen=True, kw_only=True):
    """One question and its answer [ns]: asked and answered on our clock, theirs in between."""

    asked_ns: int
    answered_ns: int
    theirs_ns: int


class ClockOffset(msgspec.Struct, frozen=True, kw_only=True):
    """Theirs minus ours, known to ``bound_ns`` at ``t_ns`` of our clock."""

    offset_ns: int
    bound_ns: int
    t_ns: int

    def bound_at(self, now_ns: int) -> int:
        """Return the bound at a later time."""
        return self.bound_ns + _drift_ns(now_ns - self.t_ns)


SAME_CLOCK = ClockOffset(offset_ns=0, bound_ns=0, t_ns=0)


class ClockEstimator:
    """Keeps the narrowest interval that all answers leave."""

    def __init__(self) -> None:
        self._best: ClockOffset | None = None
        self.contradictions = 0

    @property
    def offset(self) -> ClockOffset | None:
        """What is known; None before the first answer."""
        return self._best

    def add(self, sample: ClockSample) -> ClockOffset:
        """Take an answer; one that contradicts what was known means that a clock stepped.

        Raises:
            WireError: the answer came before its question.
        """
        if sample.answered_ns < sample.asked_ns:
            raise WireError("a clock answer came before its question")
        # The clocks drift during the round trip, too.
        drift_ns = _drift_ns(sample.answered_ns - sample.asked_ns) + 1
        low = sample.theirs_ns - sample.answered_ns - drift_ns
        high = sample.theirs_ns - sample.asked_ns + drift_ns
        if self._best is not None:
            known, bound = self._best, self._best.bound_at(sample.answered_ns)
            both = (max(low, known.offset_ns - bound), min(high, known.offset_ns + bound))
            if both[0] <= both[1]:
                low, high = both
            else:
                self.contradictions += 1
        middle = (low + high) // 2
        self._best = ClockOffset(offset_ns=middle, bound_ns=high - middle, t_ns=sample.answered_ns)
        return self._best


def _drift_ns(span_ns: int) -> int:
    """Return how far two clocks may have come apart; rounded up."""
    return math.ceil(abs(span_ns) * MAX_DRIFT)


def require_for_execute(offset: ClockOffset, now_ns: int) -> None:
    """Raise unless the clocks are known well enough to move an arm.

    Raises:
        WireError: the bound is above 5 ms.
    """
    bound_ns = offset.bound_at(now_ns)
    if bound_ns > MAX_EXECUTE_BOUND_NS:
        raise WireError(
            "the clocks of the two hosts are not known well enough to move the arm",
            got=f"an error of up to {bound_ns / 1e6:.1f} ms",
            expected=f"at most {MAX_EXECUTE_BOUND_NS / 1e6:g} ms",
            next_command="use a wired network between the two hosts, or run on one",
        )


def command_for(command: Command, offset: ClockOffset, now_ns: int) -> Command:
    """Return a command with its stamps on the arm's clock.

    What is not known of the clocks makes the observation older and the validity shorter.
    """
    if offset is SAME_CLOCK:
        return command
    bound_ns = offset.bound_at(now_ns)
    shift = offset.offset_ns
    return msgspec.structs.replace(
        command,
        t_obs_ns=command.t_obs_ns + shift - bound_ns if command.t_obs_ns else 0,
        t_due_ns=command.t_due_ns + shift,
        valid_until_ns=command.valid_until_ns + shift - bound_ns,
    )


def state_from(state: ArmState, offset: ClockOffset, now_ns: int | None = None) -> ArmState:
    """Return an arm state with its stamp on our clock.

    Args:
        state: as it arrived.
        offset: of the arm's clock.
        now_ns: given where its age decides: then it is older by what is not known of the clocks.
    """
    if offset is SAME_CLOCK:
        return state
    bound_ns = offset.bound_at(now_ns) if now_ns is not None else 0
    return msgspec.structs.replace(state, t_ns=state.t_ns - offset.offset_ns - bound_ns)


E = TypeVar("E", bound=Event)


def event_from(event: E, offset: ClockOffset) -> E:
    """Return an event of the arm with its stamp on our clock."""
    if offset is SAME_CLOCK:
        return event
    return msgspec.structs.replace(event, t_ns=event.t_ns - offset.offset_ns)
