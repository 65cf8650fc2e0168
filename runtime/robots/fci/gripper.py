"""The Franka Hand: its calls block for as long as the fingers move, so a thread of its own makes
them. The control loop leaves the arm controller's decision and reads the last width.

A decision holds until the next one. So what the hand did not manage, or has lost since, is tried
again for as long as it stands: closed after a missed grasp goes on closing.
"""

from __future__ import annotations

import threading
from typing import Any

from dvla.runtime.gripper import CLOSED, OPEN

MAX_WIDTH_M = 0.08
SPEED_M_S = 0.1
FORCE_N = 30.0
IDLE_S = 0.02
RETRY_STEPS = 25
"""Half a second of readings, and more, between two calls for one decision."""
SHUT_M = 0.002
"""Fingers that are nearer to each other have nothing to hold."""

WORDS = {OPEN: "opening", CLOSED: "closing"}


class GripperThread:
    """Opens and closes a hand by decisions (``dvla.runtime.gripper``).

    Args:
        hand: ``franka.Gripper``.
        start: start the thread; tests call ``step`` themselves.

    Attributes:
        width_m: as last read.
        problem: what the last command said, in words; empty when it succeeded.
    """

    def __init__(self, hand: Any, *, start: bool = True) -> None:
        self._hand = hand
        self._wish = self._tried = self._done = 0.0
        self._pause = 0
        self._ended = False
        self.width_m = float(hand.read_once().width)
        self.problem = ""
        self._thread = threading.Thread(target=self._run, name="gripper", daemon=True)
        if start:
            self._thread.start()

    @property
    def opening(self) -> float:
        """The opening in [-1, 1]."""
        return min(1.0, max(-1.0, 2.0 * self.width_m / MAX_WIDTH_M - 1.0))

    def reset(self) -> None:
        """Forget the last decision: the fingers stay where they are until the next one."""
        self._wish = self._tried = self._done = 0.0

    def want(self, opening: float) -> None:
        """Take a decision; an opening as found is none. Never waits."""
        if opening in (OPEN, CLOSED):
            self._wish = opening

    def step(self) -> None:
        """Have the hand do a decision that is not done yet, then read it."""
        wish = self._wish
        try:
            if wish != self._done and self._is_time_for(wish):
                self._tried, self._pause = wish, RETRY_STEPS
                self._done = 0.0
                if self._call(wish):
                    self._done, self.problem = wish, ""
                else:
                    self.problem = f"{WORDS[wish]} did not succeed; it is tried again"
            state = self._hand.read_once()
            self.width_m = float(state.width)
            if self._done == CLOSED and not state.is_grasped and self.width_m > SHUT_M:
                self._done = 0.0  # what it held has slipped or was pulled out
        except Exception as error:  # the library's own error; the arm goes on without a hand
            self.problem = str(error)

    def _is_time_for(self, wish: float) -> bool:
        """Return whether to call: at once for a new decision, after a pause for an old one."""
        self._pause -= 1
        return wish != self._tried or self._pause < 0

    def _call(self, wish: float) -> bool:
        if wish == OPEN:
            return bool(self._hand.move(MAX_WIDTH_M, SPEED_M_S))
        # A wide tolerance: whatever is between the fingers is what was to be grasped.
        return bool(self._hand.grasp(0.0, SPEED_M_S, FORCE_N, MAX_WIDTH_M, MAX_WIDTH_M))

    def close(self) -> None:
        """End the thread; the fingers keep their grip."""
        self._ended = True

    def _run(self) -> None:
        pause = threading.Event()
        while not self._ended:
            self.step()
            pause.wait(IDLE_S)
