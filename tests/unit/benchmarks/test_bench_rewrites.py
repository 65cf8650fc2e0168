"""The rewrites as pairs: both sides compute the same, and one that does not is refused."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from bundle_tools import tiny_bundle

from dvla.benchmarks.latency import cold_cache, rewrites
from dvla.benchmarks.latency.rewrite_draft import Draft, Pair, Sizes
from dvla.benchmarks.latency.rewrite_pairs import rewrite_pairs
from dvla.benchmarks.report.readme import cold_start, rewrites_table
from dvla.benchmarks.report.schema import ColdStart
from dvla.engines.compiled import ENGINES_FOLDER
from dvla.engines.errors import ExportMismatch, UsageError
from dvla.runtime.machine import describe_machine

SMALL = Sizes(
    hidden=24, mlp=32, expert_hidden=16, expert_mlp=20, heads=6, kv_heads=2, head_dim=4,
    image_tokens=8, prefix=14, layers=4, joint_layers=2, cross_layers=2, chunk=5, action_dim=3,
    steps=3, stage=(6, 8, 8), stage_blocks=2,
)  # fmt: skip


def test_every_pair_computes_the_same_and_says_what_it_saves() -> None:
    found = [rewrites.measured(make(), "onnxruntime", 1) for make in rewrite_pairs(SMALL)]
    assert len({result.name for result in found}) == len(found)
    assert all(result.relative_error < 1e-5 for result in found)
    assert any(result.relative_error > 0 for result in found)  # Other sums were compared indeed.
    once = next(result for result in found if "projected once" in result.name)
    assert (once.before_times, once.after_times) == (6, 2)
    for result in found:
        spent = result.before_times * result.before_s[0]
        left = result.after_times * result.after_s[0] if result.after_s else 0.0
        assert result.saved_per_chunk_s == pytest.approx(spent - left)


def test_sides_that_differ_are_refused() -> None:
    a, b = Draft(), Draft()
    pair = Pair(
        name="wrong",
        done=True,
        shape=(2, 2),
        before=a.end(a.op("Mul", "x", a.number(2.0))),
        after=b.end(b.op("Mul", "x", b.number(2.001))),
    )
    with pytest.raises(ExportMismatch, match="two sides of a rewrite differ on onnxruntime: wrong"):
        rewrites.measured(pair, "onnxruntime", 1)


def test_wrong_flags_are_refused(tmp_path: Path) -> None:
    for flags in ({"backend": ("torch",)}, {"rounds": 0}):
        with pytest.raises(UsageError, match="Valid: onnxruntime, openvino"):
            rewrites.command(tmp_path / "out.json", **flags)
    assert not (tmp_path / "out.json").exists()


def test_the_table_has_a_row_per_rewrite(tmp_path: Path) -> None:
    pair = rewrite_pairs(SMALL)[0]()
    result = rewrites.measured(pair, "onnxruntime", 1)
    report = rewrites.RewritesReport(
        command="it", machine=describe_machine(), sizes=SMALL, results=(result,)
    )
    (tmp_path / "rewrites-full-cpu.json").write_bytes(msgspec.json.encode(report))
    assert result.name in rewrites_table(tmp_path)
    assert "`it`" in rewrites_table(tmp_path)


def fake_start(cpu_s: float, sha256: str) -> ColdStart:
    return ColdStart(
        imported_s=0.1, loaded_s=0.2, first_chunk_s=0.3, resident_bytes=30 << 20,
        resident_peak_bytes=40 << 20, anonymous_bytes=20 << 20, cpu_s=cpu_s, actions_sha256=sha256,
    )  # fmt: skip


@pytest.mark.parametrize("differs", [False, True])
def test_cold_starts_alternate_with_and_without_the_stored_graphs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, differs: bool
) -> None:
    seen = []

    def start(path: Path, backend: str, threads: int, tokens: int) -> ColdStart:
        stored = (path / ENGINES_FOLDER).is_dir()
        seen.append((backend, threads, stored))
        assert (path / "manifest.json").is_file() and (path / "onnx" / "prefix.onnx").is_file()
        return fake_start(1.0 if stored else 2.0, "b" if differs and stored else "a")

    monkeypatch.setattr(cold_cache, "measure_cold_start", start)
    report = cold_cache.measure(tiny_bundle(), ("onnxruntime",), rounds=2, threads=1)
    assert [stored for *_, stored in seen] == [True, False, False, True]
    assert report.bit_equal == {"onnxruntime": not differs}
    assert report.stored_bytes["onnxruntime"] > 1 << 20
    (tmp_path / "cold-start-full-cpu.json").write_bytes(msgspec.json.encode(report))
    assert ("no" if differs else "yes") in cold_start(tmp_path)


def test_actions_are_the_same_numbers_in_numpy() -> None:
    """A pair's graph computes what its formula says, not merely the same on both sides."""
    pair = rewrite_pairs(SMALL)[1]()
    x = np.ones(pair.shape, np.float32)
    side = rewrites.Compiled("y", rewrites.model_bytes(pair.before, pair.shape), "onnxruntime", x)
    (weight,) = pair.before.constants.values()
    np.testing.assert_allclose(side.result(), x @ weight, rtol=1e-5)
