"""Real-time set-up asks nothing of a laptop and reports what it got."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
CODE = """
import gc, json, os, zmq
from dvla.runtime.realtime import enter_realtime, zmq_threads
context = zmq.Context()
socket = context.socket(zmq.PUB)
frozen = gc.get_freeze_count()
report = enter_realtime(priority={priority}, cpus={cpus})
policy = os.sched_getscheduler(0)
print(json.dumps(dict(
    fifo=report.fifo_priority, text=report.text, threads=len(zmq_threads()),
    io=report.io_threads, cpus=report.cpus, affinity=sorted(os.sched_getaffinity(0)),
    is_fifo=(policy & ~0x40000000) == os.SCHED_FIFO, frozen=gc.get_freeze_count() - frozen,
)))
"""


def entered(priority: int, cpus: tuple[int, ...]) -> dict[str, object]:
    code = CODE.format(priority=priority, cpus=cpus)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=ROOT, check=True)
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_the_report_is_what_the_kernel_says() -> None:
    found = entered(10, ())
    assert found["is_fifo"] == (found["fifo"] == 10)
    assert found["threads"] == 2
    assert found["io"] == (2 if found["fifo"] else 0)
    assert ("SCHED_FIFO 10" in str(found["text"])) == found["is_fifo"]
    assert int(str(found["frozen"])) > 0


def test_without_a_priority_nothing_is_asked_for() -> None:
    found = entered(0, ())
    assert found["fifo"] == 0
    assert not found["is_fifo"]
    assert "ordinary scheduler" in str(found["text"])


def test_a_cpu_that_does_not_exist_is_reported_as_not_granted() -> None:
    assert entered(0, (1023,))["cpus"] == []


def test_affinity_is_set() -> None:
    cpu = entered(0, ())["affinity"][0]  # type: ignore[index]
    found = entered(0, (cpu,))
    assert found["cpus"] == found["affinity"] == [cpu]
