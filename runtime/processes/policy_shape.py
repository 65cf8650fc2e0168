"""What an installed policy is: H, T and what it observes, asked in a process of its own.

The weights and libraries of others stay out of the supervisor, which must answer at any time.
"""

from __future__ import annotations

import subprocess
import sys

import msgspec

from dvla.engines.errors import DvlaError
from dvla.runtime.policy_api import HISTORY_STEPS
from dvla.runtime.policy_entry import NO_PICTURES, PICTURE_SIZE, PolicyError, open_installed
from dvla.runtime.processes.spawn import StartFailed

OPEN_S = 300.0
MAX_CHUNK = 31


class PolicyShape(msgspec.Struct, frozen=True, kw_only=True):
    """H, T [s], its pictures' (height, width) and steps, or why the policy cannot be opened."""

    chunk_size: int = 0
    control_period_s: float = 0.0
    picture_size: tuple[int, int] = PICTURE_SIZE
    history_steps: tuple[int, ...] = HISTORY_STEPS
    problem: str = ""
    exit_code: int = 0


def ask_shape(name: str) -> PolicyShape:
    """Open an installed policy in another process and return what it is.

    Args:
        name: of its entry point, with ``:argument`` where it takes one.

    Raises:
        StartFailed: it cannot be opened.
    """
    command = [sys.executable, "-m", "dvla.runtime.processes.policy_shape", name]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, timeout=OPEN_S, check=False)
        shape = msgspec.json.decode(done.stdout.split(b"\n")[-1], type=PolicyShape)
    except (subprocess.TimeoutExpired, msgspec.MsgspecError) as error:
        raise PolicyError(
            f"The installed policy {name!r} does not say what it is", got=str(error)
        ) from error
    if shape.problem:
        raise StartFailed(shape.problem, shape.exit_code)
    return shape


def _shape_of(name: str) -> PolicyShape:
    try:
        policy = open_installed(name)
    except DvlaError as error:
        return PolicyShape(problem=str(error), exit_code=error.exit_code)
    if policy.picture_size == NO_PICTURES:
        problem = PolicyError(
            f"The policy {name!r} looks at no pictures but at the simulator's truth",
            got="dvla-run",
            expected="an episode of the benchmark",
            next_command=f"dvla-bench dom --policy {name}",
        )
        return PolicyShape(problem=str(problem), exit_code=problem.exit_code)
    if not 1 <= policy.chunk_size <= MAX_CHUNK or not policy.control_period_s > 0.0:
        problem = PolicyError(
            f"The installed policy {name!r} has an impossible shape",
            got=f"H = {policy.chunk_size}, T = {policy.control_period_s} s",
            expected=f"1 to {MAX_CHUNK} actions, and a positive period",
            next_command="see docs/policies.md",
        )
        return PolicyShape(problem=str(problem), exit_code=problem.exit_code)
    return PolicyShape(
        chunk_size=policy.chunk_size,
        control_period_s=policy.control_period_s,
        picture_size=policy.picture_size,
        history_steps=policy.history_steps,
    )


if __name__ == "__main__":
    sys.stdout.write("\n" + msgspec.json.encode(_shape_of(sys.argv[1])).decode())
