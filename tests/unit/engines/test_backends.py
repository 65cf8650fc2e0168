"""The contract of engines, asked of every backend on the graphs of a real bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundle_tools import copy_of_tiny_bundle, tiny_bundle
from numpy.typing import NDArray

from dvla.engines.base import Engine, EngineOptions
from dvla.engines.bundle import REFERENCE_NAME, Bundle, read_bundle
from dvla.engines.errors import BundleError, UsageError
from dvla.engines.registry import BACKENDS, engine_class
from dvla.engines.tensors import GraphSpec
from dvla.export.reference import load_reference


# The torch engine loads programs that the export compiles: test_torch.py asks the same of it.
@pytest.fixture(params=sorted(BACKENDS.keys() - {"torch"}))
def backend(request: pytest.FixtureRequest) -> type[Engine]:
    """Return each engine class; one whose library is not installed is skipped."""
    name = str(request.param)
    if name != "onnxruntime":
        pytest.importorskip(name, reason=f"the extra '{name}' is not installed")
    return engine_class(name)


def prefix_of(backend: type[Engine], bundle: Bundle, **options: Any) -> Engine:
    return backend(bundle.graph("prefix"), bundle.onnx_path("prefix"), EngineOptions(**options))


def inputs(case: int = 1) -> dict[str, NDArray[Any]]:
    reference = load_reference(tiny_bundle() / REFERENCE_NAME)
    names = ("frames", "token_ids", "token_mask", "state")
    return {name: getattr(reference, name)[case] for name in names}


def test_its_identity_says_what_makes_an_engine_another_one(backend: type[Engine]) -> None:
    identity = backend.identity()
    assert identity == backend.identity()
    assert identity.backend == backend.backend
    assert identity.version
    assert identity.device
    assert identity.capability
    assert backend.precisions()[0] == "fp32"


def test_results_are_equal_each_time_and_outlive_the_next_run(backend: type[Engine]) -> None:
    with prefix_of(backend, read_bundle(tiny_bundle()), threads=1) as engine:
        first = engine.run(inputs(1))
        kept = {name: array.copy() for name, array in first.items()}
        other = engine.run(inputs(2))
        again = engine.run(inputs(1))
    for name, array in first.items():
        np.testing.assert_array_equal(array, kept[name])
        np.testing.assert_array_equal(array, again[name])
        assert np.abs(array - other[name]).max() > 0.0


def test_inputs_are_read_only_and_of_any_layout(backend: type[Engine]) -> None:
    given = inputs()
    for array in given.values():
        array.flags.writeable = False
    strided = {name: np.repeat(array, 2, axis=-1)[..., ::2] for name, array in given.items()}
    before = {name: array.copy() for name, array in given.items()}
    with prefix_of(backend, read_bundle(tiny_bundle()), threads=1) as engine:
        results, from_strided = engine.run(given), engine.run(strided)
    for name, array in results.items():
        np.testing.assert_array_equal(array, from_strided[name])
    for name, array in given.items():
        np.testing.assert_array_equal(array, before[name])


def test_the_number_of_threads_changes_nothing_that_matters(backend: type[Engine]) -> None:
    found = []
    for threads in (1, 2):
        with prefix_of(backend, read_bundle(tiny_bundle()), threads=threads) as engine:
            found.append(engine.run(inputs())["keys"])
    np.testing.assert_allclose(found[0], found[1], rtol=0, atol=1e-4 * np.abs(found[0]).max())


def test_a_damaged_graph_is_a_bundle_error(backend: type[Engine], tmp_path: Path) -> None:
    bundle = read_bundle(copy_of_tiny_bundle(tmp_path))
    bundle.onnx_path("prefix").write_bytes(b"not a graph")
    with pytest.raises(BundleError, match=r"cannot load .*prefix\.onnx"):
        prefix_of(backend, bundle).load()


def test_a_graph_that_is_not_the_declared_one_is_refused(backend: type[Engine]) -> None:
    bundle = read_bundle(tiny_bundle())
    right = bundle.graph("prefix")
    wrong = GraphSpec(name="prefix", inputs=right.inputs[1:], outputs=right.outputs)
    engine = backend(wrong, bundle.onnx_path("prefix"))
    with pytest.raises(BundleError, match="does not declare the tensors"):
        engine.load()


def test_an_unknown_precision_is_refused_before_loading(backend: type[Engine]) -> None:
    bundle = read_bundle(tiny_bundle())
    with pytest.raises(UsageError, match=r"no such precision on this machine.*Valid: fp32"):
        backend(bundle.graph("prefix"), bundle.onnx_path("prefix"), precision="fp7")
