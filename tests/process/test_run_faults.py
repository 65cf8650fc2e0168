"""What a run does when one of its processes is killed, or is stopped and says nothing more."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import pytest
from run_harness import PROCESSES, LiveRun

Start = Callable[..., LiveRun]
ORACLE = ("--policy", "oracle", "--duration", "0")
LEFT_AFTER_S = 2.0


@pytest.mark.parametrize("name", PROCESSES)
def test_a_killed_process_stops_the_run_and_is_named(start: Start, name: str) -> None:
    run = start(*ORACLE)
    run.until_following()
    os.kill(run.pids()[name], signal.SIGKILL)
    assert run.end() == 1, run.text
    assert f"process {name} " in run.text
    assert "SIGKILL" in run.text
    if name not in ("arm", "recorder"):
        modes = [event["mode"] for event in run.events("arm_mode")]
        assert "stopping" in modes[modes.index("follow") :], "the arm was not stopped"
    assert run.left_behind() == []


def test_an_arm_that_is_killed_while_the_rest_starts_is_named(start: Start) -> None:
    run = start(*ORACLE)
    run.until(r"arm: pid \d+")
    os.kill(run.pids()["arm"], signal.SIGKILL)
    assert run.end() == 1, run.text
    assert "process arm " in run.text and "SIGKILL" in run.text
    assert "nobody is connected" not in run.text
    assert run.left_behind() == []


@pytest.mark.parametrize("name", ["servo", "policy"])
def test_a_silent_process_stops_the_run_and_is_named(start: Start, name: str) -> None:
    run = start(*ORACLE)
    run.until_following()
    os.kill(run.pids()[name], signal.SIGSTOP)
    assert run.end() == 1, run.text
    assert f"process {name} " in run.text
    assert "stalled" in run.text
    assert run.left_behind() == []


def test_nothing_outlives_a_killed_supervisor_and_the_next_run_ends_by_sigterm(
    start: Start,
) -> None:
    run = start(*ORACLE)
    run.until_following()
    run.process.kill()
    run.process.wait()
    time.sleep(LEFT_AFTER_S)
    assert run.left_behind() == []
    again = start(*ORACLE)
    again.until_following()
    again.process.terminate()
    assert again.end() == 128 + signal.SIGTERM, again.text
    assert again.left_behind() == []
