"""What a run shows while it goes on: the recorder's status, and the health of its processes."""

from __future__ import annotations

import msgspec

from dvla.bindings import SharedRing
from dvla.runtime.arm_connection import ArmConnection
from dvla.runtime.clock import NS_PER_S
from dvla.runtime.panel import LivePanel, PlainLog, open_display
from dvla.runtime.processes.table import process_spec
from dvla.runtime.run_config import RunConfig
from dvla.runtime.status import ProcessStatus, RunStatus
from dvla.runtime.supervisor import Supervisor

SHOW_EVERY_NS = 250_000_000


class RunScreen:
    """The panel, or the log lines, of one run.

    Args:
        config: of the run.
        ring: of the recorder's status.
        supervisor: knows the processes.
        arm: the connection to a controller that is none of them.

    Attributes:
        title: what runs, on what.
    """

    def __init__(
        self, config: RunConfig, ring: SharedRing, supervisor: Supervisor, arm: ArmConnection | None
    ) -> None:
        self._config, self._ring = config, ring
        self._supervisor, self._arm = supervisor, arm
        what = config.bundle.name if config.bundle else config.policy
        self.title = f"{what} on {config.robot}{' (digital twin)' if config.sim else ''}"
        if config.in_shadow and not config.execute:
            self.title += ", in shadow: nothing moves"
        self._display: LivePanel | PlainLog | None = None
        self._status = bytearray(ring.slot_bytes)
        self._beats: dict[str, tuple[int, int]] = {}
        self._shown_ns = self._next_ns = 0

    def open(self) -> None:
        """Begin to show."""
        config = self._config
        self._display = open_display(self.title, plain=config.plain or config.json)

    def close(self) -> None:
        """Leave the last picture and give the terminal back."""
        if self._display is not None:
            self._display.close()

    def show(self, now_ns: int) -> None:
        """Show how it goes, if it is time to and there is something to show."""
        if self._display is None or now_ns < self._next_ns:
            return
        self._next_ns = now_ns + SHOW_EVERY_NS
        if not self._ring.newest or self._ring.read(self._ring.newest, self._status) is None:
            return
        status = msgspec.json.decode(self._status, type=RunStatus)
        beats = self._supervisor.beats()
        health = tuple(self._health(name, beats[name], now_ns) for name in beats)
        self._beats = beats
        self._shown_ns = now_ns
        clock = self._arm.clock_words(now_ns) if self._arm else ""
        self._display.update(msgspec.structs.replace(status, processes=health, arm_clock=clock))

    def _health(self, name: str, beat: tuple[int, int], now_ns: int) -> ProcessStatus:
        """Return the health of a process from its beats since the last look."""
        spec = process_spec(name, self._supervisor.settings.servo.rate_hz)
        past = self._beats.get(name)
        span_s = (now_ns - self._shown_ns) / NS_PER_S
        return ProcessStatus(
            name=name,
            pid=self._supervisor.pids[name],
            alive=now_ns - beat[0] < spec.stall_ns,
            rate_hz=(beat[1] - past[1]) / span_s if past and span_s > 0 else None,
            declared_hz=spec.rate_hz,
        )
