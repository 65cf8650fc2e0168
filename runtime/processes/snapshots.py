"""Where a process of a run reads the twin's world: shared memory, or the wire."""

from __future__ import annotations

from dvla.bindings import SharedRing
from dvla.runtime.clock_board import ClockBoard
from dvla.runtime.processes.settings import Settings
from dvla.runtime.twin.snapshot_ring import SnapshotReader, Snapshots
from dvla.runtime.wire_news import SnapshotStream


def open_snapshots(settings: Settings, clock_of_arm: ClockBoard) -> Snapshots:
    """Return the snapshots of this run's twin; a twin of its own sends them over the wire."""
    if settings.arm_alone:
        return SnapshotStream(settings.link.connecting(), lambda: clock_of_arm.offset)
    return SnapshotReader(SharedRing.attach(settings.rings.snapshot))
