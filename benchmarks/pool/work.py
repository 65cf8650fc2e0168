"""What a pool hands to a worker and gets back: a maker by name, its job, seeds and answers."""

from __future__ import annotations

import errno
from collections.abc import Callable
from importlib import import_module
from typing import Any, Protocol

import msgspec

from dvla.engines.cli_errors import EXIT_ENVIRONMENT, EXIT_FAULT
from dvla.engines.errors import DvlaError


class SeedRunner(Protocol):
    """Does one piece of work per seed; everything about it follows from its job and the seed."""

    def run(self, seed: int) -> msgspec.Struct:
        """Return the result of a seed."""


class Work(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every worker of a pool does.

    Attributes:
        maker: ``module:name`` of what takes ``job`` and returns a ``SeedRunner``.
        job: JSON of its argument; the maker's module decodes it.
    """

    maker: str
    job: msgspec.Raw

    @classmethod
    def of(cls, maker: Callable[[bytes], SeedRunner], job: msgspec.Struct) -> Work:
        """Return the work of a maker that can be imported by name."""
        name = f"{maker.__module__}:{maker.__qualname__}"
        return cls(maker=name, job=msgspec.Raw(msgspec.json.encode(job)))

    def open(self) -> SeedRunner:
        """Make what runs the seeds."""
        module, _, name = self.maker.partition(":")
        runner: SeedRunner = getattr(import_module(module), name)(bytes(self.job))
        return runner


class Answer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What became of a seed: a result, or an error that would meet every other seed too."""

    seed: int
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: str = ""
    exit_code: int = 0


class WorkerFailed(DvlaError):
    """The work itself failed, as it would on any worker; the message is the worker's own."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.error)
        self.exit_code = answer.exit_code

    def __str__(self) -> str:
        return str(self.args[0])


class WorkerDied(DvlaError):
    """A seed ends the process that works on it, however often it is tried."""

    exit_code = 1


def failure(seed: int, error: Exception) -> Answer:
    """Return the answer that tells an error as a command would tell it."""
    if isinstance(error, DvlaError):
        return Answer(seed=seed, error=str(error), exit_code=error.exit_code)
    if isinstance(error, OSError):
        where = f" {error.filename}" if error.filename else ""
        if error.errno == errno.ENOSPC:
            told = f"The disk is full: no room for{where or ' what was recorded'}"
            told += ". Next: free some space and run the same command again; it goes on."
        else:
            told = f"The operating system refused{where}: {error.strerror or error}"
        return Answer(seed=seed, error=told, exit_code=EXIT_ENVIRONMENT)
    told = f"A fault in DVLA: {type(error).__name__}: {error}"
    return Answer(seed=seed, error=told, exit_code=EXIT_FAULT)


def answered(runner: SeedRunner, seed: int) -> Answer:
    """Run a seed and return what became of it."""
    try:
        result: Any = runner.run(seed)
    except Exception as error:
        return failure(seed, error)
    return Answer(seed=seed, result=msgspec.Raw(msgspec.json.encode(result)))
