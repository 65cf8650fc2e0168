"""The latency benchmark on a tiny bundle: alternation, counts, hashes, cold start, errors."""

import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")

import msgspec
from bench_reports import DEVICE, report
from bundle_tools import NANO_BUNDLE, NANO_CHECKPOINT, TINY_CHECKPOINT, tiny_bundle

from dvla.benchmarks import engines_cpu, fixtures
from dvla.benchmarks.latency.alternation import alternate
from dvla.benchmarks.latency.cold_start import ColdStartFailed, measure_cold_start, memory_bytes
from dvla.benchmarks.latency.eager import EagerSubject
from dvla.benchmarks.latency.measure import (
    LatencyOptions,
    action_error,
    check_peers,
    measure_latency,
)
from dvla.benchmarks.latency.run import prepared
from dvla.benchmarks.latency.work import bundle_work, graph_work, model_work
from dvla.benchmarks.report.page import page_html
from dvla.benchmarks.report.roofline import subject_floors
from dvla.benchmarks.report.schema import DENOISE, END_TO_END, PREFIX, VISION, VISION_PREFIX
from dvla.benchmarks.report.text import report_text
from dvla.engines.bundle import read_bundle, write_manifest
from dvla.engines.cache import complete_precision
from dvla.engines.errors import BundleError, CheckpointError, UsageError
from dvla.engines.onnxruntime_ import OnnxRuntimeEngine
from dvla.export.checkpoint import load_policy


class Recorder:
    """A subject that writes down when it ran."""

    def __init__(self, name, log):
        self.name, self._log = name, log

    def run(self):
        self._log.append(self.name)
        return {"all": float(len(self._log))}


def test_alternation_alternates():
    log = []
    subjects = [Recorder(name, log) for name in "abc"]
    done = []
    found = alternate(subjects, rounds=4, warm_up_rounds=2, progress=done.append)
    assert len(log) == 3 * (4 + 2) and done == [1, 2, 3, 4]
    assert found.order == (tuple("abc"), tuple("cba"), tuple("abc"), tuple("cba"))
    assert log[6:] == [name for turn in found.order for name in turn]
    # Each subject goes before each other one equally often, and the warm-up is not counted.
    assert found.samples_s["a"]["all"] == (7.0, 12.0, 13.0, 18.0)
    assert {len(parts["all"]) for parts in found.samples_s.values()} == {4}


def test_two_subjects_of_one_name_are_refused():
    with pytest.raises(ValueError, match="share a name"):
        alternate([Recorder("a", []), Recorder("a", [])], 1, 0)


@pytest.fixture(scope="module")
def measured():
    subject = fixtures.Subject(name="tiny", bundle=tiny_bundle(), checkpoint=TINY_CHECKPOINT)
    options = LatencyOptions(
        backends=("onnxruntime",),
        peers=("eager",),
        rounds=8,
        warm_up_rounds=1,
        cold_starts=1,
        threads=1,
    )
    return measure_latency(subject, options, lambda _line: None)


def test_engine_and_peer_compute_the_same_actions(measured):
    _, result = measured
    engine, eager = result.subjects
    assert (engine.name, eager.name) == ("onnxruntime", "eager")
    assert engine.action_error < 1e-4 and eager.action_error is None
    assert eager.is_peer and not engine.is_peer


def test_every_part_has_one_duration_per_round(measured):
    _, result = measured
    engine, eager = result.subjects
    assert set(engine.timings) == {VISION_PREFIX, DENOISE, END_TO_END}
    assert set(eager.timings) == {VISION, PREFIX, VISION_PREFIX, DENOISE, END_TO_END}
    for subject in result.subjects:
        assert subject.threads == 1 and subject.action_hz == 20 * subject.replan_hz
        assert subject.replan_hz == 1 / subject.timings[END_TO_END].spread_s.p50
        for timing in subject.timings.values():
            assert len(timing.samples_s) == result.rounds == timing.spread_s.count
        parts = np.add(subject.timings[VISION_PREFIX].samples_s, subject.timings[DENOISE].samples_s)
        assert (np.array(subject.timings[END_TO_END].samples_s) >= parts).all()
    assert result.order[0] == ("onnxruntime", "eager") == result.order[1][::-1]
    assert {c.quantity for c in result.comparisons} == set(engine.timings)
    assert all(c.paired and c.peer == "eager" for c in result.comparisons)


