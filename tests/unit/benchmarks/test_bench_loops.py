"""The servo and the stream benchmark: counts, shapes and peers; never a wall-clock time."""

import shutil

import numpy as np
import pytest

from dvla.benchmarks.servo import bare_loop
from dvla.benchmarks.servo.segment import Segment
from dvla.engines.errors import MissingDependency

pytest.importorskip("dvla.bindings.servo_planner", reason="bindings are not built")

from dvla.benchmarks.servo.measure import ServoOptions, circle, measure_servo, summarise_loop
from dvla.benchmarks.stream.channels import (
    KNOTS,
    DequeChannel,
    ManagerChannel,
    StreamChannel,
    Timeline,
)
from dvla.benchmarks.stream.measure import held_bytes, measure_stream

MS = 1_000_000
needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="no C compiler"
)


def segment(late_us, dispatch_us=(), overruns=0, period_ns=4 * MS):
    deadline = [(index + 1) * period_ns for index in range(len(late_us))]
    return Segment(
        period_ns=period_ns,
        deadline_ns=tuple(deadline),
        woke_ns=tuple(d + int(1e3 * late) for d, late in zip(deadline, late_us, strict=True)),
        dispatched_ns=tuple(
            d + int(1e3 * late) for d, late in zip(deadline, dispatch_us, strict=False)
        ),
        overruns=overruns,
        setup="ordinary scheduler",
    )


def test_lateness_dispatch_and_jitter_of_known_ticks():
    ticks = segment([10, 30, 20], [110, 150, 120])
    assert ticks.wake_us.tolist() == [10, 30, 20]
    assert ticks.dispatch_us.tolist() == [110, 150, 120]
    assert ticks.busy_us.tolist() == [100, 120, 100]
    assert ticks.jitter_us.tolist() == [40, 30]
    bare = segment([10, 30, 20])
    assert bare.dispatch_us.tolist() == [10, 30, 20] and bare.jitter_us.tolist() == [20, 10]


def test_a_skipped_deadline_is_an_overrun_and_no_jitter():
    ticks = Segment(
        period_ns=MS,
        deadline_ns=(MS, 5 * MS),
        woke_ns=(MS + 1000, 5 * MS + 1000),
        dispatched_ns=(),
        overruns=3,
        setup="",
    )
    assert ticks.jitter_us.tolist() == [0.0]
    assert summarise_loop("dvla", "idle", 1000, [ticks]).overruns == 3


def test_segments_add_up():
    loop = summarise_loop(
        "dvla", "idle", 250, [segment([1, 2], [3, 4], 1), segment([5, 9], [6, 10], 2)]
    )
    assert (loop.ticks, loop.overruns) == (4, 3)
    assert loop.wake_us.max == 9 and loop.dispatch_us.max == 10
    assert loop.segment_wake_p99_us == pytest.approx((1.99, 8.96))
    assert summarise_loop("bare C", "idle", 250, [segment([1, 2])]).busy_us is None


@needs_compiler
def test_the_bare_loop_serves_every_deadline_once(tmp_path):
    program = bare_loop.compile_loop(tmp_path)
    ticks = bare_loop.run_bare_segment(program, 2 * MS, 0.2, 0)
    assert len(ticks.woke_ns) + ticks.overruns == pytest.approx(100, abs=1)
    assert all(woke >= due for woke, due in zip(ticks.woke_ns, ticks.deadline_ns, strict=True))
    steps = np.diff(ticks.deadline_ns)
    assert (steps % (2 * MS) == 0).all() and (steps > 0).all()
    assert ticks.setup == "ordinary scheduler"


@needs_compiler
def test_both_loops_run_on_a_stream_that_moves():
    options = ServoOptions(rates_hz=(250,), loads=("idle",), segments=2, segment_s=0.2, engine=None)
    found = measure_servo(options, lambda _line: None)
    ours, bare = found.loops
    assert (ours.loop, bare.loop) == ("dvla", "bare C")
    for loop in found.loops:
        assert loop.ticks + loop.overruns == pytest.approx(100, abs=4)
        assert len(loop.segment_wake_p99_us) == 2
    # A tick that plans and encodes takes time; the bare loop has no such part.
    assert ours.busy_us.p50 > 0 and bare.busy_us is None
    assert found.comparisons[0].verdict == "too few samples"


