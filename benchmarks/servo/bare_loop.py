"""The peer: a C loop that sleeps to absolute deadlines and does nothing else.

It is compiled when it is needed. Nothing on this machine can be on time more often than it is, so
what it misses is the host's; what the servo loop misses beyond it is ours.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np

from dvla.benchmarks.servo.segment import WARM_UP_S, Segment
from dvla.engines.errors import DvlaError, MissingDependency

SOURCE = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int main(int argc, char **argv) {
    if (argc != 5) return 2;
    const int64_t period = atoll(argv[1]), warm_up = atoll(argv[2]), duration = atoll(argv[3]);
    const int priority = atoi(argv[4]);
    struct sched_param parameters = {.sched_priority = priority};
    int64_t fifo = priority > 0 && sched_setscheduler(0, SCHED_FIFO, &parameters) == 0;
    if (fifo) mlockall(MCL_CURRENT | MCL_FUTURE);
    prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
    const int64_t capacity = (warm_up + duration) / period + 2;
    int64_t *pairs = malloc(2 * capacity * sizeof(int64_t));
    if (pairs == NULL) return 3;
    memset(pairs, 0, 2 * capacity * sizeof(int64_t));  /* no page fault later */
    int64_t deadline = now_ns(), start = deadline, count = 0, overruns = 0;
    while (count < capacity) {
        deadline += period;
        const int64_t behind = now_ns() - deadline;
        if (behind >= 0) {
            const int64_t missed = behind / period + 1;
            deadline += missed * period;
            if (deadline - start > warm_up) overruns += missed;
        }
        if (deadline - start > warm_up + duration) break;
        struct timespec at = {deadline / 1000000000, deadline % 1000000000};
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR) {}
        const int64_t woke = now_ns();
        if (deadline - start > warm_up) {
            pairs[2 * count] = deadline;
            pairs[2 * count + 1] = woke;
            count++;
        }
    }
    const int64_t head[3] = {count, overruns, fifo};
    fwrite(head, sizeof(int64_t), 3, stdout);
    fwrite(pairs, sizeof(int64_t), 2 * count, stdout);
    return fflush(stdout) != 0;
}
"""


class BareLoopFailed(DvlaError):
    """The compiled loop ended early."""

    exit_code = 1


def find_compiler() -> str:
    """Return the C compiler: ``$CC``, or the first of the usual names.

    Raises:
        MissingDependency: there is none.
    """
    for name in (os.environ.get("CC", ""), "cc", "gcc", "clang"):
        found = shutil.which(name) if name else None
        if found:
            return found
    raise MissingDependency(
        "The servo benchmark compares with a loop in C, and there is no C compiler",
        choices=("$CC", "cc", "gcc", "clang"),
        next_command="apt-get install gcc",
    )


def compile_loop(folder: Path) -> Path:
    """Compile the loop into a folder and return the program."""
    source, program = folder / "bare_loop.c", folder / "bare_loop"
    source.write_text(SOURCE)
    done = subprocess.run(
        [find_compiler(), "-O2", "-std=gnu11", "-o", str(program), str(source)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise MissingDependency(
            "The C compiler cannot compile the loop to compare with",
            got=done.stderr.strip()[:300],
            next_command="apt-get install gcc libc6-dev",
        )
    return program


def run_bare_segment(program: Path, period_ns: int, duration_s: float, priority: int) -> Segment:
    """Run the compiled loop for a while.

    Args:
        program: of ``compile_loop``.
        period_ns: of the loop.
        duration_s: that counts; a warm-up precedes it.
        priority: of SCHED_FIFO to try, 0 for none.
    """
    arguments = [period_ns, int(WARM_UP_S * 1e9), int(duration_s * 1e9), priority]
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, check=False)
    if done.returncode != 0:
        raise BareLoopFailed("The C loop failed", got=f"exit status {done.returncode}")
    return decode_bare(done.stdout, period_ns)


def decode_bare(told: bytes, period_ns: int) -> Segment:
    """Return what the program printed."""
    numbers = np.frombuffer(told, np.int64)
    count, overruns, fifo = (int(number) for number in numbers[:3])
    pairs = numbers[3:].reshape(count, 2)
    return Segment(
        period_ns=period_ns,
        deadline_ns=tuple(pairs[:, 0].tolist()),
        woke_ns=tuple(pairs[:, 1].tolist()),
        dispatched_ns=(),
        overruns=overruns,
        setup="SCHED_FIFO" if fifo else "ordinary scheduler",
    )
