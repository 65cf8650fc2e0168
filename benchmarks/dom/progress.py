"""How far a campaign is: a bar on a terminal, a line per episode elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dvla.benchmarks.dom.result import EpisodeResult
from dvla.runtime.panel import wants_plain


@contextmanager
def shown(trials: int, *, plain: bool, quiet: bool) -> Iterator[Callable[[EpisodeResult], None]]:
    """Yield what takes the episodes as they come.

    Args:
        trials: episodes in all that are still to come.
        plain: lines instead of a bar.
        quiet: nothing.
    """
    if quiet:
        yield lambda result: None
    elif plain or wants_plain(plain) or not sys.stderr.isatty():
        yield _Lines(trials)
    else:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
        from rich.progress import TimeRemainingColumn as Remaining

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            Remaining(compact=True),
        )
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task, caught, done = bar.add_task("caught –", total=trials), 0, 0

            def take(result: EpisodeResult) -> None:
                nonlocal caught, done
                done += 1
                caught += result.success
                bar.update(task, advance=1, description=f"caught {caught} of {done}")

            yield take


class _Lines:
    """Prints a line per episode."""

    def __init__(self, trials: int) -> None:
        self._trials, self._done = trials, 0

    def __call__(self, result: EpisodeResult) -> None:
        self._done += 1
        print(
            f"{self._done:4d}/{self._trials}  seed {result.seed}  {result.kind:4s} "
            f"{result.speed:.2f} m/s  {result.outcome} after {result.completion_s:.1f} s",
            file=sys.stderr,
        )
