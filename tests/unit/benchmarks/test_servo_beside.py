"""Inference beside the servo, and the servo beside stalls: counts and pairs, never durations."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from dvla.benchmarks.servo import stalls
from dvla.benchmarks.servo.stalls import CALM, StallsFailed
from dvla.runtime.telemetry import SERVO_TICK


def test_the_control_process_drives_an_arm_beside_the_engine() -> None:
    for needed in ("mujoco", "onnx"):
        pytest.importorskip(needed)
    from bundle_tools import tiny_bundle

    from dvla.benchmarks.servo.beside import measure_beside
    from dvla.benchmarks.servo.load import LoadJob

    engine = LoadJob(bundle=str(tiny_bundle()), backend="onnxruntime", threads=1)
    (found,) = measure_beside(engine, (250,), 1, 1.0, lambda _line: None)
    assert found.alone_ms.count > 0 and found.beside_ms.count > 0
    assert found.comparison.paired and found.comparison.verdict == "too few samples"
    (control,) = found.control
    # The circle was followed: commands were accepted, and the driver was sent along it.
    assert control.accepted > 10 and control.moved_m > 0.01
    assert set(control.rejected) <= {"late", "no_lease", "epoch"}


def ticks(count: int, late_us: float, overruns: int = 0) -> np.ndarray:
    rows = np.zeros(count, SERVO_TICK)
    rows["deadline_ns"] = 4_000_000 * np.arange(count)
    rows["lateness_ns"] = 1000 * late_us
    rows["overruns"] = np.linspace(0, overruns, count).astype(int)
    return rows


def test_stretches_are_told_apart_and_compared_with_the_calm_ones() -> None:
    servo = ticks(1000, 100.0)
    servo["lateness_ns"][500:] = 400_000
    servo["overruns"][750:] = 3
    second_ns = 1_000_000_000
    spans = {CALM: [(0, second_ns)], "disk": [(2 * second_ns, 4 * second_ns)]}
    calm, disk = stalls._kinds(SimpleNamespace(servo=servo), spans)  # type: ignore[arg-type]
    assert (calm.ticks, calm.overruns, calm.stretch_p99_us) == (250, 0, (100.0,))
    assert (disk.ticks, disk.overruns, disk.stretch_p99_us) == (500, 3, (400.0,))
    assert calm.comparison is None
    assert disk.comparison is not None and disk.comparison.speedup == pytest.approx(0.25)


def test_a_stretch_whose_ticks_were_lost_is_no_result() -> None:
    lost = SimpleNamespace(servo=ticks(10, 1.0))
    with pytest.raises(StallsFailed, match="were lost"):
        stalls._kinds(lost, {CALM: [(2**60, 2**61)]})  # type: ignore[arg-type]
