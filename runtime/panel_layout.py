"""The layout of the live panel: two columns of small tables, one column on narrow terminals."""

from __future__ import annotations

from collections.abc import Mapping

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from dvla.runtime.panel_keys import HINT
from dvla.runtime.percentiles import Percentiles
from dvla.runtime.status import ProcessStatus, RunStatus

GOOD, FAIR, BAD, QUIET = "green", "yellow", "bold red", "dim"
ON_RATE = 0.9  # a process at less than this share of its declared rate is not keeping up
MAX_PROCESSES_SHOWN = 7
MAX_NOTES_SHOWN = 2

STATE_STYLES = {
    "running": GOOD,
    "follow": GOOD,
    "underrun": FAIR,
    "stopping": FAIR,
    "hold": FAIR,
    "too_slow": BAD,
    "fault": BAD,
    "shutdown": QUIET,
}

Row = tuple[str, Text]


def render(status: RunStatus, title: str) -> RenderableType:
    """Return the panel of a status; it lays itself out for the terminal's width."""
    return StatusView(status, title)


class StatusView:
    """A renderable that asks the console for its width at the moment it is drawn."""

    def __init__(self, status: RunStatus, title: str) -> None:
        self._status = status
        self._title = title

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw the panel."""
        status = self._status
        left = Group(
            section("rates", rate_rows(status)),
            section("time", time_rows(status)),
            section("motion", motion_rows(status)),
        )
        right = Group(
            section("chunks and actions", chunk_rows(status)),
            section("arm", arm_rows(status)),
            process_table(status.processes),
        )
        columns = Table.grid(expand=True, padding=(0, 2))
        columns.add_column(ratio=1)
        columns.add_column(ratio=1)
        columns.add_row(left, right)
        yield Panel(
            Group(headline(status), columns, *notes(status)),
            title=Text(f" {self._title} ", style="bold"),
            subtitle=Text(
                f" last {status.window_s:.0f} s · {HINT} ",
                style=QUIET,
            ),
            box=box.ROUNDED,
            border_style="cyan",
            padding=(0, 1),
        )


def headline(status: RunStatus) -> Text:
    """Return the line that a glance takes in: state, arm, catches, elapsed time."""
    scheduler = status.scheduler_state.upper().replace("_", " ")
    parts = [
        (f"{status.elapsed_s:7.1f} s", "bold"),
        ("   scheduler ", QUIET),
        (scheduler, STATE_STYLES.get(status.scheduler_state, "")),
        ("   arm ", QUIET),
        (status.arm_mode.upper(), STATE_STYLES.get(status.arm_mode, "")),
    ]
    if status.arm_shadow:
        parts += [(" in shadow", FAIR)]
    if status.attempts:
        parts += [("   caught ", QUIET), (f"{status.caught} of {status.attempts}", "bold")]
    if status.episode_text:
        parts += [("   ", ""), (status.episode_text, "italic")]
    line = Text.assemble(*parts)
    line.no_wrap, line.overflow = True, "ellipsis"
    return line


def section(title: str, rows: list[Row]) -> Table:
    """Return a titled table of labels and values."""
    table = Table(
        box=box.SIMPLE_HEAD,
        border_style="bright_black",
        expand=True,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    table.add_column(Text(title, style="bold cyan"), style=QUIET, no_wrap=True)
    table.add_column("", justify="right", no_wrap=True, overflow="ellipsis", ratio=1)
    for label, value in rows:
        table.add_row(label, value)
    return table


def rate_rows(status: RunStatus) -> list[Row]:
    """Return the three rates, each under its own name."""
    return [
        ("replan_hz", Text(f"{status.replan_hz:.2f} chunks/s", style="bold")),
        ("action_hz", Text(f"{status.action_hz:.1f} actions/s", style="bold")),
        ("dispatch_hz", Text(f"{status.dispatch_hz:.1f} commands/s", style="bold")),
    ]


def time_rows(status: RunStatus) -> list[Row]:
    """Return the durations, in milliseconds."""
    late = status.lateness_s
    jitter = "–" if late is None else f"{_ms(late.p50, 2)} / {_ms(late.p99, 2)} / {_ms(late.max)}"
    return [
        ("inference p50/p95", _pair(status.inference_s)),
        ("obs. age p50/p95", _pair(status.observation_age_s)),
        ("late p50/p99/max", Text(f"{jitter} ms")),
        ("overruns", _count(status.overruns)),
    ]


def motion_rows(status: RunStatus) -> list[Row]:
    """Return what the arm's motion looks like."""
    saturated = status.saturated_share
    style = FAIR if saturated is not None and saturated > 0.2 else ""
    return [
        ("seam jump last", _jump(status.seam_last_m, status.seam_last_rad)),
        ("seam jump max", _jump(status.seam_max_m, status.seam_max_rad)),
        ("tracking error", _jump(status.tracking_m, status.tracking_rad)),
        (
            "saturated ticks",
            Text("–" if saturated is None else f"{100 * saturated:.1f} %", style=style),
        ),
    ]


