"""A controller of its own: what ``dvla-arm run`` does. It starts the arm process and watches it.

The process is the one that ``dvla-run`` starts. It stops and holds the arm by itself when its
commander falls silent, and when this parent dies, whatever the parent died of.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable

import msgspec

from dvla.runtime.arm_link import ArmLink
from dvla.runtime.config import SchedulerConfig, ServoConfig
from dvla.runtime.errors import ProcessDied
from dvla.runtime.events import ArmModeChanged, Event, Note
from dvla.runtime.phase import Phase
from dvla.runtime.processes.settings import NO_RINGS, Settings
from dvla.runtime.signals import Signals
from dvla.runtime.supervisor import SharedMemory, Supervisor
from dvla.runtime.twin.snapshot import SNAPSHOT_BYTES
from dvla.runtime.wire_news import NewsStream

TURN_S = 0.05


class ArmHost:
    """One arm controller, from its start to its end.

    Args:
        link: where it listens.
        settings: what the arm process is told; its rings and ids are filled in here.
        say: takes a line for the person who started it.
    """

    def __init__(self, link: ArmLink, settings: Settings, say: Callable[[str], None]) -> None:
        # The controller's own key is on its own allow-list.
        self._here = msgspec.structs.replace(link, arm_key=link.keys or link.arm_key)
        self._shared = SharedMemory({}, SNAPSHOT_BYTES)
        settings = msgspec.structs.replace(
            settings,
            rings=self._shared.rings(),
            arm_link=self._here,
            supervisor_pid=os.getpid(),
            session=secrets.randbits(62) + 1,
            arm_alone=True,
        )
        self._supervisor = Supervisor(settings, self._shared, say, ("arm",))
        self._supervisor.enter(Phase.POLICY)  # what a commander is about, it alone knows
        self._say = say

    def main(self) -> int:
        """Run until a signal, or until somebody asks it to shut down; returns the exit code.

        Raises:
            DvlaError: the arm cannot be had, or its process died.
        """
        signals = Signals(once=True)
        try:
            self._supervisor.start(lambda: not signals.received)
            if not signals.received:
                for override in self._supervisor.settings.overrides:
                    self._say(f"override: {override.text}")
                self._say(f"listening at {self._here.address}; Ctrl-C stops the arm and ends this")
                self._watch(signals)
        finally:
            self._supervisor.stop("the arm controller ends")
        return 128 + signals.received if signals.received else 0

    def _watch(self, signals: Signals) -> None:
        news = NewsStream(self._here.connecting())
        try:
            while not signals.received:
                for event in news.drain():
                    self._tell(event)
                try:
                    self._supervisor.check()
                except ProcessDied:
                    if not self._supervisor.ended_in_order("arm"):
                        raise
                    self._say("shut down by request")
                    return
                time.sleep(TURN_S)
        finally:
            news.close()

    def _tell(self, event: Event) -> None:
        if isinstance(event, ArmModeChanged):
            self._say(f"{event.mode}{': ' + event.reason if event.reason else ''}")
        elif isinstance(event, Note):
            self._say(event.text)


def arm_settings(robot: str, arm_name: str, **options: object) -> Settings:
    """Return settings for an arm process without a run around it."""
    return Settings(
        session=0,
        supervisor_pid=0,
        robot=robot,
        arm_name=arm_name,
        run_folder="",
        policy="",
        scheduler=SchedulerConfig(),
        servo=ServoConfig(),
        rings=NO_RINGS,
        cameras={},
        **options,  # type: ignore[arg-type]
    )
