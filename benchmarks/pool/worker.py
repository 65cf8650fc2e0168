"""One worker process: work on the first line of stdin, then seeds; an answer per line on stdout."""

from __future__ import annotations

import os
import signal
import sys

import msgspec

from dvla.benchmarks.pool.work import Work, answered, failure


def main() -> int:
    """Answer seeds until there are no more."""
    # The pool decides what an interrupt means; it ends its workers itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Libraries print as they like: what they print must not come between the answers.
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    work = msgspec.json.decode(sys.stdin.buffer.readline(), type=Work)
    runner = None
    for line in sys.stdin.buffer:
        seed = int(line)
        try:
            runner = runner or work.open()
        except Exception as error:
            answer = failure(seed, error)
        else:
            answer = answered(runner, seed)
        try:
            answers.write(msgspec.json.encode(answer) + b"\n")
        except BrokenPipeError:  # whoever asked has ended
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
