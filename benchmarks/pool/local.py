"""Seeds over processes of this host; a seed whose process was killed is done again by another."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable

import msgspec

from dvla.benchmarks.pool.work import Answer, Work, WorkerDied, WorkerFailed

Take = Callable[[int, bytes], None]
"""Called with a seed and the JSON of its result, by one thread at a time."""
MAX_DEATHS = 3
"""Processes that one seed may end before the pool gives up."""


class SeedQueue:
    """Seeds to be done, shared by threads; a lazy source is asked only when a worker is free.

    Args:
        seeds: in the order in which they are begun.
        take: called with every result.
    """

    def __init__(self, seeds: Iterable[int], take: Take) -> None:
        self._seeds, self._take = iter(seeds), take
        self._again: deque[int] = deque()
        self._deaths: Counter[int] = Counter()
        self._lock = threading.Lock()
        self.error: BaseException | None = None

    def next(self) -> int | None:
        """Return a seed to begin, or None when there is nothing left to do."""
        with self._lock:
            if self.error is not None:
                return None
            try:
                return self._again.popleft() if self._again else next(self._seeds, None)
            except Exception as error:
                self.error = error
                return None

    def took(self, answer: Answer) -> None:
        """Take an answer."""
        with self._lock:
            if answer.error:
                self.error = self.error or WorkerFailed(answer)
                return
            try:
                self._take(answer.seed, bytes(answer.result))
            except BaseException as error:
                self.error = self.error or error

    def died(self, seed: int, how: str) -> None:
        """Put a seed back whose worker ended, unless it keeps ending them."""
        with self._lock:
            self._deaths[seed] += 1
            if self._deaths[seed] < MAX_DEATHS:
                self._again.append(seed)
                return
            self.error = self.error or WorkerDied(
                f"Seed {seed} ended {MAX_DEATHS} worker processes",
                got=how,
                expected="a worker that answers",
                next_command="run the same command again; what is finished is kept",
            )

    def stop(self, error: BaseException) -> None:
        """Begin nothing any more."""
        with self._lock:
            self.error = self.error or error


def run_seeds(
    work: Work,
    seeds: Iterable[int],
    workers: int,
    take: Take,
    *,
    environment: dict[str, str] | None = None,
) -> None:
    """Run seeds over processes and take the results as they come.

    Args:
        work: of every process.
        seeds: which may be drawn lazily: results may decide how many are needed.
        workers: processes at most.
        take: called with every result, by one thread at a time.
        environment: variables added to this process's own.

    Raises:
        WorkerFailed: the work raised an error; it would do so elsewhere too.
        WorkerDied: a seed ended its process again and again.
    """
    queue = SeedQueue(seeds, take)
    running: set[subprocess.Popen[bytes]] = set()
    variables = {**os.environ, **(environment or {})}

    def serve() -> None:
        try:
            _serve(work, queue, running, variables)
        except BaseException as error:
            queue.stop(error)

    threads = [threading.Thread(target=serve, daemon=True) for _ in range(workers)]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            thread.join()
    except BaseException as error:  # an interrupt: nothing must go on behind our back
        queue.stop(error)
        for process in list(running):
            process.kill()
        raise
    if queue.error is not None:
        raise queue.error


def _serve(
    work: Work,
    queue: SeedQueue,
    running: set[subprocess.Popen[bytes]],
    variables: dict[str, str],
) -> None:
    """Feed one process after another until nothing is left."""
    process: subprocess.Popen[bytes] | None = None
    while (seed := queue.next()) is not None:
        if process is None:
            process = subprocess.Popen(
                [sys.executable, "-m", "dvla.benchmarks.pool.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=variables,
            )
            running.add(process)
            _say(process, msgspec.json.encode(work))
        _say(process, str(seed).encode())
        assert process.stdout is not None
        line = process.stdout.readline()
        if line.endswith(b"\n"):
            queue.took(msgspec.json.decode(line, type=Answer))
            continue
        queue.died(seed, f"exit status {process.wait()}")
        running.discard(process)
        process = None
    if process is not None:
        assert process.stdin is not None
        process.stdin.close()
        process.wait()
        running.discard(process)


def _say(process: subprocess.Popen[bytes], line: bytes) -> None:
    """Write a line to a worker; that it has ended shows when its answer is read."""
    assert process.stdin is not None
    try:
        process.stdin.write(line + b"\n")
        process.stdin.flush()
    except BrokenPipeError:
        pass