class WholeChain:
    """Both engines in one call, as a CUDA graph runs them."""

    def __init__(self, *engines):
        self._engines = engines

    def run(self, inputs):
        found = dict(inputs)
        for engine in self._engines:
            found |= engine._run_impl({spec.name: found[spec.name] for spec in engine.graph.inputs})
        return {spec.name: found[spec.name] for spec in self._engines[-1].graph.outputs}

    def close(self):
        pass


def test_engines_that_run_as_one_are_measured_end_to_end(monkeypatch):
    def chained(self, following):
        return WholeChain(self, following)

    monkeypatch.setattr(OnnxRuntimeEngine, "chained", chained)
    subject = fixtures.Subject(name="tiny", bundle=tiny_bundle(), checkpoint=TINY_CHECKPOINT)
    options = LatencyOptions(
        backends=("onnxruntime",), peers=("eager",), rounds=8, warm_up_rounds=1, cold_starts=0
    )
    fixture, result = measure_latency(subject, options, lambda _line: None)
    engine = result.subjects[0]
    assert set(engine.timings) == {END_TO_END} and min(engine.timings[END_TO_END].samples_s) > 0
    assert engine.action_error < 1e-4
    assert [each.quantity for each in result.comparisons] == [END_TO_END]
    told = report(fixture=fixture, device=DEVICE, latency=result)
    assert "onnxruntime" in page_html([told]) and "onnxruntime" in report_text(told)
    assert [f.part for f in subject_floors(engine, DEVICE)] == [END_TO_END]


def test_the_cpu_engines_leave_out_what_is_not_known():
    found = engines_cpu.in_turns(
        {"eager": lambda _: (None, None, 2.0), "onnxruntime": lambda _: (0.3, 0.6, 1.0)}, 2, "eager"
    )
    assert "prefix_p50_s" not in found["eager"]
    assert (found["onnxruntime"]["prefix_p50_s"], found["onnxruntime"]["denoise_p50_s"]) == (
        0.3,
        0.6,
    )
    assert found["onnxruntime"]["times_as_fast_p50"] == 2.0
    engine = engines_cpu.Engines(
        read_bundle(tiny_bundle()), "onnxruntime", complete_precision(None), 1
    )
    engine.pipeline._chain = WholeChain(engine.pipeline.prefix, engine.pipeline.denoise)
    prefix_s, denoise_s, whole_s = engine(0)
    engine.pipeline.close()
    assert prefix_s is None and denoise_s is None and whole_s > 0


def test_the_cold_start_passes_its_stages_in_order(measured):
    _, result = measured
    (cold,) = result.subjects[0].cold_starts
    assert 0 < cold.imported_s < cold.loaded_s < cold.first_chunk_s
    assert cold.resident_peak_bytes >= cold.resident_bytes > cold.anonymous_bytes > 1 << 20
    assert result.subjects[1].cold_starts == ()


def test_the_fixture_names_weights_and_inputs(measured):
    fixture, _ = measured
    manifest = read_bundle(tiny_bundle()).manifest
    assert fixture.weights_sha256 == manifest.source.sha256
    case = fixtures.make_case(manifest.policy)
    assert fixture.inputs_sha256 == case.sha256 == fixtures.make_case(manifest.policy).sha256
    other = msgspec.structs.replace(case, noise=case.noise + np.float32(1e-3))
    assert other.sha256 != case.sha256
    assert fixtures.make_case(manifest.policy, tokens=5).sha256 != case.sha256
    assert fixture.tokens == 13 == len(case.observation.token_ids)
    assert fixture.bundle_bytes == sum(file.size_bytes for file in manifest.files)


def test_graph_and_model_count_the_same_work():
    bundle, model = read_bundle(tiny_bundle()), load_policy(TINY_CHECKPOINT)
    graph = bundle_work(bundle, {"prefix": "fp32", "denoise": "fp32"})
    # With as many tokens as the bundle pads to, both multiply the same matrices, but for the image
    # resize: it is two products in the graph, over 12 channels of 90x120 to 128x128.
    resize = 12 * 2 * 128 * (90 * 120 + 120 * 128)
    case = fixtures.make_case(bundle.manifest.policy, bundle.manifest.policy.tokenizer_max_length)
    torch_model = model_work(model, case)
    assert graph[DENOISE].flops == pytest.approx(torch_model[DENOISE].flops, rel=0.1)
    vision_prefix = torch_model[VISION_PREFIX].flops
    assert graph[VISION_PREFIX].flops - resize == pytest.approx(vision_prefix, rel=0.01)
    total = torch_model[VISION].flops + torch_model[PREFIX].flops + torch_model[DENOISE].flops
    assert torch_model[END_TO_END].flops == total
    # Ten Euler steps read the expert ten times.
    assert 9 < graph[DENOISE].weight_bytes_read / graph[DENOISE].weight_bytes < 11
    assert graph[VISION_PREFIX].weight_bytes_read < 1.2 * graph[VISION_PREFIX].weight_bytes
    assert graph[DENOISE].weight_bytes == pytest.approx(torch_model[DENOISE].weight_bytes, rel=0.1)
    half = bundle_work(bundle, {"prefix": "fp32", "denoise": "bf16"})
    assert half[DENOISE].weight_bytes_read * 2 == graph[DENOISE].weight_bytes_read
    assert half[VISION_PREFIX] == graph[VISION_PREFIX]


