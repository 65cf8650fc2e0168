"""The benchmark of a GPU host: the same code on a CPU, time limits, and results that are kept."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from bundle_tools import tiny_bundle
from golden_model import TINY_CHECKPOINT

from dvla.benchmarks.latency.gpu import child, run
from dvla.benchmarks.latency.gpu.child import measure, profiled
from dvla.benchmarks.latency.gpu.run import Plan, measured, run_limited, run_plan, summary
from dvla.benchmarks.latency.gpu.schema import GpuReport, GpuSubject, Job
from dvla.benchmarks.latency.gpu.subjects import GPU_ONLY, SUBJECTS, make_subject
from dvla.engines.bundle import REFERENCE_NAME
from dvla.engines.torch_library import library
from dvla.export.reference import load_reference


def job(folder: Path, subject: str = "eager-fp32", rounds: int = 2) -> Job:
    return Job(
        subject=subject,
        checkpoint=str(TINY_CHECKPOINT),
        bundle=str(tiny_bundle()),
        device="cpu",
        rounds=rounds,
        warm_up=1,
        result=str(folder / "result.json"),
    )


def program(code: str) -> tuple[str, ...]:
    """Return a subject's process that writes what it knows to the job's result, as ``known``."""
    known = GpuSubject(name="eager-fp32", status="measured", samples_s=(0.5,))
    lines = (
        "import json, pathlib, sys, time",
        f"known = {msgspec.json.encode(known).decode()!r}",
        "result = pathlib.Path(json.loads(sys.argv[1])['result'])",
        code,
    )
    return (sys.executable, "-c", "\n".join(lines))


@pytest.mark.parametrize(("name", "limit"), [("eager-fp32", 1e-5), ("eager-bf16", 0.1)])
def test_the_model_is_measured_profiled_and_compared(
    tmp_path: Path, name: str, limit: float
) -> None:
    found = measure(job(tmp_path, name))
    assert found.status == "measured" and len(found.samples_s) == 2
    assert found.relative_error is not None and found.relative_error < limit
    assert set(found.parts) == {"vision", "prefix", "denoise"}
    assert all(part.kernels > 10 and part.longest for part in found.parts.values())
    assert found.parts["denoise"].kernels > found.parts["prefix"].kernels
    assert found.spread_s is not None and found.replan_hz == 1 / found.spread_s.p50
    assert found.resident_bytes > 0
    assert "p50" in summary(found) and "denoise" in summary(found)


def test_parts_of_what_torch_compiles_run_as_the_whole_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Under another mode of gradients torch would compile them anew, in the middle of a profile."""
    modes: list[bool] = []

    def compiled(module: Any, mode: str) -> Any:
        def run(*inputs: Any) -> Any:
            modes.append(torch.is_grad_enabled())
            with torch.no_grad():
                return module(*inputs)

        return run

    torch = library()
    monkeypatch.setattr(torch, "compile", compiled)
    subject = make_subject("torch-compile-bf16", TINY_CHECKPOINT, tiny_bundle(), "cpu")
    for part in subject.parts().values():
        part()
    assert len(modes) > 20 and not any(modes)


class Loaded:
    """A subject that takes memory of a GPU without torch: some when loaded, more when it runs."""

    description, build_s, load_s, backend = "made up", 0.0, 0.0, None

    def __init__(self, gpu: dict[str, int], bundle: Path) -> None:
        self._gpu, self._reference = gpu, load_reference(bundle / REFERENCE_NAME)
        gpu["free"] -= 600

    def run(self, case: int) -> Any:
        self._gpu["free"] = 300
        return self._reference.actions[case]

    def parts(self) -> dict[str, Any]:
        return {}


def test_memory_of_a_gpu_is_what_every_library_took_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu = {"free": 1000}

    def told() -> tuple[int, int]:
        return gpu["free"], 1100

    def made(_name: str, _checkpoint: Path, bundle: Path, _device: str) -> Loaded:
        return Loaded(gpu, bundle)

    monkeypatch.setattr(library().cuda, "mem_get_info", told)
    monkeypatch.setattr(child, "make_subject", made)
    found = measure(msgspec.structs.replace(job(tmp_path), device="cuda"))
    assert (found.status, found.device_peak_bytes) == ("measured", 700)
    assert measure(job(tmp_path)).device_peak_bytes == 0


