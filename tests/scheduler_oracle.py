"""A slow reference of the scheduling laws: every instant is decided anew from all arrivals so far.

It shares nothing with the scheduler but the laws: no timeline, no cursor, no merging.
"""

from __future__ import annotations

import msgspec
from scheduler_scenario import CHUNK_SIZE, PERIOD_NS, Run

HORIZON_NS = CHUNK_SIZE * PERIOD_NS


class Accepted(msgspec.Struct):
    """A chunk that counts: since when, with which time base, and until when it may supply."""

    number: int
    t_obs_ns: int
    since_ns: int
    tau_ns: int
    until_ns: int


class Oracle:
    """Replays the steps of a run by the letter of the laws."""

    def __init__(self, run: Run) -> None:
        self.config = run.scenario.config
        self.verdicts: list[str | None] = []
        self.accepted: list[Accepted] = []
        self._now_ns = 0
        self._accepted_before_reset = 0  # a reset: a start, a hold or a new generation
        self._anchors: list[int] = []
        self._stale = 0
        self._seen: set[int] = set()  # capture times of what this generation accepted
        begun: dict[int, tuple[int, int]] = {}
        generation = 0
        finished: set[int] = set()
        for step in run.steps:
            self._now_ns = step.t_ns
            if step.kind == "begin":
                age_ns = run.scenario.inferences[step.number].age_ns
                begun[step.number] = (generation, step.t_ns - age_ns)
            elif step.kind == "deliver":
                its_generation, t_obs_ns = begun[step.number]
                again = step.number in finished
                finished.add(step.number)
                if its_generation != generation:
                    self.verdicts.append("generation")
                else:
                    self.verdicts.append(self._arrive(step.number, t_obs_ns, again))
            else:
                self._stop()
                self._accepted_before_reset = len(self.accepted)
                self._stale = 0
                if step.kind == "generation":
                    generation += 1
                    self._seen = set()

    def in_force(self, t_ns: int) -> tuple[int, int] | None:
        """Return (inference, index) in force at an instant, or None."""
        candidates = [a for a in self.accepted if a.since_ns <= t_ns < a.until_ns]
        if not self.config.laas:
            candidates = [a for a in candidates if a.tau_ns <= t_ns < a.tau_ns + HORIZON_NS]
        newest = max(candidates, key=lambda a: a.t_obs_ns, default=None)
        if newest is None or t_ns >= newest.tau_ns + HORIZON_NS:
            return None
        return newest.number, (t_ns - newest.tau_ns) // PERIOD_NS

    def _stop(self) -> None:
        for chunk in self.accepted:
            chunk.until_ns = min(chunk.until_ns, self._now_ns)
        self._anchors = []

    def _live(self) -> list[Accepted]:
        return [a for a in self.accepted if a.until_ns > self._now_ns]

    def _arrive(self, number: int, t_obs_ns: int, again: bool) -> str | None:
        now_ns = self._now_ns
        if again:
            return "duplicate"
        if any(t_obs_ns < seen for seen in self._seen):
            return "late"
        if t_obs_ns in self._seen:
            return "duplicate"
        tau_ns = self._tau(t_obs_ns)
        if tau_ns + HORIZON_NS <= now_ns:
            self._stale += 1
            if self._stale == 3:
                self._stop()
            return "stale"
        self._stale = 0
        self._seen.add(t_obs_ns)
        if not self.config.laas:
            for chunk in self._live():
                if chunk.tau_ns >= now_ns:
                    chunk.until_ns = chunk.tau_ns  # superseded in the waiting slot
        self.accepted.append(Accepted(number, t_obs_ns, now_ns, tau_ns, 2**62))
        return None

    def _tau(self, t_obs_ns: int) -> int:
        now_ns, live = self._now_ns, self._live()
        if not self.config.laas:
            playing = [a.tau_ns + HORIZON_NS for a in live if a.tau_ns < now_ns]
            return max([now_ns, *playing])
        first = len(self.accepted) == self._accepted_before_reset
        dry = bool(live) and all(a.tau_ns + HORIZON_NS < now_ns for a in live)
        anchor = self.config.resume == "anchor" and dry
        if first:
            moved = any(self._executed_until(a) > t_obs_ns for a in self.accepted)
            anchor = self.config.bootstrap == "anchor" and not moved
        if anchor:
            self._anchors.append(now_ns)
            return now_ns
        return max([t_obs_ns, *self._anchors])

    def _executed_until(self, chunk: Accepted) -> int:
        """Return when the last action of a chunk that came into force ended, 0 if none did."""
        came = chunk.since_ns < chunk.until_ns and chunk.tau_ns < chunk.until_ns
        return min(chunk.until_ns, chunk.tau_ns + HORIZON_NS) if came else 0
