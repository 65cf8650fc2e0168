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

from dvla.engines.errors import BundleError, MissingDependency
from dvla.engines.tensorrt_process import compile_in_child


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


@pytest.mark.usefixtures("control_c")
def test_an_interrupt_ends_the_compiler_and_removes_its_plan(tmp_path: Path) -> None:
    pid_path, plan = tmp_path / "pid", tmp_path / "x.plan"
    child = f"open({str(plan)!r}, 'w').write('half')\n"
    child += f"open({str(pid_path)!r}, 'w').write(str(os.getpid()))\ntime.sleep(60)"
    parent = (
        "from pathlib import Path\n"
        "from dvla.engines.tensorrt_process import compile_in_child\n"
        f"compile_in_child(Path('x.onnx'), Path({str(plan)!r}), None, {program(child)!r})"
    )
    process = subprocess.Popen([sys.executable, "-c", parent], stderr=subprocess.DEVNULL)
    deadline_s = time.monotonic() + 60
    while not (pid_path.is_file() and pid_path.read_text()):
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) != 0
    assert not plan.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_path.read_text()), 0)
