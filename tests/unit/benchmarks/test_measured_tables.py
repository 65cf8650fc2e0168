"""The documentation's measured tables are what the committed results say."""

from __future__ import annotations

import shutil
from pathlib import Path

import bench_reports
import msgspec
import pytest

from dvla.benchmarks.latency.gpu.schema import GpuReport, GpuSubject, PartProfile
from dvla.benchmarks.latency.gpu.subjects import SUBJECTS
from dvla.benchmarks.report.activity import Activity
from dvla.benchmarks.report.dimension_tables import (
    caught,
    dimensions_by_speed,
    training_seeds,
)
from dvla.benchmarks.report.engine_tables import engines_cpu, latency
from dvla.benchmarks.report.machine import describe_bench_machine
from dvla.benchmarks.report.readme import (
    DOCUMENTS,
    RESULTS,
    TABLES,
    OutOfDate,
    command,
    gpu,
    rewritten,
)
from dvla.benchmarks.report.schema import END_TO_END
from dvla.benchmarks.report.servo_tables import stalls
from dvla.benchmarks.report.statistics import compare_samples
from dvla.benchmarks.servo.stalls import StallsReport, Stretches
from dvla.engines.errors import UsageError
from dvla.runtime.percentiles import percentiles

ROOT = Path(__file__).resolve().parents[3]


def test_the_tables_are_up_to_date() -> None:
    command(ROOT, check=True)


def test_every_table_stands_in_a_document() -> None:
    text = "".join((ROOT / name).read_text() for name in DOCUMENTS)
    for name in TABLES:
        assert f"<!-- measured: {name} -->" in text


def test_an_edited_number_is_found_and_repaired(tmp_path: Path) -> None:
    for name in DOCUMENTS:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / RESULTS, tmp_path / RESULTS)
    document = tmp_path / "engines/README.md"
    original = document.read_text()
    row = next(line for line in original.splitlines() if line.startswith("| ONNX Runtime fp32"))
    document.write_text(original.replace(row, row.replace("|", "| 9", 2)))
    with pytest.raises(OutOfDate, match=r"engines/README\.md are not what"):
        command(tmp_path, check=True)
    command(tmp_path)
    assert document.read_text() == original


def test_an_unknown_marker_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'hand-written'.*Valid: latency"):
        rewritten("<!-- measured: hand-written -->\n<!-- /measured -->", tmp_path)


def test_stalls_are_told_as_times_of_the_calm_stretches(tmp_path: Path) -> None:
    assert stalls(tmp_path).startswith("Not measured yet")
    late = percentiles([40.0, 60.0])
    assert late is not None
    calm = Stretches(
        stalled="calm", ticks=500, overruns=0, lateness_us=late, busy_us=late,
        stretch_p99_us=(60.0,) * 8, comparison=None,
    )  # fmt: skip
    ratio = compare_samples(("disk", [66.0] * 8), ("calm", [60.0] * 8), "p99", paired=True)
    frozen = msgspec.structs.replace(calm, stalled="disk", overruns=2, comparison=ratio)
    quiet = Activity(
        load_before=0.1, load_after=0.9, other_cores=0.0, steal_share=0.0, busy=False, text="Quiet."
    )
    report = StallsReport(
        machine=describe_bench_machine(), activity=quiet, command="dvla-bench stalls", run="r",
        rounds=8, stretch_s=2.0, unrecorded="7 pictures", kinds=(calm, frozen),
    )  # fmt: skip
    (tmp_path / "stalls.json").write_bytes(msgspec.json.encode(report))
    made = stalls(tmp_path)
    assert "| calm | 50, 60, 60 | 0 of 500 | 1 |" in made
    assert "| disk | 50, 60, 60 | 2 of 502 | 1.10 (1.10 to 1.10) |" in made
    assert "Quiet. Lost: 7 pictures." in made


def test_engines_that_run_as_one_have_no_parts_in_the_tables(tmp_path: Path) -> None:
    whole = bench_reports.subject("tensorrt", 0.1)
    whole = msgspec.structs.replace(whole, timings={END_TO_END: whole.timings[END_TO_END]})
    peer = bench_reports.subject("eager", 0.4, is_peer=True)
    told = bench_reports.report(latency=bench_reports.latency(whole, peer))
    (tmp_path / "x.json").write_bytes(msgspec.json.encode(told))
    made = latency(tmp_path, "x.json")
    assert "| tensorrt fp32 | – | 0.10 |" in made and "| eager fp32 | 0.20, 0.20 | 0.40 |" in made
    plain = {"end_to_end_s": {"p50": 0.1}, "gflop_per_s_at_min": 1.0, "times_as_fast_p50": 4.0}
    subjects = {"eager": plain, "openvino": plain | {"error_in_deviations_p99": 0.1}}
    (tmp_path / "y.json").write_bytes(msgspec.json.encode({"engines": {"fp32": subjects}}))
    assert "| OpenVINO fp32 | – | 0.10 |" in engines_cpu(tmp_path, "y.json")


