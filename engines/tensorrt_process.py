"""The compiler in a process of its own, which can be ended, run out of memory, or crash.

python -m dvla.engines.tensorrt_process REQUEST     (JSON; the answer is JSON on stdout)
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from dvla.engines.errors import BundleError, DvlaError, MissingDependency
from dvla.engines.scratch import scratch_folder

_CLASSES = {each.__name__: each for each in (BundleError, MissingDependency)}
_PDEATHSIG = 1
COMMAND = (sys.executable, "-m", "dvla.engines.tensorrt_process")


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to compile, where to, and where measurements are kept."""

    onnx: str
    plan: str
    timing_cache: str | None = None


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
    command: Sequence[str] = COMMAND,
) -> Answer:
    """Compile a strongly typed graph in a process that ends with this one, or with Ctrl-C.

    Args:
        onnx_path: ONNX file with its external weights.
        plan_path: the plan; it is not there, or not whole, unless this returns.
        timing_cache: see ``build_plan``.
        command: the process.

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
        with scratch_folder() as scratch:
            status, out, said = _run([*command, msgspec.json.encode(request).decode()], scratch)
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


def _run(command: Sequence[str], scratch: Path) -> tuple[int, bytes, bytes]:
    """Run the compiler's process; return its exit status, its answer and what else it said."""
    # Ctrl-C goes to a terminal's whole group; in a session of its own the child is ended by us.
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"TMPDIR": str(scratch)},
        start_new_session=True,
    )
    try:
        out, said = child.communicate()
    except BaseException:
        child.kill()
        child.communicate()
        raise
    return child.returncode, out, said


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
        next_command="try another version of TensorRT, or report it",
    )


def _die_with_parent() -> None:
    """Ask Linux to kill this process when its parent ends, however that happens."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PDEATHSIG, signal.SIGKILL)


def serve(build: Callable[[Request], Answer]) -> None:
    """Do what the request on the command line asks; the only line on stdout is the answer."""
    _die_with_parent()
    told = os.dup(1)
    os.dup2(2, 1)  # Compilers print what they like; that is not the answer.
    request = msgspec.json.decode(sys.argv[1], type=Request)
    try:
        answer = build(request)
    except (BundleError, MissingDependency) as error:
        answer = Answer(error=type(error).__name__, message=str(error))
    with os.fdopen(told, "wb") as out:
        out.write(msgspec.json.encode(answer))


def build(request: Request) -> Answer:
    """Compile a graph to a plan."""
    from dvla.engines.tensorrt_build import build_plan

    cache = Path(request.timing_cache) if request.timing_cache else None
    plan = build_plan(Path(request.onnx), cache)
    Path(request.plan).write_bytes(plan.content)
    return Answer(layers=plan.layers, size_bytes=plan.content.nbytes)


if __name__ == "__main__":
    serve(build)