def chunk_rows(status: RunStatus) -> list[Row]:
    """Return what became of the chunks and their actions."""
    return [
        ("chunks merged", Text(f"{status.merged} of {status.chunks}")),
        ("discarded", _reasons(status.discarded)),
        ("actions executed", Text(str(status.actions_executed), style=GOOD)),
        ("stale", Text(str(status.actions_stale))),
        ("overridden", Text(str(status.actions_overridden))),
        ("underruns", _count(status.underruns)),
    ]


def arm_rows(status: RunStatus) -> list[Row]:
    """Return what the arm makes of the commands."""
    judged = status.accepted + sum(status.rejected.values())
    share = f" ({100 * status.accepted / judged:.1f} %)" if judged else ""
    rows = [
        ("commands accepted", Text(f"{status.accepted}{share}")),
        ("rejected", _reasons(status.rejected)),
    ]
    if status.arm_clock:
        rows.append(("controller", Text(status.arm_clock)))
    if status.arm_reason:
        rows.append(("reason", Text(status.arm_reason, style=FAIR)))
    return rows


def process_table(processes: tuple[ProcessStatus, ...]) -> Table:
    """Return the health of the processes."""
    rows = []
    for process in processes[:MAX_PROCESSES_SHOWN]:
        told = Text.assemble((f"{_process_rate(process)}  ", QUIET), (f"{process.pid:>7} ", QUIET))
        told.append(*_health(process))
        rows.append((process.name, told))
    return section("processes", rows or [("none yet", Text(""))])


def notes(status: RunStatus) -> list[Text]:
    """Return the newest notes and the scheduler's own words."""
    lines = []
    if status.scheduler_detail and status.scheduler_state != "running":
        lines.append(Text(f"scheduler: {status.scheduler_detail}", style=FAIR))
    lines += [Text(note, style=FAIR) for note in status.notes[-MAX_NOTES_SHOWN:]]
    for line in lines:
        line.no_wrap, line.overflow = True, "ellipsis"
    return lines


def _health(process: ProcessStatus) -> tuple[str, str]:
    if not process.alive:
        return "dead", BAD
    slow = (
        process.rate_hz is not None
        and process.declared_hz is not None
        and process.rate_hz < ON_RATE * process.declared_hz
    )
    return ("slow", FAIR) if slow else ("  ok", GOOD)


def _process_rate(process: ProcessStatus) -> str:
    return "" if process.rate_hz is None else f"{process.rate_hz:.1f} Hz"


def _ms(value_s: float, digits: int = 1) -> str:
    return f"{value_s * 1e3:.{digits}f}"


def _pair(value: Percentiles | None) -> Text:
    return Text("–" if value is None else f"{_ms(value.p50, 0)} / {_ms(value.p95, 0)} ms")


def _jump(metres: float | None, radians: float | None) -> Text:
    if metres is None or radians is None:
        return Text("–")
    return Text(f"{metres * 1e3:.1f} mm, {radians:.3f} rad")


def _count(count: int) -> Text:
    return Text(str(count), style=FAIR if count else "")


def _reasons(counts: Mapping[str, int]) -> Text:
    told = ", ".join(f"{reason} {count}" for reason, count in counts.items() if count)
    return Text(told or "none", style=FAIR if told else "")
