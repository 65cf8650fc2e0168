"""Every command ends in one paragraph and an exit code."""

from __future__ import annotations

import errno
import subprocess
import sys

import pytest

from dvla.engines.cli_errors import run_main
from dvla.engines.errors import (
    BundleError,
    DvlaError,
    ExportMismatch,
    MissingDependency,
    UsageError,
)


def raising(error: BaseException) -> object:
    def body() -> int | None:
        raise error

    return body


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (UsageError("Wrong thing", got=3), 2, "Wrong thing. Got 3."),
        (BundleError("Bad bundle"), 2, "Bad bundle."),
        (ExportMismatch("Not the model"), 1, "Not the model."),
        (MissingDependency("No torch", next_command="pip install x"), 3, "Next: pip install x"),
        (KeyboardInterrupt(), 130, "Interrupted."),
        (OSError(errno.ENOSPC, "No space left on device", "/a/b"), 3, "The disk is full: /a/b."),
        (PermissionError(errno.EACCES, "Permission denied", "/a"), 3, "refused /a: Permission"),
        (ZeroDivisionError("oops"), 70, "A fault in DVLA: ZeroDivisionError: oops"),
    ],
)
def test_errors_become_one_paragraph_and_a_code(
    error: BaseException, code: int, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_main(raising(error), debug=False) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert text in captured.err
    assert captured.err.count("\n") == 1
    assert "Traceback" not in captured.err


def test_debug_adds_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_main(raising(DvlaError("bad")), debug=True) == 2
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_success_and_own_codes_pass_through() -> None:
    assert run_main(lambda: None) == 0
    assert run_main(lambda: 5) == 5
    with pytest.raises(SystemExit):
        run_main(raising(SystemExit(2)))


def test_a_reader_that_leaves_early_is_no_error() -> None:
    script = (
        "import sys; from dvla.engines.cli_errors import run_main; "
        "sys.exit(run_main(lambda: print('line\\n' * 100_000)))"
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None and writer.stderr is not None
    assert writer.stdout.readline() == "line\n"
    writer.stdout.close()
    assert writer.wait() == 141
    assert writer.stderr.read() == ""
    writer.stderr.close()


def test_an_error_that_nobody_reads_keeps_its_code() -> None:
    script = (
        "import sys; from dvla.engines.cli_errors import run_main; "
        "from dvla.engines.errors import UsageError\n"
        "def fail(): sys.stdin.read(); raise UsageError('bad')\n"
        "sys.exit(run_main(fail))"
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert writer.stdin is not None and writer.stderr is not None
    writer.stderr.close()
    writer.stdin.close()
    assert writer.wait() == 2