def test_a_part_has_run_twice_before_it_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []

    def clock() -> float:
        events.append("clock")
        return 0.0

    monkeypatch.setattr(time, "perf_counter", clock)
    profiled(lambda: events.append("part"), "cpu")
    assert events[:5] == ["part", "part", "clock", "part", "clock"]


@pytest.mark.parametrize("name", GPU_ONLY)
def test_what_needs_a_gpu_is_said_to_be_missing(tmp_path: Path, name: str) -> None:
    found = measure(job(tmp_path, name))
    assert found.status == "not available" and "needs a GPU" in found.message
    assert found.precision == SUBJECTS[name][1] and not found.samples_s


def test_a_result_survives_what_comes_after_it(tmp_path: Path) -> None:
    crash = measured(job(tmp_path), 60.0, program("result.write_text(known); sys.exit('no CUPTI')"))
    assert (crash.status, crash.samples_s) == ("measured", (0.5,))
    assert "exit status 1: no CUPTI" in crash.message


def test_a_crash_and_a_hang_are_told_apart_and_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crash = measured(job(tmp_path), 60.0, program("import os; os.abort()"))
    assert crash.status == "failed" and "exit status -6" in crash.message
    monkeypatch.setattr(run, "LEAST_S", 0.5)
    hung = measured(job(tmp_path), 1.0, program("time.sleep(600)"))
    assert (hung.status, hung.message) == ("out of time", "ended after its time of 1 s")
    assert measured(job(tmp_path), 0.3, program("raise SystemExit(9)")).message == "not started"


@pytest.mark.parametrize(("device", "seen"), [("cpu", "''"), ("cuda", "'3'")])
def test_a_cpu_is_measured_with_no_gpu_in_sight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str, seen: str
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    here = msgspec.structs.replace(job(tmp_path), device=device)
    code = "import os; sys.exit(repr(os.environ['CUDA_VISIBLE_DEVICES']))"
    assert measured(here, 60.0, program(code)).message == f"exit status 1: {seen}"


def test_each_size_has_its_own_weights_in_a_folder_that_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, jobs = [], []

    def limited(command: list[str], _limit_s: float, _device: str) -> str:
        if command[: len(run.PREPARE)] == list(run.PREPARE):
            made.append(command[-2:])
            shutil.copytree(tiny_bundle(), Path(command[-1]) / "bundle")
        else:
            jobs.append(msgspec.json.decode(command[-1], type=Job))
        return ""

    monkeypatch.setattr(run, "run_limited", limited)
    for size in ("tiny", "full"):
        plan = Plan(
            size=size, subjects=("eager-fp32",), device="cpu", rounds=1, warm_up=0, budget_s=60.0,
            subject_limit_s=60.0, work=tmp_path / "work", command="c",
        )  # fmt: skip
        report = run_plan(plan, tmp_path / "gpu.json", lambda _line: None)
        assert report.size == size and report.complete
    assert made == [["tiny", str(tmp_path / "work/tiny")], ["full", str(tmp_path / "work/full")]]
    assert [Path(each.bundle).parent.name for each in jobs] == ["tiny", "full"]
    assert [Path(each.checkpoint).parent.name for each in jobs] == ["tiny", "full"]


def test_children_of_a_subject_end_with_it() -> None:
    code = "import subprocess, sys; print(subprocess.Popen(['sleep', '600']).pid, file=sys.stderr)"
    said = run_limited([sys.executable, "-c", f"{code}; sys.exit(3)"], 60.0, "cpu")
    pid = int(said.rsplit(" ", 1)[-1])
    status = Path(f"/proc/{pid}/status")
    for _ in range(200):
        if not status.exists() or "zombie" in status.read_text():
            return
        time.sleep(0.05)
    pytest.fail(f"process {pid} outlived the subject that started it")


def test_a_host_needs_neither_zeromq_nor_the_compiled_parts() -> None:
    blocked = ("zmq", "yaml", "rich", "av", "pyarrow", "mujoco", "dvla.bindings")
    code = f"""
import importlib, sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.startswith({blocked!r}):
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Blocked())
for name in ("__main__", "run", "child", "prepare", "subjects"):
    importlib.import_module("dvla.benchmarks.latency.gpu." + name)
for name in ("build", "synthetic", "checkpoint", "torch_packages", "torch_process", "gate"):
    importlib.import_module("dvla.export." + name)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_reports_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    encoded = msgspec.json.encode(GpuSubject(name="x", status="failed"))
    assert msgspec.json.decode(encoded, type=GpuSubject).status == "failed"
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b"{}", type=GpuReport)
