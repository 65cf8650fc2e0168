"""How a run lives: separate processes, a loop that closes, an orderly end."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

from run_harness import PROCESSES, LiveRun

Start = Callable[..., LiveRun]
ORACLE = ("--policy", "oracle", "--duration", "0")


def test_a_run_closes_the_loop_in_separate_processes(start: Start) -> None:
    run = start("--policy", "oracle", "--inject-latency-ms", "100", "--duration", "6")
    assert run.end() == 0, run.text
    pids = run.pids()
    assert set(pids) == set(PROCESSES)
    assert len(set(pids.values())) == len(PROCESSES)
    summary = run.summary()
    assert summary["merged"] > 3  # type: ignore[operator]
    assert summary["actions_executed"] > 20  # type: ignore[operator]
    assert summary["accepted"] > 100  # type: ignore[operator]
    assert summary["acceptance_share"] >= 0.95  # type: ignore[operator]
    assert summary["tracking_m"] is not None
    assert (run.folder() / "report.html").stat().st_size > 10_000
    assert run.left_behind() == []


def test_ctrl_c_stops_in_order_and_reports(start: Start) -> None:
    run = start(*ORACLE)
    run.until_following()
    run.process.send_signal(signal.SIGINT)
    assert run.end() == 128 + signal.SIGINT, run.text
    modes = [event["mode"] for event in run.events("arm_mode")]
    assert modes[-1] == "shutdown"
    assert modes.index("stopping") < modes.index("shutdown")
    assert (run.folder() / "report.html").exists()
    assert run.left_behind() == []


def test_sigterm_is_an_orderly_stop_too(start: Start) -> None:
    run = start(*ORACLE)
    run.until_following()
    run.process.terminate()
    assert run.end() == 128 + signal.SIGTERM, run.text
    assert run.left_behind() == []


def test_ctrl_c_during_the_start_stops_what_has_started(start: Start) -> None:
    run = start(*ORACLE)
    run.until(r"arm: pid")
    run.process.send_signal(signal.SIGINT)
    assert run.end() == 128 + signal.SIGINT, run.text
    assert "servo: pid" not in run.text
    assert run.left_behind() == []


def test_ctrl_c_twice_still_stops_the_arm_and_leaves_nothing(start: Start) -> None:
    run = start(*ORACLE)
    run.until_following()
    run.process.send_signal(signal.SIGINT)
    time.sleep(0.05)
    run.process.send_signal(signal.SIGINT)
    assert run.end() == 128 + signal.SIGINT, run.text
    assert run.left_behind() == []


def test_anyone_may_look_at_the_arm_and_hold_it(start: Start) -> None:
    run = start(*ORACLE)
    run.until_following()
    state = run.arm("state")
    assert state["mode"] == "follow"
    assert run.arm("hold")["mode"] in ("stopping", "hold")
    run.until(r"arm=hold")
    state = run.arm("state")
    assert state["held"] and state["reason"] == "hold: asked by dvla-arm"
    executed = len(run.events("action_in_force"))
    time.sleep(0.5)
    assert len(run.events("action_in_force")) <= executed + 1, "a held arm executes nothing"
    resumed = run.arm("resume", "--yes")
    assert not resumed["held"]
    run.until(r"(?s)arm=hold.*arm=follow")
    run.process.send_signal(signal.SIGINT)
    assert run.end() == 128 + signal.SIGINT
    after = [event["mode"] for event in run.events("arm_mode")]
    assert after[after.index("follow") + 1 :][:3] == ["stopping", "hold", "follow"]
    assert run.summary()["rejected"].keys() <= {"hold", "stopping", "epoch"}  # type: ignore[attr-defined]


def test_a_second_run_on_the_same_arm_is_refused(start: Start) -> None:
    first = start(*ORACLE)
    first.until_following()
    second = start(*ORACLE)
    assert second.end() == 2, second.text
    assert "in use by process" in second.text
    assert str(first.pids()["recorder"]) in second.text or str(first.pids()["arm"]) in second.text
    assert first.process.poll() is None
    merged = first.text.count("t=")
    first.until(rf"(?s)(t=.*){{{merged + 2}}}")  # it goes on unharmed
    first.process.send_signal(signal.SIGINT)
    assert first.end() == 128 + signal.SIGINT
