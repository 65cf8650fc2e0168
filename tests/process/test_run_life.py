"""How a run lives: separate processes, a loop that closes, an orderly end."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest
from run_harness import PROCESSES, LiveRun

Start = Callable[..., LiveRun]
ORACLE = ("--policy", "oracle", "--duration", "0")


class Story(NamedTuple):
    """What one run went through, and what was seen of it meanwhile.

    Attributes:
        second: another run that was started on the same arm meanwhile.
        unharmed: whether the first one went on.
        following, holding, held, resumed: what ``dvla-arm`` said of the arm, in this order.
        executed: actions in force while it was held: at first, and half a second later.
        code: exit code after Ctrl-C.
    """

    run: LiveRun
    second: LiveRun
    unharmed: bool
    following: dict[str, object]
    holding: dict[str, object]
    held: dict[str, object]
    executed: tuple[int, int]
    resumed: dict[str, object]
    code: int


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """Let a second run try its arm, hold it, resume it, and end it by Ctrl-C."""
    folder = tmp_path_factory.mktemp("life")
    runs = [LiveRun(folder, *ORACLE, "--inject-latency-ms", "100")]
    try:
        (run,) = runs
        run.until_following()
        runs.append(second := LiveRun(folder, *ORACLE))
        assert second.end() == 2, second.text
        shown = run.text.count("t=")
        run.until(rf"(?s)(t=.*){{{shown + 2}}}")
        unharmed, following = run.process.poll() is None, run.arm("state")
        holding = run.arm("hold")
        run.until(r"arm=hold")
        held, executed = run.arm("state"), len(run.events("action_in_force"))
        time.sleep(0.5)
        later = len(run.events("action_in_force"))
        resumed = run.arm("resume", "--yes")
        run.until(r"(?s)arm=hold.*arm=follow")
        run.process.send_signal(signal.SIGINT)
        yield Story(
            run=run, second=second, unharmed=unharmed, following=following, holding=holding,
            held=held, executed=(executed, later), resumed=resumed, code=run.end(),
        )  # fmt: skip
    finally:
        for each in runs:
            each.kill()


def test_a_run_closes_the_loop_in_separate_processes(story: Story) -> None:
    run = story.run
    pids = run.pids()
    assert set(pids) == set(PROCESSES)
    assert len(set(pids.values())) == len(PROCESSES)
    summary = run.summary()
    assert summary["merged"] > 3  # type: ignore[operator]
    assert summary["actions_executed"] > 20  # type: ignore[operator]
    assert summary["accepted"] > 100  # type: ignore[operator]
    assert summary["tracking_m"] is not None


def test_anyone_may_look_at_the_arm_and_hold_it(story: Story) -> None:
    assert story.following["mode"] == "follow"
    assert story.holding["mode"] in ("stopping", "hold")
    assert story.held["held"] and story.held["reason"] == "hold: asked by dvla-arm"
    before, after = story.executed
    assert after <= before + 1, "a held arm executes nothing"
    assert not story.resumed["held"]
    modes = [event["mode"] for event in story.run.events("arm_mode")]
    assert modes[modes.index("follow") + 1 :][:3] == ["stopping", "hold", "follow"]
    # Nothing but what was sent to a held arm was rejected.
    assert story.run.summary()["rejected"].keys() <= {"hold", "stopping", "epoch"}  # type: ignore[attr-defined]


def test_a_second_run_on_the_same_arm_is_refused(story: Story) -> None:
    text, first = story.second.text, story.run.pids()
    assert "in use by process" in text
    assert str(first["recorder"]) in text or str(first["arm"]) in text
    assert story.unharmed


def test_ctrl_c_stops_in_order_and_reports(story: Story) -> None:
    run = story.run
    assert story.code == 128 + signal.SIGINT, run.text
    modes = [event["mode"] for event in run.events("arm_mode")]
    assert modes[-1] == "shutdown"
    assert modes[-2] in ("stopping", "hold")
    assert (run.folder() / "report.html").stat().st_size > 10_000
    assert run.left_behind() == []


def test_a_closed_terminal_stops_in_order_and_reports(start: Start) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests themselves may be under nohup
    try:
        run = start(*ORACLE)
    finally:
        signal.signal(signal.SIGHUP, before)
    run.until_following()
    # The shell tells its jobs, and the kernel tells the whole group once the shell has ended.
    for pid in (run.process.pid, *run.pids().values(), run.process.pid):
        os.kill(pid, signal.SIGHUP)
    assert run.end() == 128 + signal.SIGHUP, run.text
    assert [event["mode"] for event in run.events("arm_mode")][-1] == "shutdown"
    assert (run.folder() / "report.html").stat().st_size > 10_000
    assert run.left_behind() == []


def test_a_run_whose_output_nobody_reads_any_more_goes_on_to_its_report(start: Start) -> None:
    ours, theirs = os.pipe()
    run = start("--policy", "oracle", "--duration", "2", "--shadow", output=theirs)
    os.close(theirs)
    with open(ours) as read:
        assert "recorder: pid" in read.readline()
    assert run.end() in (0, 1)  # as the preflight judges this machine
    assert {"report.html", "preflight.json"} <= {path.name for path in run.folder().iterdir()}
    assert run.left_behind() == []


def test_ctrl_c_during_the_start_stops_what_has_started(start: Start) -> None:
    run = start(*ORACLE)
    run.until(r"arm: pid")
    run.process.send_signal(signal.SIGINT)
    assert run.end() == 128 + signal.SIGINT, run.text
    assert "servo: pid" not in run.text
    assert "Traceback" not in run.text
    assert run.left_behind() == []


def test_ctrl_c_twice_still_stops_the_arm_and_leaves_nothing(start: Start) -> None:
    run = start(*ORACLE)
    run.until_following()
    run.process.send_signal(signal.SIGINT)
    time.sleep(0.05)
    run.process.send_signal(signal.SIGINT)
    assert run.end() == 128 + signal.SIGINT, run.text
    assert run.left_behind() == []
