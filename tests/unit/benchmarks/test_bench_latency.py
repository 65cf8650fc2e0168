"""The latency benchmark on a tiny bundle: alternation, parts, peers, cold start, errors."""

import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")

import msgspec
from bench_reports import DEVICE, report
from bundle_tools import TINY_CHECKPOINT, tiny_bundle

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
from dvla.benchmarks.report.page import page_html
from dvla.benchmarks.report.roofline import subject_floors
from dvla.benchmarks.report.schema import DENOISE, END_TO_END, PREFIX, VISION, VISION_PREFIX
from dvla.benchmarks.report.text import report_text
from dvla.engines.bundle import read_bundle, write_manifest
from dvla.engines.cache import complete_precision
from dvla.engines.errors import CheckpointError, UsageError
from dvla.engines.onnxruntime_ import OnnxRuntimeEngine


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


def test_wrong_peers_are_refused():
    subject = fixtures.find_subject(tiny_bundle(), None, ("onnxruntime",), lambda _line: None)
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
