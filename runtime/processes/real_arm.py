"""The arm of a real robot: its driver under the controller. It begins in shadow."""

from __future__ import annotations

from dvla.bindings import ServoClock, SharedRing
from dvla.runtime.events import EventSink, Note
from dvla.runtime.phase import Phase
from dvla.runtime.processes.settings import Settings
from dvla.runtime.replay.journal import JournaledArmController
from dvla.runtime.robots.hardware import open_arm


class RealArm:
    """Driver and controller of a real arm, and the moment at which it first follows.

    Args:
        settings: of the run.
        events: where events go.
        clock: of the loop.
        period_s: between commands.
        calls: takes the journal of the controller.

    Raises:
        DvlaError: the arm cannot be had.
    """

    def __init__(
        self,
        settings: Settings,
        events: EventSink,
        clock: ServoClock,
        period_s: float,
        calls: SharedRing,
    ) -> None:
        assert settings.hardware is not None
        driver = open_arm(settings.robot, settings.hardware, clock.wait, period_s)
        try:
            self.controller = JournaledArmController(
                driver,
                settings.limits,
                events,
                clock.wait(),
                session=settings.session,
                calls=calls,
                shadow=True,
                robot=settings.robot,
                overrides=settings.overrides,
            )
        except BaseException:
            driver.close()
            raise
        self._driver, self._events = driver, events
        self._begun_for = 0
        self._noticed = ""

    def tick(self, now_ns: int, phase: Phase) -> bool:
        """Read, judge and command; returns whether a commander's motion began in this turn."""
        self.controller.tick(now_ns)
        notice = getattr(self._driver, "notice", "")
        if notice != self._noticed:
            self._noticed = notice
            if notice:
                self._events.emit(Note(t_ns=now_ns, source="arm", text=notice))
        commander = self.controller.commander
        acts = phase is Phase.POLICY and self.controller.mode == "follow"
        begins = acts and commander != self._begun_for
        if begins:
            self._begun_for = commander
        return begins

    def snapshot(self) -> None:
        """A real arm has no world to look into."""

    def timekeeping(self) -> str:
        """Say in words how the arm was driven."""
        return "a real arm"
