"""TensorRT engines on a fake device: the order of calls, fixed addresses, and every refusal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_tensorrt import Machine, plan_of
from numpy.typing import NDArray

from dvla.engines import cuda_, tensorrt_build, tensorrt_library
from dvla.engines.cache import engine_key
from dvla.engines.compiled import CompiledStore
from dvla.engines.errors import BundleError, EngineMismatch, MissingDependency, UsageError
from dvla.engines.graph_chain import GraphChain
from dvla.engines.pipeline import ActionPipeline
from dvla.engines.tensorrt_ import TensorRtEngine
from dvla.engines.tensors import GraphSpec, TensorSpec


def spec(name: str, *shape: int, dtype: str = "float32") -> TensorSpec:
    return TensorSpec(name=name, shape=shape, dtype=dtype)


MASK = spec("token_mask", 4, dtype="bool")
PREFIX = GraphSpec(
    name="prefix",
    inputs=(
        spec("frames", 1, 1, 2, 2, 3, dtype="uint8"),
        spec("token_ids", 4, dtype="int64"),
        MASK,
        spec("state", 6),
    ),
    outputs=(spec("keys", 2, 3), spec("values", 2, 3)),
)
DENOISE = GraphSpec(
    name="denoise",
    inputs=(
        spec("keys", 2, 3), spec("values", 2, 3), MASK, spec("noise", 5, 8),
        spec("prev_actions", 5, 7), spec("prev_weight", 5),
    ),
    outputs=(spec("actions", 5, 7),),
)  # fmt: skip
Tensors = dict[str, NDArray[Any]]


def prefix_of(tensors: Tensors) -> Tensors:
    seen = tensors["frames"].mean() + tensors["token_ids"].sum() + tensors["state"].sum()
    return {"keys": np.full((2, 3), seen), "values": np.full((2, 3), tensors["token_mask"].sum())}


def denoise_of(tensors: Tensors) -> Tensors:
    return {"actions": tensors["noise"][:, :7] + tensors["keys"][0, 0] * tensors["values"][0, 0]}


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    made = Machine()
    made.computes = {"prefix": prefix_of, "denoise": denoise_of}
    made.install(monkeypatch)
    for cached in (tensorrt_library.library, tensorrt_library.gpu, cuda_.cuda_device):
        cached.cache_clear()
    yield made
    for cached in (tensorrt_library.library, tensorrt_library.gpu, cuda_.cuda_device):
        cached.cache_clear()


@pytest.fixture
def pipeline(machine: Machine, tmp_path: Path) -> ActionPipeline:
    """Return the engines of a bundle that holds their plans."""
    precision = {"prefix": "bf16", "denoise": "bf16"}
    key = engine_key((PREFIX, DENOISE), {}, TensorRtEngine.identity(), precision)
    store = CompiledStore(tmp_path, key)
    for graph in (PREFIX, DENOISE):
        store.save(graph.name, plan_of(graph))
    return ActionPipeline(
        *(
            TensorRtEngine(g, tmp_path / "onnx" / "x.onnx", precision="bf16", compiled=store)
            for g in (PREFIX, DENOISE)
        )
    )


def observation(seed: int) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    return {
        "frames": random.integers(0, 255, (1, 1, 2, 2, 3)).astype(np.uint8),
        "token_ids": random.integers(0, 50, 4),
        "token_mask": random.random(4) < 0.5,
        "state": random.standard_normal(6).astype(np.float32),
        "noise": random.standard_normal((5, 8)).astype(np.float32),
    }


def wanted(observed: dict[str, Any]) -> NDArray[np.float32]:
    cache = {name: array.astype(np.float32) for name, array in prefix_of(observed).items()}
    return np.asarray(denoise_of(observed | cache)["actions"], np.float32)


def test_the_identity_is_of_this_device_and_version(machine: Machine) -> None:
    identity = TensorRtEngine.identity()
    assert (identity.version, identity.device) == ("tensorrt 10.3.0", "Fake GPU")
    assert identity.capability == "8.9"
    assert TensorRtEngine.can_run()


@pytest.mark.parametrize(
    ("capability", "precisions"),
    [
        ((7, 5), ("fp32", "fp16")),
        ((8, 7), ("fp32", "fp16", "bf16")),
        ((8, 9), ("fp32", "fp16", "bf16", "fp8")),
    ],
)
def test_a_device_offers_what_it_has_and_refuses_the_rest(
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    capability: tuple[int, int],
    precisions: tuple[str, ...],
) -> None:
    machine.capability = capability
    machine.install(monkeypatch)
    assert TensorRtEngine.precisions() == precisions
    for name in {"bf16", "fp8"} - set(precisions):
        with pytest.raises(UsageError, match=f"'{name}'.*Valid: fp32, fp16"):
            TensorRtEngine(PREFIX, Path("x"), precision=name)


def test_two_warm_ups_precede_one_capture_and_runs_are_launches(
    machine: Machine, pipeline: ActionPipeline
) -> None:
    pipeline.load()
    once = ["upload"] * 7 + ["execute prefix", "execute denoise", "download"]
    captured = [*once, *once, "synchronize", "begin capture", *once, "end capture"]
    assert machine.calls[: len(captured)] == captured
    machine.calls.clear()
    pipeline.warm_up()
    for seed in range(3):
        observed = observation(seed)
        np.testing.assert_allclose(pipeline.run(**observed), wanted(observed), rtol=1e-6)
    assert machine.calls == ["launch", "synchronize"] * 3
    chain = pipeline._chain
    assert isinstance(chain, GraphChain) and chain.captures == 1
    assert machine.depth == 0


def test_the_cache_between_the_engines_never_leaves_the_device(
    machine: Machine, pipeline: ActionPipeline
) -> None:
    pipeline.load()
    first, second = (context.addresses for context in machine.contexts)
    assert all(first[name] == second[name] for name in ("keys", "values", "token_mask"))
    chain = pipeline._chain
    assert isinstance(chain, GraphChain)
    assert {s.name for s in chain.inputs}.isdisjoint({"keys", "values"})


def test_results_outlive_the_next_run(pipeline: ActionPipeline) -> None:
    pipeline.load()
    first = pipeline.run(**observation(1))
    kept = first.copy()
    pipeline.run(**observation(2))
    np.testing.assert_array_equal(first, kept)


def test_a_moved_tensor_is_refused_and_nothing_is_captured_again(
    machine: Machine, pipeline: ActionPipeline
) -> None:
    pipeline.load()
    machine.contexts[1].addresses["keys"] += 8
    machine.calls.clear()
    with pytest.raises(EngineMismatch, match=r"moved after .* captured.*load it again"):
        pipeline.run(**observation(1))
    assert machine.calls == []


def test_a_graph_that_replays_something_else_never_runs(
    machine: Machine, pipeline: ActionPipeline
) -> None:
    machine.wrong_replay = True
    with pytest.raises(EngineMismatch, match="does not give what its engines give"):
        pipeline.load()
    assert pipeline._chain is None
    assert machine.calls[-11:] == ["destroy", *["free"] * 10]


def test_wrong_inputs_do_not_reach_the_device(machine: Machine, pipeline: ActionPipeline) -> None:
    pipeline.load()
    machine.calls.clear()
    with pytest.raises(UsageError, match="input state"):
        pipeline.run(**observation(1) | {"state": np.zeros(7, np.float32)})
    assert machine.calls == []


def test_closing_frees_the_graph_and_every_buffer(
    machine: Machine, pipeline: ActionPipeline
) -> None:
    pipeline.load()
    machine.calls.clear()
    pipeline.close()
    pipeline.close()
    assert machine.calls == ["destroy", *["free"] * 10]


def test_an_engine_alone_runs_too(pipeline: ActionPipeline) -> None:
    observed = observation(4)
    with pipeline.prefix as engine:
        found = engine.run({s.name: observed[s.name] for s in PREFIX.inputs})
    np.testing.assert_allclose(found["keys"], prefix_of(observed)["keys"], rtol=1e-6)


@pytest.mark.parametrize(
    ("refused", "error", "message"),
    [
        ("plan", EngineMismatch, r"refuses the engine of prefix.*dvla-export .* --verify"),
        ("context", MissingDependency, r"no memory left for the engine of prefix.*12 MB"),
        ("address", EngineMismatch, "refuses the address"),
        ("execute", EngineMismatch, "could not run prefix"),
    ],
)
def test_what_tensorrt_refuses_is_one_clear_error(
    machine: Machine, pipeline: ActionPipeline, refused: str, error: type[Exception], message: str
) -> None:
    machine.refuses.add(refused)
    with pytest.raises(error, match=message):
        pipeline.load()
    assert machine.depth == 0


def test_a_full_device_is_one_clear_error(machine: Machine, pipeline: ActionPipeline) -> None:
    machine.free_allocations = 3
    with pytest.raises(MissingDependency, match=r"no memory left for .*nvidia-smi"):
        pipeline.load()


def test_a_plan_with_other_tensors_is_refused(pipeline: ActionPipeline) -> None:
    assert pipeline.prefix.compiled is not None
    pipeline.prefix.compiled.save("prefix", plan_of(DENOISE).replace(b"denoise", b"prefix"))
    with pytest.raises(EngineMismatch, match=r"does not have the tensors.*noise"):
        pipeline.load()


def test_a_half_written_or_foreign_plan_is_never_loaded(pipeline: ActionPipeline) -> None:
    store = pipeline.prefix.compiled
    assert store is not None
    store.path("prefix").write_bytes(plan_of(PREFIX)[:-5])
    with pytest.raises(EngineMismatch, match=r"holds no TensorRT engine of prefix.*--precision bf"):
        pipeline.load()


def test_without_a_gpu_an_engine_says_where_it_runs(
    machine: Machine, pipeline: ActionPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cuda.bindings.driver", None)
    tensorrt_library.gpu.cache_clear()
    assert TensorRtEngine.identity().device == "none"
    with pytest.raises(MissingDependency, match=r"run on a GPU.*GPU: none") as caught:
        pipeline.load()
    assert caught.value.exit_code == 3


class TestBuild:
    """The compiler, with nothing behind it."""

    def test_it_is_strongly_typed_without_tf32(self, machine: Machine, tmp_path: Path) -> None:
        plan = tensorrt_build.build_plan(tmp_path / "x.onnx")
        assert bytes(plan.content) == b"a plan"
        assert machine.calls == ["parse", "clear TF32"]

    def test_measurements_are_kept_and_used_again(self, machine: Machine, tmp_path: Path) -> None:
        path = tmp_path / "cache" / "x.timing"
        tensorrt_build.build_plan(tmp_path / "x.onnx", path)
        assert path.read_bytes() == b"+measured"
        tensorrt_build.build_plan(tmp_path / "x.onnx", path)
        assert machine.calls[-1] == "timing cache b'+measured'"
        path.write_bytes(b"foreign")
        tensorrt_build.build_plan(tmp_path / "x.onnx", path)
        assert path.read_bytes() == b"+measured"
        assert list(path.parent.iterdir()) == [path]

    @pytest.mark.parametrize(
        ("said", "error", "message"),
        [
            ("Error Code 2: OutOfMemory", MissingDependency, "not enough memory to compile x.onnx"),
            ("no implementation for node", BundleError, r"does not compile x.onnx.*no implement"),
        ],
    )
    def test_failures_are_one_clear_error(
        self, machine: Machine, tmp_path: Path, said: str, error: type[Exception], message: str
    ) -> None:
        machine.errors = [said]
        with pytest.raises(error, match=message):
            tensorrt_build.build_plan(tmp_path / "x.onnx", tmp_path / "x.timing")
        assert not list(tmp_path.iterdir())

    def test_a_graph_that_does_not_parse_says_why(self, machine: Machine, tmp_path: Path) -> None:
        machine.refuses.add("parse")
        with pytest.raises(BundleError, match=r"tensorrt 10.3.0 does not .*no such operator"):
            tensorrt_build.build_plan(tmp_path / "x.onnx")
