"""Reports: the JSON contract, wrong files, the machine, the floor and the page."""

import os
import re
import signal
import subprocess
import sys
from html.parser import HTMLParser

import msgspec
import pytest
from bench_reports import DEVICE, FIXTURE, full_report, latency, report, servo, subject

from dvla.benchmarks.compare import compare_reports, compare_subjects_of
from dvla.benchmarks.report import activity, device, machine
from dvla.benchmarks.report.device import probe_device
from dvla.benchmarks.report.page import page_html
from dvla.benchmarks.report.roofline import bytes_read, part_floors, peak_flops
from dvla.benchmarks.report.schema import DENOISE, END_TO_END
from dvla.benchmarks.report.store import ReportError, read_report, write_report
from dvla.benchmarks.report.text import report_text
from dvla.engines.errors import UsageError


def test_a_report_comes_back_as_it_was_written(tmp_path):
    path = tmp_path / "folder" / "bench.json"
    write_report(path, full_report())
    assert read_report(path) == full_report()
    assert [entry.name for entry in path.parent.iterdir()] == ["bench.json"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"not json", "not a report"),
        (b"\xff\xfe\x00", "not a report"),
        (b"[1, 2]", "not a report"),
        (b'{"schema": 1, "cell": {}}', "schema 1"),
        (b'{"schema": "dvla-bench", "schema_version": 99}', "another version"),
        (b'{"schema": "dvla-bench", "schema_version": 1}', "damaged"),
        (b"{}", "not a report of latency"),
    ],
)
def test_what_is_no_report_is_refused(tmp_path, content, words):
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(ReportError, match=words):
        read_report(path)


def test_a_missing_report_and_an_unknown_key_are_refused(tmp_path):
    with pytest.raises(ReportError, match="cannot be read"):
        read_report(tmp_path / "none.json")
    plain = msgspec.to_builtins(full_report())
    plain["surprise"] = 1
    (tmp_path / "x.json").write_bytes(msgspec.json.encode(plain))
    with pytest.raises(ReportError, match="surprise"):
        read_report(tmp_path / "x.json")


class _Tags(HTMLParser):
    """Collects what a page refers to, and which elements it leaves open."""

    VOID = frozenset({"meta", "br", "line", "path", "rect", "circle"})

    def __init__(self):
        super().__init__()
        self.open, self.references = [], []

    def handle_starttag(self, tag, attrs):
        names = ("src", "href", "xlink:href", "action", "data", "poster", "srcset")
        self.references += [value for name, value in attrs if name in names]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_the_page_is_self_contained_and_well_formed():
    page = page_html([full_report(), report(servo=servo())])
    tags = _Tags()
    tags.feed(page)
    assert tags.open == [] and tags.references == []
    assert not re.search(r"https?://|@import|url\(", page)
    assert "<svg" in page and "NaN" not in page and "nan" not in re.sub(r"[a-z]nan", "", page)
    assert "Made-up &lt;CPU&gt;" in page and "<CPU>" not in page
    for word in ("Roofline", "bound by", FIXTURE.weights_sha256, "replan_hz", "action_hz"):
        assert word in page


def test_a_page_of_every_part_alone():
    whole = full_report()
    for part in ("latency", "servo", "stream"):
        alone = report(**{part: getattr(whole, part)})
        assert page_html([alone]).count("<svg") >= 1
        assert report_text(alone).count("\n") > 3
    assert "nothing" in page_html([report()])


def test_a_busy_machine_is_said_to_be_busy():
    quiet = activity.judge_activity(1.9, 2.0, 2, 0.02, 0.0)
    assert not quiet.busy and quiet.text.startswith("The machine was quiet")
    for other, steal in ((0.5, 0.0), (0.0, 0.1)):
        busy = activity.judge_activity(0.0, 0.0, 2, other, steal)
        assert busy.busy and "BUSY" in busy.text
    assert activity.judge_activity(1.5, 2.0, 2, None, None).busy
    assert not activity.judge_activity(0.5, 2.0, 2, None, None).busy
    noted = page_html([msgspec.structs.replace(full_report(), activity=busy)])
    assert 'class="problems"' in noted and "BUSY" in noted


def _write(root, path, text):
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)