def test_gpus_are_not_run_until_results_exist(tmp_path: Path) -> None:
    assert gpu(tmp_path).count("| compiled, not run |") == 2
    assert gpu(tmp_path).count("| not run |") == len(SUBJECTS) - 2
    subject = GpuSubject(
        name="aoti-graph-bf16",
        status="measured",
        spread_s=percentiles([0.003, 0.003]),
        replan_hz=333.0,
        relative_error=0.004,
        parts={"denoise": PartProfile(kernels=1500, device_s=0.002, wall_s=0.01, longest={})},
        device_peak_bytes=2_000_000_000,
    )
    report = GpuReport(
        dvla_version="0",
        command="c",
        started_utc="",
        device="Fake GPU",
        machine=describe_bench_machine(),
        size="full",
        weights_sha256="",
        budget_s=1.0,
        subjects=(subject, GpuSubject(name="tensorrt-bf16", status="not available")),
        times_as_fast={"aoti-graph-bf16": 21.0},
    )
    (tmp_path / "gpu-fake.json").write_bytes(msgspec.json.encode(report))
    made = gpu(tmp_path)
    assert (
        "| Fake GPU | aoti-graph-bf16 | 3.00, 3.00 | 333 | 21.0 | denoise 1500 | 4.0e-03 |" in made
    )
    assert "| Fake GPU | tensorrt-bf16 | not available |" in made and "not run" not in made


def test_a_row_of_catches_counts_its_episodes() -> None:
    """Counted again here, from the JSON alone."""
    path = ROOT / RESULTS / "nano" / "reactivity-200ms-sync.json"
    episodes = msgspec.json.decode(path.read_bytes())["episodes"]

    def share(*kinds: str, below: float = 1.0) -> str:
        chosen = [e for e in episodes if e["kind"] in kinds and e["speed"] < below]
        return f"{sum(e['outcome'] == 'success' for e in chosen)}/{len(chosen)}"

    lines = caught(ROOT / RESULTS, "nano/reactivity").splitlines()
    row = next(line for line in lines if line.startswith("| 200 ms, synchronous |")).split(" | ")
    every = "ball", "can", "box"
    assert row[1].startswith(f"{share(*every)} = ") and row[2].startswith(share("ball", "can"))
    assert row[3:6] == [share(kind) for kind in every]
    assert row[6] == share(*every, below=0.25)
    assert sum(int(part.split("/")[1].rstrip(" |")) for part in row[6:]) == len(episodes)


def test_a_dimension_by_speed_counts_each_episode_once() -> None:
    """Counted again here, from the JSON alone."""
    path = ROOT / RESULTS / "nano" / "dimensions" / "visual.json"
    episodes = msgspec.json.decode(path.read_bytes())["episodes"]
    lines = dimensions_by_speed(ROOT / RESULTS, "nano/dimensions").splitlines()
    row = next(line for line in lines if line.startswith("| visual |")).strip("| ").split(" | ")[1:]
    still = [e for e in episodes if e["speed"] == 0.0]
    slow = [e for e in episodes if 0.0 < e["speed"] < 0.25]
    for part, chosen in zip(row, (still, slow), strict=False):
        assert chosen
        assert part == f"{sum(e['outcome'] == 'success' for e in chosen)}/{len(chosen)}"
    assert row[-1] == "none"
    assert sum(int(part.split("/")[1]) for part in row[:-1]) == len(episodes)


def test_a_row_of_training_seeds_counts_balls_and_cans_of_each(tmp_path: Path) -> None:
    """A seed made up of the shipped one's results, without the balls that it caught in one row."""
    other, shipped = tmp_path / "nano-seeds" / "3", ROOT / RESULTS / "nano"
    other.mkdir(parents=True)
    (tmp_path / "nano").symlink_to(shipped)
    for path in shipped.glob("*.json"):
        (other / path.name).symlink_to(path)
    changed = other / "reactivity-200ms-sync.json"
    report = msgspec.json.decode(changed.read_bytes())
    every = report["episodes"]
    report["episodes"] = [e for e in every if (e["outcome"], e["kind"]) != ("success", "ball")]
    changed.unlink()
    changed.write_bytes(msgspec.json.encode(report))

    def share(episodes: list[dict[str, str]]) -> str:
        chosen = [e for e in episodes if e["kind"] in ("ball", "can")]
        return f"{sum(e['outcome'] == 'success' for e in chosen)}/{len(chosen)} = "

    lines = training_seeds(tmp_path, "nano", 7).splitlines()
    assert lines[0] == "| scenes, latency and schedule | seed 3 | seed 7 | mean |"
    row = next(line for line in lines if "synchronous" in line).split(" | ")
    assert row[1].startswith(share(report["episodes"])) and row[2].startswith(share(every))
    assert row[1] != row[2]
