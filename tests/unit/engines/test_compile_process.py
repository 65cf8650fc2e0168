"""The compiler's process: its answers, its death by memory, by a crash and by Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from dvla.engines import scratch
from dvla.engines.compile_process import compile_in_child
from dvla.engines.errors import BundleError, MissingDependency


def program(code: str) -> tuple[str, ...]:
    return (sys.executable, "-c", f"import os, sys, time, signal\n{code}")


def compile_with(folder: Path, code: str) -> object:
    return compile_in_child(folder / "x.onnx", folder / "x.plan", command=program(code))


def test_an_answer_is_returned(tmp_path: Path) -> None:
    answer = compile_with(tmp_path, """print('{"layers": 3, "size_bytes": 5}')""")
    assert "layers=3" in repr(answer)


def test_paths_are_absolute_and_what_the_compiler_leaves_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spaced = tmp_path / "a folder"
    spaced.mkdir()
    monkeypatch.chdir(spaced)
    monkeypatch.setattr(tempfile, "tempdir", str(spaced))
    code = "import json, tempfile; request = json.loads(sys.argv[1]); left = tempfile.mkdtemp()\n"
    code += "open(request['plan'], 'w').write(request['onnx'] + ' at ' + left); print('{}')"
    compile_in_child(Path("x.onnx"), Path("x.plan"), command=program(code))
    onnx, left = (spaced / "x.plan").read_text().split(" at ")
    assert onnx == str(spaced / "x.onnx")
    assert " " not in left and not Path(left).parent.exists()


@pytest.mark.parametrize(
    ("code", "error", "message"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", MissingDependency, r"killed .*x\.onnx.*memory"),
        ("os.abort()", BundleError, r"crashed .*x\.onnx.*SIGABRT"),
        ("sys.exit('no such library')", BundleError, r"exit status 1; no such library"),
        (
            """print('{"error": "MissingDependency", "message": "There is not enough memory."}')""",
            MissingDependency,
            "not enough memory",
        ),
    ],
)
def test_an_end_without_a_plan_is_one_clear_error(
    tmp_path: Path, code: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        compile_with(tmp_path, code)


STARTER = """
import os, subprocess
from pathlib import Path
from dvla.engines.compile_process import Answer, serve
def build(request):
    compiler = subprocess.Popen(["sleep", "600"])
    Path(request.plan).write_text("half")
    Path(request.plan).with_suffix(".pids").write_text(f"{os.getpid()} {compiler.pid} .")
    END
    return Answer(layers=1)
serve(build)
"""
"""A compiler's process that starts a compiler of its own, as AOTInductor does."""


def start(folder: Path) -> tuple[subprocess.Popen[bytes], list[int]]:
    """Start a process that compiles; return it, its compiler's process and the compiler."""
    command = program(STARTER.replace("END", "compiler.wait()"))
    code = (
        "from pathlib import Path\n"
        "from dvla.engines.compile_process import compile_in_child\n"
        f"folder = Path({str(folder)!r})\n"
        f"compile_in_child(folder / 'x.onnx', folder / 'x.plan', command={command!r})"
    )
    environment = os.environ | {"TMPDIR": str(folder)}
    process = subprocess.Popen(
        [sys.executable, "-c", code], stderr=subprocess.DEVNULL, env=environment
    )
    deadline_s, pids = time.monotonic() + 60, folder / "x.pids"
    while not (pids.is_file() and pids.read_text().endswith(".")):
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
    return process, [int(word) for word in pids.read_text().split()[:2]]


def wait_until_gone(pid: int) -> None:
    status = Path(f"/proc/{pid}/status")
    for _ in range(600):
        if not status.exists() or "zombie" in status.read_text():
            return
        time.sleep(0.05)
    os.kill(pid, signal.SIGKILL)
    pytest.fail(f"process {pid} outlived the process that it worked for")


@pytest.mark.usefixtures("control_c")
def test_an_interrupt_ends_the_compiler_and_all_it_started_and_removes_its_plan(
    tmp_path: Path,
) -> None:
    process, (child, compiler) = start(tmp_path)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) != 0
    assert [each.name for each in tmp_path.iterdir()] == ["x.pids"]
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
    wait_until_gone(compiler)


def test_a_killed_parent_takes_the_compiler_and_all_it_started_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process, (child, compiler) = start(tmp_path)
    process.kill()
    process.wait(30)
    wait_until_gone(child)
    wait_until_gone(compiler)
    (left,) = tmp_path.glob(f"{scratch.PREFIX}*")
    monkeypatch.setattr(scratch, "SETTLED_S", -1.0)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with scratch.scratch_folder() as first, scratch.scratch_folder() as second:
        assert first.is_dir() and second.is_dir() and not left.exists()


def test_what_a_compiler_started_ends_with_its_answer(tmp_path: Path) -> None:
    command = program(STARTER.replace("END", ""))
    answer = compile_in_child(tmp_path / "x.onnx", tmp_path / "x.plan", command=command)
    assert answer.layers == 1
    wait_until_gone(int((tmp_path / "x.pids").read_text().split()[1]))
