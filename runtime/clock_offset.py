"""The clock of another host: its offset from ours, with a bound that is a proof and no guess.

A question leaves at t0 and its answer comes at t1 (ours); it carries the other host's time at some
instant between. So that time belongs to an instant in [t0, t1]: the offset is known to half the
round trip, whatever the network did. Intervals of several answers are intersected; between answers
the bound grows with the drift that two disciplined clocks may have against each other. That is what
the proof rests on: a clock that is slewed faster is noticed by the next answer, which contradicts,
and from then on the bound grows as fast as that makes necessary, until a minute after its end.
"""

from __future__ import annotations

import math
from typing import TypeVar

import msgspec

from dvla.runtime.errors import WireError
from dvla.runtime.events import Event
from dvla.runtime.messages import ArmState, Command

MAX_DRIFT_PPB = 1_200_000
"""Two quartz clocks of 100 ppm each, slewed by NTP's 500 ppm each, in opposite directions."""
MAX_SLEW_PPB = 170_000_000
"""Two hosts whose chrony slews as fast as it ever does; what is faster is a clock that stepped."""
UNTIL_NEXT_NS = 1_500_000_000
"""A run asks once a second: what it is cleared by has to hold until an answer is there."""
CALM_NS = 60_000_000_000
"""A drift above the usual one is believed for so long after the last answer that needs it."""
MAX_EXECUTE_BOUND_NS = 5_000_000
"""Above this nobody may move an arm: 5 ms are 5 mm at 1 m/s."""


class ClockSample(msgspec.Struct, frozen=True, kw_only=True):
    """One question and its answer [ns]: asked and answered on our clock, theirs in between."""

    asked_ns: int
    answered_ns: int
    theirs_ns: int


class ClockOffset(msgspec.Struct, frozen=True, kw_only=True):
    """Theirs minus ours, known to ``bound_ns`` at ``t_ns`` of our clock, and worse from then on."""

    offset_ns: int
    bound_ns: int
    t_ns: int
    drift_ppb: int = MAX_DRIFT_PPB

    def bound_at(self, now_ns: int) -> int:
        """Return the bound at a later time."""
        return self.bound_ns + _drift_ns(now_ns - self.t_ns, self.drift_ppb)

    def bound_before_next(self, now_ns: int) -> int:
        """Return what the bound may grow to before a run's next answer."""
        return self.bound_at(now_ns + UNTIL_NEXT_NS)


SAME_CLOCK = ClockOffset(offset_ns=0, bound_ns=0, t_ns=0)


class ClockEstimator:
    """Keeps the narrowest interval that all answers leave."""

    def __init__(self) -> None:
        self._best: ClockOffset | None = None
        self._drift_ppb = MAX_DRIFT_PPB
        self._fast_ns = 0
        self.contradictions = 0

    @property
    def offset(self) -> ClockOffset | None:
        """What is known; None before the first answer."""
        return self._best

    def add(self, sample: ClockSample) -> ClockOffset:
        """Take an answer; one that contradicts what was known means that a clock ran or stepped.

        Raises:
            WireError: the answer came before its question.
        """
        if sample.answered_ns < sample.asked_ns:
            raise WireError("a clock answer came before its question")
        if sample.answered_ns - self._fast_ns > CALM_NS:
            self._drift_ppb = MAX_DRIFT_PPB
        # The clocks drift during the round trip, too.
        drift_ns = _drift_ns(sample.answered_ns - sample.asked_ns, self._drift_ppb) + 1
        low = sample.theirs_ns - sample.answered_ns - drift_ns
        high = sample.theirs_ns - sample.asked_ns + drift_ns
        if self._best is not None:
            known, bound = self._best, self._best.bound_at(sample.answered_ns)
            usual = known.bound_ns + _drift_ns(sample.answered_ns - known.t_ns, MAX_DRIFT_PPB)
            if low > known.offset_ns + usual or high < known.offset_ns - usual:
                self._fast_ns = sample.answered_ns
            both = (max(low, known.offset_ns - bound), min(high, known.offset_ns + bound))
            if both[0] <= both[1]:
                low, high = both
            else:
                self._contradict(both[0] - both[1], sample.answered_ns, known)
        middle = (low + high) // 2
        self._best = ClockOffset(
            offset_ns=middle,
            bound_ns=high - middle,
            t_ns=sample.answered_ns,
            drift_ppb=self._drift_ppb,
        )
        return self._best

    def _contradict(self, apart_ns: int, now_ns: int, known: ClockOffset) -> None:
        """Believe twice the drift that would explain intervals that are so far apart."""
        self.contradictions += 1
        needed_ppb = known.drift_ppb + apart_ns * 10**9 // max(1, now_ns - known.t_ns)
        self._drift_ppb = min(MAX_SLEW_PPB, max(self._drift_ppb, 2 * needed_ppb))


def _drift_ns(span_ns: int, drift_ppb: int) -> int:
    """Return how far two clocks may have come apart; rounded up."""
    return math.ceil(abs(span_ns) * drift_ppb / 10**9)


def require_for_execute(offset: ClockOffset, now_ns: int) -> None:
    """Raise unless the clocks are known well enough to move an arm, and will be at the next answer.

    Raises:
        WireError: the bound may get above 5 ms before that.
    """
    bound_ns = offset.bound_before_next(now_ns)
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