def test_the_container_limits_of_both_versions(tmp_path):
    assert machine.cpu_limit_cores(tmp_path, "") is None
    assert machine.memory_limit_bytes(tmp_path, "") is None
    old = tmp_path / "old"
    _write(old, "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "150000\n")
    _write(old, "sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n")
    _write(old, "sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")
    assert machine.cpu_limit_cores(old, "") == 1.5
    assert machine.memory_limit_bytes(old, "") is None
    new = tmp_path / "new"
    _write(new, "sys/fs/cgroup/a/cpu.max", "max 100000\n")
    _write(new, "sys/fs/cgroup/cpu.max", "50000 100000\n")
    _write(new, "sys/fs/cgroup/a/memory.max", "1048576\n")
    assert machine.cpu_limit_cores(new, "a") == 0.5
    assert machine.memory_limit_bytes(new, "a") == 1 << 20


def test_flags_and_cache_are_read_from_the_kernel(tmp_path):
    _write(tmp_path, "proc/cpuinfo", "processor: 0\nflags\t: fpu avx2 amx_bf16 sse\n")
    _write(tmp_path, "sys/devices/system/cpu/cpu0/cache/index0/size", "32K\n")
    _write(tmp_path, "sys/devices/system/cpu/cpu0/cache/index3/size", "16M\n")
    found = machine.describe_bench_machine(tmp_path)
    assert found.flags == ("avx2", "amx_bf16")
    assert found.last_level_cache_bytes == 16 << 20
    _write(tmp_path, "proc/cpuinfo", "Features : fp asimd i8mm\n")
    assert machine.describe_bench_machine(tmp_path).flags == ("asimd", "i8mm")


def test_other_programs_are_told_from_ourselves(tmp_path, monkeypatch):
    monkeypatch.setattr(activity, "_own_cpu_s", lambda: 0.0)
    monkeypatch.setattr(activity.os, "cpu_count", lambda: 2)
    _write(tmp_path, "proc/stat", "cpu 100 0 0 100 0 0 0 0 0 0\n")
    meter = activity.ActivityMeter(tmp_path)
    # 200 ticks of two CPUs are one second; 100 of them were used by somebody, 20 were stolen.
    _write(tmp_path, "proc/stat", "cpu 200 0 0 180 0 0 0 20 0 0\n")
    found = meter.stop()
    assert found.other_cores == pytest.approx(1.0)
    assert found.steal_share == pytest.approx(0.1)
    assert found.busy


def test_a_living_child_of_a_child_is_ourselves():
    before_s = activity._own_cpu_s()
    script = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"
    busy = "import time\nwhile time.process_time() < 0.3: pass\nprint(flush=True); time.sleep(60)"
    with subprocess.Popen(
        [sys.executable, "-c", script, busy], stdout=subprocess.PIPE, start_new_session=True
    ) as child:
        try:
            assert child.stdout is not None
            child.stdout.readline()
            assert activity._own_cpu_s() - before_s > 0.25
        finally:
            os.killpg(child.pid, signal.SIGKILL)


def test_the_probe_gives_positive_rates():
    found = probe_device(1, buffer_bytes=1 << 20, matrix_side=64)
    assert found.bandwidth_bytes_per_s > 0 and found.flops_per_s["fp32"] > 0


def test_numpy_multiplies_with_as_many_threads_as_are_asked_for(monkeypatch):
    """However many cores there are: a floor of one thread must not be that of all of them."""
    counted = (
        "import os; from dvla.benchmarks.report import device; device._product_s(256); "
        "print(len(os.listdir('/proc/self/task')))"
    )
    real, told = subprocess.run, []

    def run(arguments, **how):
        told.append(real([sys.executable, "-c", counted], **how).stdout)
        return real(arguments, **how)

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(device.os, "environ", os.environ | {"OPENBLAS_NUM_THREADS": "3"})
    assert device.numpy_product_s(1, 64) > 0
    assert int(told[0]) == 1


def test_the_floor_is_the_larger_of_arithmetic_and_memory():
    result = latency(subject("onnxruntime", 0.1))
    floors = {floor.part: floor for floor in part_floors(result, DEVICE)}
    # 2 GFLOP at 100 GFLOP/s, 40 MB at 20 GB/s.
    denoise = floors[DENOISE]
    assert denoise.compute_s == pytest.approx(0.02) and denoise.memory_s == pytest.approx(0.002)
    assert denoise.floor_s == pytest.approx(0.02) and denoise.flops_per_byte == pytest.approx(50)
    assert denoise.bound == "overhead"  # it takes 50 ms
    assert floors[END_TO_END].floor_s == pytest.approx(0.04)
    slow = msgspec.structs.replace(DEVICE, bandwidth_bytes_per_s=1e9)
    bound = {floor.part: floor.bound for floor in part_floors(result, slow)}
    assert bound[DENOISE] == "memory"
    weak = msgspec.structs.replace(DEVICE, flops_per_s={"fp32": 45e9})
    assert {floor.bound for floor in part_floors(result, weak)} == {"compute"}


def test_weights_that_fit_the_cache_are_read_once():
    work = msgspec.structs.replace(
        subject("x", 1.0).work[DENOISE], weight_bytes=100, weight_bytes_read=1000
    )
    assert bytes_read(work, DEVICE) == 1000
    assert bytes_read(work, msgspec.structs.replace(DEVICE, cache_bytes=100)) == 100


def test_the_rate_follows_the_precision():
    assert peak_flops(DEVICE, "bf16") == 300e9
    assert peak_flops(DEVICE, "bf16+fp32") == 300e9
    assert peak_flops(DEVICE, "int8") == 100e9


def other_report(middle_s, **changes):
    return msgspec.structs.replace(
        report(fixture=FIXTURE, latency=latency(subject("onnxruntime", middle_s, seed=5))),
        **changes,
    )


def test_two_reports_compare_what_both_measured():
    found = compare_reports(("old", full_report()), ("new", other_report(0.05)))
    assert {each.quantity for each in found.comparisons} == set(subject("x", 1.0).timings)
    assert all(each.verdict == "faster" and not each.paired for each in found.comparisons)
    assert found.comparisons[0].speedup == pytest.approx(2.0, rel=0.1)
    assert "separate runs" in found.notes[0]
    again = compare_reports(("a", full_report()), ("b", other_report(0.1)))
    assert {each.verdict for each in again.comparisons} == {"no difference shown"}


def test_reports_of_one_subject_each_are_compared_whatever_its_name():
    ours = report(latency=latency(subject("openvino", 0.05)))
    found = compare_reports(("a", other_report(0.1)), ("b", ours))
    assert found.comparisons[0].subject == "onnxruntime / openvino of b"
    assert found.comparisons[0].verdict == "faster"


def test_reports_of_different_things_are_not_compared():
    other = msgspec.structs.replace(FIXTURE, weights_sha256="00" * 32)
    with pytest.raises(UsageError, match="weights_sha256 differs"):
        compare_reports(("a", full_report()), ("b", other_report(0.1, fixture=other)))
    steps = msgspec.structs.replace(FIXTURE, num_steps=10)
    few = msgspec.structs.replace(FIXTURE, num_steps=1)
    with pytest.raises(UsageError, match=r"num_steps differs.*tiny 10 and synthetic-tiny 1\."):
        compare_reports(
            ("a", other_report(0.1, fixture=steps)), ("b", other_report(0.1, fixture=few))
        )
    with pytest.raises(UsageError, match="nothing in common"):
        compare_reports(("a", other_report(0.1)), ("b", report(servo=servo())))


def test_a_comparison_says_what_differs_between_the_machines():
    base = full_report().machine.base
    changed = msgspec.structs.replace(base, cpu="Other", libraries={"numpy": "1.0"})
    other = other_report(0.1, machine=msgspec.structs.replace(full_report().machine, base=changed))
    notes = " ".join(compare_reports(("a", full_report()), ("b", other)).notes)
    assert "machines differ" in notes and "numpy 2.0 and 1.0" in notes


def test_a_comparison_says_what_differs_between_the_inferences():
    one = msgspec.structs.replace(subject("onnxruntime", 0.1), threads=1)
    told = msgspec.structs.replace(FIXTURE, num_steps=10)
    other = other_report(0.1, latency=latency(one), fixture=told)
    notes = " ".join(compare_reports(("a", full_report()), ("b", other)).notes)
    assert "threads of an inference differ: 2 and 1." in notes
    assert "Only one of the reports says how many Euler steps" in notes
    same = " ".join(compare_reports(("a", full_report()), ("b", other_report(0.1))).notes)
    assert "threads" not in same and "Euler" not in same and "ACTIONS" not in same


@pytest.mark.parametrize(("error", "told"), [(0.64, True), (float("nan"), True), (9e-3, False)])
def test_actions_that_are_not_the_peers_are_told_with_the_verdict(error, told):
    wrong = msgspec.structs.replace(subject("onnxruntime", 0.1), action_error=error)
    found = report(latency=latency(wrong, subject("eager", 0.4, is_peer=True)))
    for text in (
        report_text(found),
        " ".join(compare_subjects_of(found, "eager", "onnxruntime").notes),
        " ".join(compare_reports(("a", found), ("b", found)).notes),
    ):
        assert ("those of onnxruntime differ from those of eager" in text) is told


def test_subjects_of_one_report_are_paired():
    found = compare_subjects_of(full_report(), "eager", "onnxruntime")
    assert all(each.paired and each.verdict == "faster" for each in found.comparisons)
    with pytest.raises(UsageError, match="does not have both"):
        compare_subjects_of(full_report(), "eager", "tensorrt")
