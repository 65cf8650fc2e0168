"""The contract of engines: what goes in and out is checked, whatever backend is behind it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dvla.engines.base import Engine
from dvla.engines.cache import BackendIdentity
from dvla.engines.errors import UsageError
from dvla.engines.tensors import Arrays, GraphSpec, TensorSpec

GRAPH = GraphSpec(
    name="double",
    inputs=(TensorSpec(name="x", shape=(2, 3), dtype="float32"),),
    outputs=(TensorSpec(name="y", shape=(2, 3), dtype="float32"),),
)


class Doubler(Engine):
    backend = "doubler"
    output_dtype = np.float32

    @classmethod
    def identity(cls) -> BackendIdentity:
        return BackendIdentity(backend="doubler", version="1", device="cpu", capability="any")

    def _load_impl(self) -> None:
        self.events = ["load"]

    def _run_impl(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        self.events.append("run")
        return {"y": (inputs["x"] * 2).astype(self.output_dtype)}

    def _close_impl(self) -> None:
        self.events.append("close")


@pytest.fixture
def engine() -> Doubler:
    return Doubler(GRAPH, Path("none.onnx"))


def test_life_cycle_runs_each_implementation_once(engine: Doubler) -> None:
    with engine:
        engine.load()
        engine.warm_up(runs=2)
        result = engine.run({"x": np.ones((2, 3), np.float32)})
        assert engine.last_run_s > 0
    engine.close()
    np.testing.assert_array_equal(result["y"], 2.0)
    assert engine.events == ["load", "run", "run", "run", "close"]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, r"missing \['x'\]"),
        ({"x": np.ones((2, 3), np.float32), "z": np.ones(1)}, r"unknown \['z'\]"),
        ({"x": np.ones((3, 2), np.float32)}, r"float32\[3, 2\].*Expected float32\[2, 3\]"),
        ({"x": np.ones((2, 3), np.float64)}, r"float64\[2, 3\].*Expected float32"),
    ],
)
def test_wrong_inputs_are_refused(engine: Doubler, inputs: Arrays, message: str) -> None:
    with engine, pytest.raises(UsageError, match=message):
        engine.run(inputs)
    assert "run" not in engine.events


def test_a_wrong_output_never_leaves_the_engine(engine: Doubler) -> None:
    engine.output_dtype = np.float64
    with engine, pytest.raises(UsageError, match="output y"):
        engine.run({"x": np.ones((2, 3), np.float32)})


def test_running_an_engine_that_is_not_loaded_says_so(engine: Doubler) -> None:
    with pytest.raises(UsageError, match="not loaded"):
        engine.run({"x": np.ones((2, 3), np.float32)})