def test_a_peer_whose_state_has_motion_runs_and_is_counted():
    bundle = read_bundle(NANO_BUNDLE)
    facts = bundle.manifest.policy
    assert facts.state_motion
    case = fixtures.make_case(facts, facts.tokenizer_max_length)
    eager = EagerSubject(NANO_CHECKPOINT, case, threads=1)
    eager.run()
    assert eager.actions.shape == (facts.chunk_size, len(facts.action_names))
    counted = model_work(eager.model, case)
    eager.close()
    graph = bundle_work(bundle, {"prefix": "fp32", "denoise": "fp32"})
    assert counted[DENOISE].flops == pytest.approx(graph[DENOISE].flops, rel=0.1)


def test_the_work_of_a_known_graph(tmp_path):
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weight = numpy_helper.from_array(np.zeros((3, 4), np.float32), "w")
    kernel = numpy_helper.from_array(np.zeros((6, 1, 3, 3), np.float16), "k")
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["y"]),
            helper.make_node("MatMul", ["x", "w"], ["z"]),
            helper.make_node("Conv", ["image", "k"], ["out"], group=2, pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["y"], ["r"]),
        ],
        "known",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 5, 3]),
            helper.make_tensor_value_info("image", TensorProto.FLOAT16, [1, 2, 8, 8]),
        ],
        [
            helper.make_tensor_value_info("r", TensorProto.FLOAT, [2, 5, 4]),
            helper.make_tensor_value_info("z", TensorProto.FLOAT, [2, 5, 4]),
            helper.make_tensor_value_info("out", TensorProto.FLOAT16, [1, 6, 8, 8]),
        ],
        [weight, kernel],
    )
    path = tmp_path / "known.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]), str(path))
    found = graph_work(path)
    matmul, conv = 2 * (2 * 5 * 4) * 3, 2 * (6 * 8 * 8) * (1 * 3 * 3)
    assert found.flops == 2 * matmul + conv
    assert found.weight_bytes == 12 * 4 + 54 * 2
    assert found.weight_bytes_read == 2 * 12 * 4 + 54 * 2
    assert graph_work(path, at_most_bits=16).weight_bytes == 12 * 2 + 54 * 2


def test_the_error_of_actions_is_relative_to_the_largest():
    wanted = np.array([[1.0, -4.0]], np.float32)
    assert action_error(wanted + np.float32(0.5), wanted) == pytest.approx(0.125)
    assert action_error(wanted, wanted) is None and action_error(None, wanted) is None


def test_memory_is_read_in_bytes():
    status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t 1024 kB\nThreads:\t3\n"
    assert memory_bytes(status) == {"VmHWM": 2 << 20, "VmRSS": 1 << 20}


def test_a_cold_start_that_fails_says_so(tmp_path, capfd):
    with pytest.raises(ColdStartFailed, match="exit status 2"):
        measure_cold_start(tmp_path, "onnxruntime", 1, 13)
    assert "is not a bundle" in capfd.readouterr().err


def find(bundle=None, synthetic=None, backends=("onnxruntime",)):
    return fixtures.find_subject(bundle, synthetic, backends, lambda _line: None)


def test_wrong_subjects_are_refused(tmp_path):
    with pytest.raises(UsageError, match="neither a bundle nor"):
        find()
    with pytest.raises(UsageError, match="both a bundle"):
        find(tmp_path, "tiny")
    with pytest.raises(UsageError, match="'huge'"):
        find(synthetic="huge")
    with pytest.raises(BundleError, match="not a bundle"):
        find(tmp_path / "none")
    with pytest.raises(UsageError, match="Unknown backend"):
        find(tiny_bundle(), backends=("abacus",))
    with pytest.raises(UsageError, match="Unknown backend"):
        find(synthetic="tiny", backends=("abacus",))


