"""int8: rounding is what it says it is, reaches the large weights alone, and is judged."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from bundle_tools import tiny_bundle
from hypothesis import given, settings
from hypothesis import strategies as st

from dvla.benchmarks.latency import int8
from dvla.benchmarks.latency.rewrites import measured
from dvla.engines.bundle import read_bundle


@given(seed=st.integers(0, 1000), axis=st.integers(0, 1), size=st.floats(1e-3, 1e3))
@settings(max_examples=25, deadline=None)
def test_no_number_moves_by_more_than_half_a_step(seed: int, axis: int, size: float) -> None:
    weight = (np.random.default_rng(seed).standard_normal((5, 7)) * size).astype(np.float32)
    weight[0] = 0.0
    numbers, scale = int8.quantised(weight, axis)
    assert np.abs(numbers).max() == 127
    assert scale.shape == ((5, 1) if axis == 0 else (1, 7))
    assert (np.abs(numbers * scale - weight) <= scale * 0.501).all()


def test_only_large_weights_of_products_are_rounded() -> None:
    nodes = [
        SimpleNamespace(op_type=kind, input=["x", weight])
        for kind, weight in (
            ("MatMul", "m"), ("Conv", "c"), ("Conv", "depthwise"), ("MatMul", "small"),
            ("MatMul", "computed"), ("Add", "m2"),
        )
    ]  # fmt: skip
    shapes = {
        "m": (32, 64), "c": (64, 16, 1, 1), "depthwise": (64, 1, 7, 7), "small": (3, 64),
        "m2": (32, 64),
    }  # fmt: skip
    assert int8.large_weights(nodes, shapes) == {"m": 1, "c": 0}


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_an_engine_with_int8_weights_is_judged_and_measured(backend: str) -> None:
    pytest.importorskip(backend)
    bundle = read_bundle(tiny_bundle())
    found = int8.int8_engine(bundle, backend, ("denoise",), rounds=2, threads=1)
    exact = next(r for r in bundle.manifest.engines if r.key.backend == "onnxruntime").verification
    judged = found.verification
    assert exact is not None and judged.gate == "reduced"
    assert 10 * exact.relative_error < judged.relative_error < 0.5
    assert judged.passed == (not judged.findings)
    assert len(found.fp32_s) == len(found.int8_s) == 2
    assert found.comparison.peer == "fp32"
    assert 0.0 < found.worst_p99 < 1.0


def test_a_product_in_int8_is_nearly_the_product() -> None:
    result = measured(int8.product_pair("it", 4, 32, 24, 1), "onnxruntime", 1, limit=0.05)
    assert 1e-4 < result.relative_error < 0.05
    assert result.saved_per_chunk_s == pytest.approx(result.before_s[0] - result.after_s[0])
