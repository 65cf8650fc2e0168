"""The panel: fits the terminal, and steps aside where there is none."""

from __future__ import annotations

import io
import logging

import msgspec
import pytest
from synthetic_run import START_NS, H, arm_states, events, servo_ticks

from dvla.runtime.clock import NS_PER_MS, NS_PER_S
from dvla.runtime.panel import LivePanel, PlainLog, open_display, plain_line, wants_plain
from dvla.runtime.status import ProcessStatus, RunStatus, StatusTracker


@pytest.fixture(scope="module")
def status() -> RunStatus:
    tracker = StatusTracker(H)
    for event in events(8.0):
        tracker.add_event(event)
    tracker.add_servo_ticks(servo_ticks(8.0))
    for state in arm_states(8.0):
        tracker.add_arm_state(state)
    for number, name in enumerate(("policy", "servo", "arm", "camera", "recorder", "supervisor")):
        tracker.set_process(
            ProcessStatus(
                name=name, pid=4_194_000 + number, alive=name != "camera", rate_hz=20.0,
                declared_hz=25.0,
            )
        )  # fmt: skip
    return tracker.snapshot(START_NS + 8 * NS_PER_S)


def drawn(status: RunStatus, width: int) -> list[str]:
    from rich.console import Console

    from dvla.runtime.panel_layout import render

    console = Console(width=width, height=30, file=io.StringIO(), record=True)
    console.print(render(status, "dvla-run"))
    return console.export_text().splitlines()


@pytest.mark.parametrize("width", [80, 100, 160])
def test_it_fits_and_says_everything(status: RunStatus, width: int) -> None:
    lines = drawn(status, width)
    assert len(lines) <= 30 and all(len(line) <= width for line in lines)
    text = "\n".join(lines)
    for word in (
        "replan_hz", "action_hz", "dispatch_hz", "inference", "obs. age", "underruns",
        "seam jump", "saturated", "tracking", "RUNNING", "FOLLOW", "1 of 2", "dead", "4194001",
        f"{status.replan_hz:.2f}", f"{status.dispatch_hz:.1f}", "28 of 29", "stale 1",
    ):  # fmt: skip
        assert word in text, word


def test_an_empty_status_can_be_drawn() -> None:
    assert "UNKNOWN" in "\n".join(drawn(StatusTracker(H).snapshot(START_NS), 80))


def test_markup_in_a_task_is_text(status: RunStatus) -> None:
    strange = msgspec.structs.replace(status, episode_text="[red]can[/nonsense]", notes=("[/x]",))
    assert "[red]can" in "\n".join(drawn(strange, 120))


def test_the_plain_log_speaks_once_per_second(
    status: RunStatus, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "dvla.run"):
        log = PlainLog("oracle on the twin")
        for step in range(25):
            now_ns = status.t_ns + step * 100 * NS_PER_MS
            log.update(msgspec.structs.replace(status, t_ns=now_ns))
        log.close()
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0] == "oracle on the twin"
    assert sum("replan_hz=" in line for line in lines) == 3
    assert sum("Real-time priority" in line for line in lines) == 1


def test_the_plain_line_names_the_dead(status: RunStatus) -> None:
    line = plain_line(status)
    assert "dead=camera" in line and "accepted=1997/1998" in line and "\n" not in line


def test_a_pipe_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert wants_plain(False, io.StringIO()) and not wants_plain(False, Terminal())
    assert wants_plain(True, Terminal())
    monkeypatch.setenv("NO_COLOR", "1")
    assert wants_plain(False, Terminal())
    assert isinstance(open_display("x", plain=True), PlainLog)


def test_the_live_panel_gives_the_terminal_back(status: RunStatus) -> None:
    from rich.console import Console

    screen = io.StringIO()
    panel = LivePanel("dvla-run", Console(file=screen, force_terminal=True, width=100))
    panel.update(status)
    panel.update(status)
    panel.close()
    panel.close()
    assert "\x1b[?25l" in screen.getvalue() and screen.getvalue().rstrip().endswith("\x1b[?25h")