@needs_compiler
def test_the_load_is_an_engine_and_ends_with_the_benchmark():
    pytest.importorskip("onnx")
    from bundle_tools import tiny_bundle

    from dvla.benchmarks.servo.load import LoadJob

    engine = LoadJob(bundle=str(tiny_bundle()), backend="onnxruntime", threads=1)
    options = ServoOptions(
        rates_hz=(250,), loads=("engine",), segments=1, segment_s=0.2, engine=engine
    )
    found = measure_servo(options, lambda _line: None)
    assert {loop.load for loop in found.loops} == {"engine"}
    assert "onnxruntime infers" in found.load_description


def test_a_load_that_cannot_start_ends_the_benchmark(tmp_path, capfd):
    from dvla.benchmarks.servo.load import LoadFailed, LoadJob, engine_load

    job = LoadJob(bundle=str(tmp_path), backend="onnxruntime", threads=1)
    with pytest.raises(LoadFailed, match="ended early"), engine_load(job):
        pytest.fail("the block must not run")
    assert "is not a bundle" in capfd.readouterr().err


def test_without_a_compiler_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr(bare_loop.shutil, "which", lambda _name: None)
    with pytest.raises(MissingDependency, match="no C compiler") as caught:
        bare_loop.find_compiler()
    assert caught.value.exit_code == 3


@needs_compiler
def test_a_compiler_that_cannot_compile_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(bare_loop, "SOURCE", "#include <no_such_header.h>\n")
    with pytest.raises(MissingDependency, match="no_such_header"):
        bare_loop.compile_loop(tmp_path)


def test_the_circle_is_continuous_and_keeps_its_rotation():
    t_ns = np.arange(0, 8_000 * MS, 40 * MS, dtype=np.int64)
    rows = circle(t_ns)
    steps = np.linalg.norm(np.diff(rows[:, :3], axis=0), axis=1)
    assert steps.max() < 0.05 * 2 * np.pi * 0.04 / 4 * 1.01
    assert np.allclose(np.linalg.norm(rows[:, 3:7], axis=1), 1.0)


@pytest.mark.parametrize("make", [StreamChannel, DequeChannel])
def test_a_channel_can_be_sampled_as_often_as_wanted(make):
    channel = make()
    try:
        channel.publish()
        for _ in range(5):
            channel.sample()
    finally:
        channel.close()


def test_the_channels_agree_on_what_is_due():
    line = Timeline()
    assert line.t_ns[KNOTS // 2] == line.now_ns and (np.diff(line.t_ns) > 0).all()
    stream = StreamChannel()
    stream.publish()
    stream.sample()
    assert np.allclose(stream.setpoint[:3], line.setpoints[KNOTS // 2, :3])
    stream.close()


def test_the_stream_benchmark_counts_calls_and_bytes():
    found = measure_stream(rounds=8, batch_calls=3, say=lambda _line: None)
    names = [(cost.channel, cost.operation) for cost in found.costs]
    channels = (StreamChannel.name, DequeChannel.name, ManagerChannel.name)
    assert names == [(channel, op) for channel in channels for op in ("publish", "sample")]
    assert all(len(cost.samples_us) == 8 == cost.spread_us.count for cost in found.costs)
    held = {key: cost.peak_bytes for key, cost in zip(names, found.costs, strict=True)}
    # A queue copies whole chunks; the stream holds a few views while a call lasts.
    assert held["ActionStream", "sample"] < 1024
    assert held["multiprocessing Manager", "publish"] > KNOTS * 8 * 8
    kept = {key: cost.kept_bytes for key, cost in zip(names, found.costs, strict=True)}
    # Less than the smallest object per call: the count's own numbers are shared by all calls.
    assert kept["ActionStream", "sample"] < 8 and kept["ActionStream", "publish"] < 8
    assert {c.subject for c in found.comparisons} == {"ActionStream"}
    assert len(found.comparisons) == 4


def test_held_bytes_sees_what_a_call_holds_and_leaves():
    kept = []
    peak, left = held_bytes(lambda: kept.append(bytes(10_000)), 20)
    assert 10_000 <= peak < 20_000 and 10_000 <= left < 11_000
    peak, left = held_bytes(lambda: len(bytes(50_000)), 20)
    assert peak >= 50_000 and left < 100
