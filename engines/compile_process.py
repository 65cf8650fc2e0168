"""A compiler in a process of its own, which a crash, a lack of memory or Ctrl-C ends alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

import msgspec

from dvla.engines.errors import BundleError, DvlaError, MissingDependency
from dvla.engines.lifeline import end_with_parent, kill_group, lifeline
from dvla.engines.scratch import scratch_folder

_CLASSES = {each.__name__: each for each in (BundleError, MissingDependency)}


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to compile, where to, where measurements are kept, and the parent's ``lifeline``."""

    onnx: str
    plan: str
    timing_cache: str | None = None
    lifeline: int | None = None


class Answer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What became of it: layers and size, or the class and the text of an error."""

    layers: int = 0
    size_bytes: int = 0
    error: str = ""
    message: str = ""


def compile_in_child(
    onnx_path: Path,
    plan_path: Path,
    timing_cache: Path | None = None,
    *,
    command: Sequence[str],
) -> Answer:
    """Compile a typed graph in a process that ends with this one, or with Ctrl-C.

    Args:
        onnx_path: ONNX file with its external weights.
        plan_path: the compiled graph; it is not there, or not whole, unless this returns.
        timing_cache: of TensorRT, see ``build_plan``.
        command: the process, which calls ``serve``; it is given the request as its last argument.

    Raises:
        BundleError: the compiler refuses the graph, or crashes.
        MissingDependency: there is not enough memory.
    """
    request = Request(
        onnx=str(onnx_path.absolute()),
        plan=str(plan_path.absolute()),
        timing_cache=str(timing_cache.absolute()) if timing_cache else None,
    )
    try:
        status, out, said = _run(command, request)
    except BaseException:
        plan_path.unlink(missing_ok=True)
        raise
    try:
        answer = msgspec.json.decode(out, type=Answer)
    except msgspec.DecodeError:
        raise _ended(onnx_path, status, said.decode(errors="replace")) from None
    if answer.error:
        raise _CLASSES.get(answer.error, BundleError)(answer.message)
    return answer


def _run(command: Sequence[str], request: Request) -> tuple[int, bytes, bytes]:
    """Run the compiler's process; return its exit status, its answer and what else it said."""
    # Files and no pipes: what the child started and left behind would hold a pipe open.
    with (
        scratch_folder() as scratch,
        lifeline() as given,
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as said,
    ):
        asked = msgspec.json.encode(msgspec.structs.replace(request, lifeline=given)).decode()
        # Ctrl-C goes to a terminal's whole group; in a session of its own the child is ended by us.
        child = subprocess.Popen(
            [*command, asked],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=said,
            pass_fds=(given,),
            env=os.environ | {"TMPDIR": str(scratch)},
            start_new_session=True,
        )
        try:
            child.wait()
        finally:
            kill_group(child.pid)  # The compilers that it started are processes of their own.
            child.wait()
        return child.returncode, _content(out), _content(said)


def _content(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read()


def _ended(onnx_path: Path, status: int, said: str) -> DvlaError:
    """Return the error for a compiler that ended without an answer."""
    if status == -signal.SIGKILL:
        return MissingDependency(
            f"The compiler was killed while it compiled {onnx_path.name}",
            got="signal SIGKILL, which is how the system ends what uses too much memory",
            next_command="build in a smaller precision, or on a machine with more memory",
        )
    reason = f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
    last = (said.strip().splitlines() or [""])[-1][:300]
    return BundleError(
        f"The compiler crashed while it compiled {onnx_path.name}",
        got=f"{reason}; {last}",
        next_command="try another version of the compiler, or report it",
    )


def serve(build: Callable[[Request], Answer]) -> None:
    """Do what the request on the command line asks; the only line on stdout is the answer."""
    request = msgspec.json.decode(sys.argv[1], type=Request)
    if request.lifeline is not None:
        end_with_parent(request.lifeline)
    told = os.dup(1)
    os.dup2(2, 1)  # Compilers print what they like; that is not the answer.
    try:
        answer = build(request)
    except (BundleError, MissingDependency) as error:
        answer = Answer(error=type(error).__name__, message=str(error))
    with os.fdopen(told, "wb") as out:
        out.write(msgspec.json.encode(answer))
