"""Refused commands: counted by reason, and told now and then."""

from __future__ import annotations

from dvla.runtime.events import CommandRejected, EventSink
from dvla.runtime.messages import Command
from dvla.runtime.safety import QUIET_REASONS, Verdict

EVENT_EVERY_NS = 500_000_000


class Refusals:
    """Keeps count of what the gate refused.

    Args:
        events: where refusals are told.

    Attributes:
        counts: reason -> commands.
    """

    def __init__(self, events: EventSink) -> None:
        self._events = events
        self._noted = ("", 0)
        self.counts: dict[str, int] = {}

    def clear(self) -> None:
        """Note that a command was accepted: the next refusal is news."""
        self._noted = ("", 0)

    def add(self, command: Command, verdict: Verdict, now_ns: int) -> None:
        """Count a refusal, and tell it unless it repeats the last one."""
        reason = verdict.reason
        self.counts[reason] = self.counts.get(reason, 0) + 1
        noted, noted_ns = self._noted
        # 250 refusals a second say no more than the first one does.
        repeated = reason == noted and now_ns - noted_ns < EVENT_EVERY_NS
        if reason in QUIET_REASONS or repeated:
            return
        self._noted = (reason, now_ns)
        self._events.emit(
            CommandRejected(
                t_ns=now_ns,
                session=command.session,
                sequence=command.sequence,
                reason=reason,
                detail=verdict.detail,
            )
        )
