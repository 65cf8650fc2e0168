"""The phases of a run: what the processes may do now, as the supervisor has decided."""

from __future__ import annotations

from enum import IntEnum


class Phase(IntEnum):
    """Every child reads it in each turn of its loop."""

    WAIT = 0
    """The servo keeps the arm where it is; the policy does not begin."""
    MOVE = 1
    """The servo moves the arm slowly to the start pose; the policy rests."""
    POLICY = 2
    """The servo follows the policy."""
