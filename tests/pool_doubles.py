"""Seed runners that do as their job says: answer, fail, fill the disk, or end their process."""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path

import msgspec


class Behaviour(msgspec.Struct, frozen=True, kw_only=True):
    """What happens on some seeds; ``folder`` remembers across processes.

    Attributes:
        dies_once / dies: seeds that kill their process, the first time or every time.
        full: a seed that meets a full disk; wrong: one that meets a fault of ours.
    """

    folder: str
    dies_once: tuple[int, ...] = ()
    dies: tuple[int, ...] = ()
    full: int = -1
    wrong: int = -1


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """The square of a seed."""

    square: int


class Squares:
    """Squares seeds."""

    def __init__(self, job: bytes) -> None:
        self._does = msgspec.json.decode(job, type=Behaviour)

    def run(self, seed: int) -> Result:
        """Return the square of a seed, or do what was asked for instead."""
        print("noise on stdout that is no answer")
        mark = Path(self._does.folder, f"died-{seed}")
        if seed in self._does.dies or (seed in self._does.dies_once and not mark.exists()):
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if seed == self._does.full:
            raise OSError(errno.ENOSPC, "No space left on device", "episode.npy")
        if seed == self._does.wrong:
            raise ZeroDivisionError("seed")
        return Result(square=seed * seed)
