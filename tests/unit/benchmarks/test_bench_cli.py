"""The commands of dvla-bench: wrong input is one paragraph, results are files and JSON."""

import msgspec
import pytest
import tyro
from bench_reports import DEVICE, FIXTURE, full_report, latency, report, servo, subject

from dvla.benchmarks import cli, commands, session
from dvla.benchmarks.compare import ComparisonReport
from dvla.benchmarks.report.store import read_report, write_report
from dvla.engines.errors import DvlaError


def run(monkeypatch, capsys, *arguments):
    """Run the command line in this process; return its exit code and what it printed."""
    monkeypatch.setattr("sys.argv", ["dvla-bench", *map(str, arguments)])
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    with pytest.raises(SystemExit) as ended:
        cli.main()
    captured = capsys.readouterr()
    return ended.value.code, captured.out, captured.err


@pytest.fixture
def files(tmp_path):
    """Two reports of the same fixture, the second twice as fast, and one without latency."""
    faster = report(fixture=FIXTURE, latency=latency(subject("onnxruntime", 0.05)))
    for name, content in (("a", full_report()), ("b", faster), ("s", report(servo=servo()))):
        write_report(tmp_path / f"{name}.json", content)
    (tmp_path / "old.json").write_text('{"schema": 1, "cell": {}}')
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("latency",), "neither a bundle nor --synthetic"),
        (("latency", "nowhere.bundle"), "is not a bundle"),
        (("latency", "nowhere.bundle", "--rounds", "0"), "--rounds"),
        (("latency", "nowhere.bundle", "--threads", "0"), "--threads"),
        (("latency", "--synthetic", "tiny", "--backend", "abacus"), "Unknown backend"),
        (("latency", "x", "--backend", "onnxruntime", "onnxruntime"), "twice"),
        (("latency", "x", "--backend"), "names nothing"),
        (("servo", "--load", "--rate-hz", "250"), "names nothing"),
        (("servo", "--rate-hz", "5"), "--rate-hz"),
        (("servo", "--segment-s", "0"), "--segment-s"),
        (("stream", "--batch", "0"), "--batch"),
        (("all", "nowhere.bundle"), "is not a bundle"),
        (("report",), "No report is given"),
        (("report", "nowhere.json"), "cannot be read"),
        (("compare", "nowhere.json", "b.json"), "cannot be read"),
        (("compare", "nowhere.json", "eager"), "A report can be compared with a report"),
        (("compare", "eager", "eager"), "twice"),
        (("compare", "eager", "abacus", "--synthetic", "tiny"), "Unknown backend"),
        (("compare", "onnxruntime", "eager"), "neither a bundle nor"),
    ],
)
def test_wrong_use_is_one_paragraph_and_exit_code_2(monkeypatch, capsys, arguments, words):
    code, _, told = run(monkeypatch, capsys, *arguments)
    assert code == 2
    assert words in told and "Traceback" not in told and told.count("\n") == 1


def test_compare_reads_two_reports(monkeypatch, capsys, files):
    code, told, _ = run(monkeypatch, capsys, "compare", files / "a.json", files / "b.json")
    assert code == 0
    assert "onnxruntime of b is 2" in told and "separate runs" in told
    code, told, _ = run(
        monkeypatch, capsys, "compare", files / "a.json", files / "b.json", "--json"
    )
    found = msgspec.json.decode(told, type=ComparisonReport)
    assert code == 0 and (found.a, found.b) == ("a", "b")
    code, _, told = run(monkeypatch, capsys, "compare", files / "b.json", files / "s.json")
    assert code == 2 and "nothing in common" in told


def test_report_draws_one_page_of_several(monkeypatch, capsys, files):
    page = files / "page.html"
    code, told, _ = run(
        monkeypatch, capsys, "report", files / "a.json", files / "s.json", "-o", page
    )
    assert code == 0 and told.strip() == str(page)
    assert page.read_text().count("<h1>") == 2
    code, _, _ = run(monkeypatch, capsys, "report", files / "a.json")
    assert code == 0 and (files / "a.html").is_file()
    before = (files / "a.json").read_bytes()
    code, _, told = run(monkeypatch, capsys, "report", files / "s.json", "-o", files / "a.json")
    assert code == 2 and "would replace" in told and (files / "a.json").read_bytes() == before
    code, _, told = run(monkeypatch, capsys, "report", files / "old.json")
    assert code == 2 and "schema 1" in told


def test_stream_writes_a_report_that_can_be_read(monkeypatch, capsys, tmp_path):
    pytest.importorskip("dvla.bindings.action_stream", reason="bindings are not built")
    out = tmp_path / "new" / "stream.json"
    code, told, _ = run(
        monkeypatch, capsys, "stream", "--rounds", "8", "--batch", "2", "--out", out, "--json"
    )
    written = read_report(out)
    assert code == 0 and msgspec.json.decode(told, type=type(written)) == written
    assert written.command == "dvla-bench stream --rounds 8 --batch 2"
    assert written.stream is not None and written.latency is None
    assert "<svg" in out.with_suffix(".html").read_text()


@pytest.mark.parametrize(
    "command", [("stream",), ("latency", "--synthetic", "tiny"), ("all", "--synthetic", "tiny"),
                ("servo",), ("beside",), ("stalls",), ("compare", "onnxruntime", "eager")]
)  # fmt: skip
def test_a_report_that_cannot_be_written_is_refused_before_anything_runs(
    monkeypatch, capsys, tmp_path, command
):
    from dvla.benchmarks.report import machine

    def measure():
        raise AssertionError("it began to measure")

    monkeypatch.setattr(machine, "describe_bench_machine", measure)
    monkeypatch.setattr(session, "describe_bench_machine", measure)
    (tmp_path / "page.html").mkdir()
    (tmp_path / "file").touch()
    wrong = [(tmp_path, "names a folder"), (tmp_path / "file" / "a.json", "not there")]
    if command[0] not in ("beside", "stalls"):
        wrong.append((tmp_path / "page.json", "names a folder"))
    for out, words in wrong:
        code, _, told = run(monkeypatch, capsys, *command, "--out", out)
        assert code == 2 and "--out" in told and words in told and told.count("\n") == 1


def test_everything_writes_one_report(monkeypatch, capsys, tmp_path):
    pytest.importorskip("onnx")
    pytest.importorskip("dvla.bindings.servo_planner", reason="bindings are not built")
    from bundle_tools import TINY_CHECKPOINT, tiny_bundle

    from dvla.benchmarks.report import device
    from dvla.benchmarks.servo import measure

    monkeypatch.setattr(device, "probe_device", lambda threads: DEVICE)
    monkeypatch.setattr(commands, "STREAM_ROUNDS", 2)
    monkeypatch.setattr(measure, "LOADS", ("idle",))  # the engine as a load: test_bench_loops
    out = tmp_path / "all.json"
    code, told, _ = run(
        monkeypatch, capsys, "all", tiny_bundle(), "--checkpoint", TINY_CHECKPOINT,
        "--peer", "eager", "--rounds", 2, "--segments", 1, "--segment-s", 0.1, "--threads", 1,
        "--cold-starts", 0,
        "--out", out,
    )  # fmt: skip
    written = read_report(out)
    assert code == 0 and written.latency and written.servo and written.stream and written.device
    assert str(tmp_path) not in written.command and "--peer eager" in written.command
    assert written.command.startswith("dvla-bench all tiny.bundle ")
    assert "replan_hz" in told and "overruns" in told
    # The command that a report names is one that the parser takes.
    words = written.command.split()[2:]
    with pytest.raises(DvlaError, match="is not a bundle"):
        tyro.cli(commands.everything, args=words)
