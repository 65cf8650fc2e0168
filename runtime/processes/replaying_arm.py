"""The arm of ``--robot replay``: a recorded one, under a controller that judges what it is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dvla.bindings import SharedRing
from dvla.engines.bundle import read_bundle
from dvla.runtime.events import EpisodeStarted, EventSink
from dvla.runtime.phase import Phase
from dvla.runtime.processes.settings import Settings
from dvla.runtime.recordings.episode import load_episode, parse_episode
from dvla.runtime.replay.journal import JournaledArmController
from dvla.runtime.robots.replay import REPLAY_LIMITS
from dvla.runtime.robots.replaying import ReplayingDriver
from dvla.runtime.twin.snapshot import OTHERS_SHAPE, TwinSnapshot, pack_snapshot


class ReplayingArm:
    """The recorded arm, and the moment at which its episode begins.

    It publishes one snapshot, when the episode begins; its time is that moment, and the cameras
    play their films from it.

    Args:
        settings: of the run.
        events: where events go.
        now_ns: the time.
        calls: takes the journal of the controller.
    """

    def __init__(
        self, settings: Settings, events: EventSink, now_ns: int, calls: SharedRing
    ) -> None:
        path, number = parse_episode(settings.episode)
        facts = read_bundle(Path(settings.bundle)).manifest.policy
        self._episode = load_episode(path, number, facts)
        self._driver = ReplayingDriver(self._episode)
        self._events = events
        self._started_ns, self._told = 0, False
        self.controller = JournaledArmController(
            self._driver,
            REPLAY_LIMITS,
            events,
            now_ns,
            session=settings.session,
            calls=calls,
            shadow=True,
        )

    def tick(self, now_ns: int, phase: Phase) -> bool:
        """Read, judge; the episode begins when the policy is first followed."""
        self.controller.tick(now_ns)
        acts = phase is Phase.POLICY and self.controller.mode == "follow"
        begins = acts and not self._started_ns
        if begins:
            self._started_ns = now_ns
            self._driver.start(now_ns)
            number = self._episode.number
            self._events.emit(
                EpisodeStarted(
                    t_ns=now_ns, episode=number, seed=number, text=self._episode.instruction
                )
            )
        return begins

    def snapshot(self) -> tuple[bytes, int] | None:
        """Return the beginning of the episode, once."""
        if not self._started_ns or self._told:
            return None
        self._told = True
        first = self._episode.states[0]
        snapshot = TwinSnapshot(
            episode=0,
            seed=self._episode.number,
            kind=0,
            colour=0,
            scene=0,
            t_ns=self._started_ns,
            qpos=np.zeros(16),
            qvel=np.zeros(15),
            others=np.zeros(OTHERS_SHAPE),
            measured=first,
            twist=np.zeros(6),
            commanded=first,
            commanded_velocity=np.zeros(3),
        )
        return pack_snapshot(snapshot), self._started_ns

    def timekeeping(self) -> str:
        """Say in words what was played."""
        return f"played {self._episode.origin}, {self._episode.length_s:.1f} s"
