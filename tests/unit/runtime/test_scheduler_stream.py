"""The scheduler writes a real action stream, and its reader sees what is in force."""

from __future__ import annotations

import numpy as np
import pytest
from closed_loop import MS, START_NS
from scheduler_scenario import PERIOD_NS, Log, chunk_for

from dvla.runtime.config import SchedulerConfig
from dvla.runtime.scheduler import Scheduler
from dvla.runtime.timeline import CAPACITY_KNOTS, publish_timeline

action_stream = pytest.importorskip("dvla.bindings.action_stream")


def test_the_reader_follows_the_timeline_from_start_to_underrun_and_hold() -> None:
    stream = action_stream.ActionStream.create()
    setpoint, twist = np.zeros(8), np.zeros(6)

    def sample(now_ns: int) -> str:
        stream.refresh()
        return str(stream.sample(now_ns, setpoint, twist).name)

    scheduler = Scheduler(
        SchedulerConfig(),
        chunk_size=20,
        control_period_ns=PERIOD_NS,
        sink=Log(),
        publish=lambda timeline: publish_timeline(timeline, stream) and None,
    )
    assert CAPACITY_KNOTS <= action_stream.ActionStream.CAPACITY
    assert sample(START_NS) == "EMPTY"
    ticket = scheduler.begin_inference(START_NS, START_NS)
    scheduler.on_chunk(chunk_for(ticket, 20), START_NS + 200 * MS)
    assert sample(START_NS + 200 * MS) == "ACTIVE"
    # Mid-action, the reader is exactly at the action in force.
    assert sample(START_NS + 260 * MS) == "ACTIVE"
    assert setpoint[0] == pytest.approx(0.01)
    ticket = scheduler.begin_inference(START_NS + 200 * MS, START_NS + 205 * MS)
    scheduler.on_chunk(chunk_for(ticket, 20), START_NS + 411 * MS)
    # The second chunk's action 6 is in force on [445, 485): the knot lies at 465 ms.
    assert sample(START_NS + 465 * MS) == "ACTIVE"
    assert setpoint[0] == pytest.approx(1.06)
    assert sample(START_NS + 1004 * MS) == "ACTIVE"
    assert sample(START_NS + 1005 * MS) == "UNDERRUN"
    scheduler.on_hold(START_NS + 1100 * MS)
    assert sample(START_NS + 1100 * MS) == "HOLD"
    generation = scheduler.new_generation(START_NS + 1200 * MS)
    assert sample(START_NS + 1200 * MS) == "HOLD" and stream.generation == generation
    stream.close()
