"""The life of a controller's overrides: told when they begin, ended together, told again."""

from __future__ import annotations

from dvla.runtime.events import EventSink, Note
from dvla.runtime.limits import ArmLimits
from dvla.runtime.overrides import SafetyOverride, overridden


class Widening:
    """The limits of one arm with overrides, until the first of these ends.

    Args:
        limits: as shipped.
        overrides: in force from now on.
        events: where they are told.
        now_ns: the time.

    Attributes:
        limits: in force.

    Raises:
        ConfigError: the limits or an override are out of their bounds.
    """

    def __init__(
        self,
        limits: ArmLimits,
        overrides: tuple[SafetyOverride, ...],
        events: EventSink,
        now_ns: int,
    ) -> None:
        self._shipped, self.limits = limits, overridden(limits, overrides)
        self._overrides, self._events = overrides, events
        shortest_s = min((override.duration_s for override in overrides), default=0.0)
        self._end_ns = now_ns + int(1e9 * shortest_s)
        self.tell(now_ns)

    def tell(self, now_ns: int) -> None:
        """Tell what is in force."""
        for override in self._overrides:
            self._events.emit(Note(t_ns=now_ns, source="arm", text=f"override: {override.text}"))

    def over(self, now_ns: int) -> bool:
        """Return whether the shipped limits are to be back in force, and are not yet."""
        return bool(self._overrides) and now_ns >= self._end_ns

    def end(self, now_ns: int) -> ArmLimits:
        """Go back to the shipped limits, tell so, and return them."""
        names = ", ".join(override.name for override in self._overrides)
        self._events.emit(Note(t_ns=now_ns, source="arm", text=f"override ended: {names}"))
        self._overrides, self.limits = (), self._shipped
        return self.limits

    def left_s(self, now_ns: int) -> dict[str, float]:
        """Return the limits that are widened: name -> seconds left."""
        left = max(0.0, (self._end_ns - now_ns) / 1e9)
        return {override.name: left for override in self._overrides}