def test_wrong_peers_are_refused():
    subject = find(tiny_bundle())
    check_peers((), subject)
    with pytest.raises(UsageError, match="Unknown peer"):
        check_peers(("friend",), subject)
    with pytest.raises(UsageError, match="needs the checkpoint"):
        check_peers(("eager",), subject)


PEER = LatencyOptions(
    backends=("onnxruntime",), peers=("eager",), rounds=1, warm_up_rounds=0, cold_starts=0
)


def test_a_peer_of_another_checkpoint_is_refused(tmp_path):
    """Be it of the same architecture or of another one: the weights decide."""
    from safetensors.torch import load_file, save_file

    asked = (tiny_bundle(), None, TINY_CHECKPOINT, PEER)
    assert prepared(*asked).checkpoint == TINY_CHECKPOINT
    other = tmp_path / "other"
    shutil.copytree(TINY_CHECKPOINT, other)
    weights = load_file(other / "model.safetensors")
    for changed in (dict(list(weights.items())[:3]), {k: v * 1.5 for k, v in weights.items()}):
        save_file(changed, other / "model.safetensors")
        with pytest.raises(UsageError, match=r"was not made of .*other.*dvla-export .*other"):
            prepared(tiny_bundle(), None, other, PEER)
    with pytest.raises(CheckpointError, match="no checkpoint"):
        prepared(tiny_bundle(), None, tmp_path / "none", PEER)


def test_the_weights_of_a_synthetic_subject_are_not_hashed(monkeypatch):
    made = fixtures.Subject(name="s", bundle=tiny_bundle(), checkpoint=Path("nowhere"))
    monkeypatch.setattr(fixtures, "find_subject", lambda *_: made)
    assert prepared(None, "tiny", None, PEER) == made


def test_the_peer_takes_the_bundles_euler_steps(tmp_path):
    two = tmp_path / "two.bundle"
    shutil.copytree(tiny_bundle(), two)
    manifest = read_bundle(two).manifest
    facts = msgspec.structs.replace(manifest.policy, num_steps=2)
    write_manifest(two, msgspec.structs.replace(manifest, policy=facts))
    case = fixtures.make_case(facts)
    subject = fixtures.Subject(name="two", bundle=two, checkpoint=TINY_CHECKPOINT)
    fixture, result = measure_latency(subject, PEER, lambda _line: None)
    assert fixture.num_steps == 2
    # This bundle's graphs take ten all the same, and that shows.
    assert result.subjects[0].action_error > 1e-3
    assert EagerSubject(TINY_CHECKPOINT, case, 1, 2).model.config.num_steps == 2


def test_the_synthetic_bundle_is_made_once(tmp_path, monkeypatch):
    from dvla.export import build, synthetic

    made = []

    def export(_checkpoint, output, options, _progress):
        made.append(options.overwrite)
        shutil.copytree(tiny_bundle(), output, dirs_exist_ok=True)

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(build, "export_bundle", export)
    monkeypatch.setattr(synthetic, "synthetic_checkpoint", lambda _size, _folder: None)
    subject = find(synthetic="tiny")
    assert subject.bundle.is_relative_to(tmp_path) and subject.checkpoint is not None
    assert find(synthetic="tiny") == subject and made == [True]
    # A bundle of other code is made anew, and so is one that cannot be read.
    digest = fixtures.source_digest()
    monkeypatch.setattr(fixtures, "source_digest", lambda: "other")
    assert digest != "other" and find(synthetic="tiny") == subject and len(made) == 2
    (subject.bundle / "manifest.json").write_text("{")
    assert find(synthetic="tiny") == subject and len(made) == 3


def test_one_process_makes_the_synthetic_bundle(tmp_path, monkeypatch):
    """Another one that wants it too waits: the folder is locked for as long."""
    import fcntl
    import os
    import shutil

    from dvla.export import build, synthetic

    def refuse_a_second():
        handle = os.open(tmp_path / "dvla" / "bench" / "tiny", os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(handle)
        asked.append(True)

    def export(_checkpoint, output, _options, _progress):
        refuse_a_second()
        shutil.copytree(tiny_bundle(), output)

    asked = []
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(build, "export_bundle", export)
    monkeypatch.setattr(synthetic, "synthetic_checkpoint", lambda *_: refuse_a_second())
    find(synthetic="tiny")
    assert asked == [True, True]
