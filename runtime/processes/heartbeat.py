"""Heartbeats: one row per process in a memfd, from which the supervisor derives liveness.

One more row is the supervisor's: the phase of the run, which all processes read.
"""

from __future__ import annotations

import mmap
import os

import numpy as np

from dvla.runtime.phase import Phase

ROW = 8  # one cache line of int64 per process: beat time and beat count


class HeartbeatBoard:
    """When each process last finished a turn of its loop.

    Every process writes its own row with aligned 8-byte stores; readers only compare times, so a
    reading between the two stores does no harm.

    Args:
        fd: the memfd behind the board.
        rows: number of processes.
    """

    def __init__(self, fd: int, rows: int) -> None:
        self.fd = fd
        self._map = mmap.mmap(fd, (rows + 1) * ROW * 8)
        self._board = np.frombuffer(self._map, np.int64).reshape(rows + 1, ROW)

    @staticmethod
    def create(rows: int) -> HeartbeatBoard:
        """Make a board for a number of processes."""
        fd = os.memfd_create("dvla-heartbeat")
        os.ftruncate(fd, (rows + 1) * ROW * 8)
        return HeartbeatBoard(fd, rows)

    def beat(self, row: int, now_ns: int) -> None:
        """Say that the process of this row finished a turn of its loop."""
        self._board[row, 0] = now_ns
        self._board[row, 1] += 1

    def last(self, row: int) -> tuple[int, int]:
        """Return when the process last beat [ns], 0 for never, and how often."""
        return int(self._board[row, 0]), int(self._board[row, 1])

    @property
    def phase(self) -> Phase:
        """What the processes may do now."""
        return Phase(int(self._board[-1, 0]))

    def enter(self, phase: Phase) -> None:
        """Tell all processes what they may do; the supervisor alone does."""
        self._board[-1, 0] = int(phase)
