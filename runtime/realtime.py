"""Real-time set-up: one function that takes what the host grants and reports what it got.

It asks nothing of a laptop: without permission every step is skipped, and the report says so.
"""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import msgspec

_PR_SET_TIMERSLACK = 29
_MCL_CURRENT, _MCL_FUTURE = 1, 2
_CAP_IPC_LOCK = 14
_SCHED_RESET_ON_FORK = 0x40000000
_ZMQ_THREAD_PREFIX = "ZMQbg/"
_ZMQ_THREADS = 2  # of a context with one I/O thread: that one and the reaper
_ZMQ_START_S = 0.5


class RealtimeReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a process got.

    Attributes:
        fifo_priority: of SCHED_FIFO, 0 for the ordinary scheduler.
        io_threads: ZeroMQ threads that got the same policy.
        cpus: where the process may run; empty when that was not asked for or refused.
        memory_locked: no page of the process can be swapped out.
        timer_slack_ns: how late the kernel may wake it on purpose, -1 when unknown.
    """

    fifo_priority: int = 0
    io_threads: int = 0
    cpus: tuple[int, ...] = ()
    memory_locked: bool = False
    timer_slack_ns: int = -1

    @property
    def text(self) -> str:
        """The report, as a phrase."""
        if self.fifo_priority:
            parts = [f"SCHED_FIFO {self.fifo_priority} (+{self.io_threads} I/O threads)"]
        else:
            parts = ["ordinary scheduler"]
        if self.cpus:
            parts.append("CPU " + ",".join(str(cpu) for cpu in self.cpus))
        if self.memory_locked:
            parts.append("memory locked")
        if self.timer_slack_ns >= 0:
            parts.append(f"timer slack {self.timer_slack_ns} ns")
        return ", ".join(parts)


def enter_realtime(*, priority: int = 0, cpus: Iterable[int] = ()) -> RealtimeReport:
    """Take what the host grants; call it after the set-up (sockets included), before the loop.

    Args:
        priority: SCHED_FIFO priority to try, 0 for none; memory is locked only with one.
        cpus: CPUs to stay on; empty for all.
    """
    # Libraries loaded so far are here to stay: the collector need not look at them again.
    gc.collect()
    gc.freeze()
    granted = stay_on(cpus)
    fifo = priority if priority > 0 and _set_fifo(0, priority) else 0
    threads = sum(_set_fifo(thread, fifo) for thread in _started_zmq_threads()) if fifo else 0
    return RealtimeReport(
        fifo_priority=fifo,
        io_threads=threads,
        cpus=granted,
        memory_locked=priority > 0 and _lock_memory(),
        timer_slack_ns=1 if _set_timer_slack(1) else -1,
    )


def zmq_threads() -> list[int]:
    """Return the thread ids of ZeroMQ's background threads in this process.

    Set from outside, and not with ZMQ_THREAD_PRIORITY: where that is not permitted, libzmq aborts
    the process.
    """
    threads = []
    for task in Path("/proc/self/task").iterdir():
        try:
            if (task / "comm").read_text().startswith(_ZMQ_THREAD_PREFIX):
                threads.append(int(task.name))
        except OSError:  # the thread has ended meanwhile
            continue
    return threads


def _started_zmq_threads() -> list[int]:
    """Return ZeroMQ's threads once they have begun: a new one names itself only when it runs."""
    deadline_s = time.monotonic() + _ZMQ_START_S
    threads = zmq_threads()
    while "zmq" in sys.modules and len(threads) < _ZMQ_THREADS and time.monotonic() < deadline_s:
        time.sleep(0.005)
        threads = zmq_threads()
    return threads


def _set_fifo(thread: int, priority: int) -> bool:
    """Give a thread SCHED_FIFO, not inherited by children; 0 is the calling thread."""
    try:
        os.sched_setscheduler(
            thread, os.SCHED_FIFO | _SCHED_RESET_ON_FORK, os.sched_param(priority)
        )
    except OSError:
        return False
    return True


def stay_on(cpus: Iterable[int]) -> tuple[int, ...]:
    """Keep this thread, and those that it will start, on some CPUs; return what was granted."""
    wanted = set(cpus)
    if not wanted:
        return ()
    try:
        os.sched_setaffinity(0, wanted)
    except OSError:
        return ()
    return tuple(sorted(wanted))


def _lock_memory() -> bool:
    """Lock all memory, now and later; only where no limit can make a later allocation fail."""
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if soft != resource.RLIM_INFINITY and not _has_capability(_CAP_IPC_LOCK):
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    return int(libc.mlockall(_MCL_CURRENT | _MCL_FUTURE)) == 0


def _has_capability(number: int) -> bool:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> number & 1)
    return False


def _set_timer_slack(slack_ns: int) -> bool:
    libc = ctypes.CDLL(None, use_errno=True)
    return int(libc.prctl(_PR_SET_TIMERSLACK, slack_ns, 0, 0, 0)) == 0
