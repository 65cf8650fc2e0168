"""What a person sees during a run: a live panel, or one log line per second."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from typing import TYPE_CHECKING, TextIO

from dvla.runtime.clock import NS_PER_S
from dvla.runtime.status import RunStatus

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live

LOGGER = logging.getLogger("dvla.run")


def wants_plain(plain: bool, stream: TextIO | None = None) -> bool:
    """Whether to log lines: asked for, NO_COLOR set, a dumb terminal, or no terminal at all."""
    stream = stream or sys.stdout
    return (
        plain
        or bool(os.environ.get("NO_COLOR"))
        or os.environ.get("TERM") == "dumb"
        or not stream.isatty()
    )


class LivePanel:
    """A panel that is redrawn in place; when its terminal is gone, nothing is drawn any more.

    Args:
        title: what runs, on what.
        console: where to draw; the terminal by default.
    """

    def __init__(self, title: str, console: Console | None = None) -> None:
        self._title = title
        self._console = console
        self._live: Live | None = None
        self._gone = False

    def update(self, status: RunStatus) -> None:
        """Draw a status, where there is still a terminal."""
        if self._gone:
            return
        try:
            self._draw(status)
        except OSError:
            self._gone = True
            self.close()

    def _draw(self, status: RunStatus) -> None:
        from rich.live import Live

        from dvla.runtime.panel_layout import render

        view = render(status, self._title)
        if self._live is None:
            self._live = Live(view, console=self._console, auto_refresh=False)
            self._live.start()
        self._live.update(view, refresh=True)

    def close(self) -> None:
        """Leave the last picture on the terminal and give the cursor back."""
        live, self._live = self._live, None
        if live is not None:
            with contextlib.suppress(OSError):
                live.stop()


class PlainLog:
    """One line per second through the standard library's logging.

    Args:
        title: what runs, on what; logged once.
    """

    def __init__(self, title: str, logger: logging.Logger = LOGGER) -> None:
        self._logger = logger
        self._next_ns = 0
        self._notes: tuple[str, ...] = ()
        self._logger.info("%s", title)

    def update(self, status: RunStatus) -> None:
        """Log a status, if a second has passed since the last one; new notes at once."""
        for note in status.notes:
            if note not in self._notes:
                self._logger.warning("%s", note)
        self._notes = status.notes
        if status.t_ns >= self._next_ns:
            self._next_ns = status.t_ns + NS_PER_S
            self._logger.info("%s", plain_line(status))

    def close(self) -> None:
        """End the log; there is nothing to give back."""


def plain_line(status: RunStatus) -> str:
    """Return the status as one line of ``name=value`` pairs."""
    inference, age, late = status.inference_s, status.observation_age_s, status.lateness_s
    judged = status.accepted + sum(status.rejected.values())
    dead = [process.name for process in status.processes if not process.alive]
    parts = [
        f"t={status.elapsed_s:.1f}s",
        f"scheduler={status.scheduler_state}",
        f"arm={status.arm_mode}",
        "shadow=yes" if status.arm_shadow else "",
        f"replan_hz={status.replan_hz:.2f}",
        f"action_hz={status.action_hz:.1f}",
        f"dispatch_hz={status.dispatch_hz:.1f}",
        f"inference_p50_ms={inference.p50 * 1e3:.0f}" if inference else "",
        f"inference_p95_ms={inference.p95 * 1e3:.0f}" if inference else "",
        f"age_p50_ms={age.p50 * 1e3:.0f}" if age else "",
        f"age_p95_ms={age.p95 * 1e3:.0f}" if age else "",
        f"late_p99_ms={late.p99 * 1e3:.2f}" if late else "",
        f"underruns={status.underruns}",
        f"stale={status.actions_stale}",
        f"overridden={status.actions_overridden}",
        f"seam_max_mm={status.seam_max_m * 1e3:.1f}" if status.seam_max_m is not None else "",
        f"saturated={100 * status.saturated_share:.1f}%"
        if status.saturated_share is not None
        else "",
        f"accepted={status.accepted}/{judged}",
        f"caught={status.caught}/{status.attempts}" if status.attempts else "",
        f"arm_clock={status.arm_clock!r}" if status.arm_clock else "",
        f"dead={','.join(dead)}" if dead else "",
    ]
    return " ".join(part for part in parts if part)


def open_display(title: str, *, plain: bool) -> LivePanel | PlainLog:
    """Return the display that suits the terminal."""
    return PlainLog(title) if wants_plain(plain) else LivePanel(title)
