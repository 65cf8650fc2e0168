"""Snapshots of the twin in a shared ring: the newest one, or the nearest to a time."""

from __future__ import annotations

from typing import Protocol

from dvla.bindings import SharedRing
from dvla.runtime.twin.snapshot import SNAPSHOT_BYTES, TwinSnapshot, unpack_snapshot


class Snapshots(Protocol):
    """The world of a twin over time."""

    def newest(self) -> TwinSnapshot | None:
        """Return the newest snapshot, or None before the first."""

    def at(self, t_ns: int) -> TwinSnapshot | None:
        """Return the snapshot nearest to a time, or None when there is none."""


class SnapshotReader:
    """Reads the snapshots that the arm process publishes.

    Args:
        ring: a ring whose slots hold one snapshot.
    """

    def __init__(self, ring: SharedRing) -> None:
        self._ring = ring
        self._buffer = bytearray(SNAPSHOT_BYTES)

    def newest(self) -> TwinSnapshot | None:
        """Return the newest snapshot, or None before the first."""
        return self._read(self._ring.newest)

    def at(self, t_ns: int) -> TwinSnapshot | None:
        """Return the snapshot nearest to a time, or None when there is none."""
        times = self._ring.times()
        if not times:
            return None
        return self._read(min(times, key=lambda row: abs(row[1] - t_ns))[0])

    def _read(self, sequence: int) -> TwinSnapshot | None:
        if not sequence or self._ring.read(sequence, self._buffer) is None:
            return None
        return unpack_snapshot(self._buffer)
