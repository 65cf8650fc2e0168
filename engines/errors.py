"""The errors of DVLA: one class per decision that a caller can take.

Every message answers, in one paragraph: what went wrong, what was found, what was expected, which
values are valid and which command to run next. The classes build it from those parts, so that no
caller formats messages by hand.
"""

from __future__ import annotations

from collections.abc import Iterable


class DvlaError(Exception):
    """Root of all errors that DVLA raises on purpose.

    Args:
        what: one clause that says what is wrong, with the name of the thing.
        got: the value that was found.
        expected: what would have been accepted.
        choices: the valid values, where they can be listed.
        next_command: a command, or an action, that resolves it.
    """

    exit_code = 2

    def __init__(
        self,
        what: str,
        *,
        got: object = None,
        expected: str | None = None,
        choices: Iterable[str] = (),
        next_command: str | None = None,
    ) -> None:
        parts = [what.rstrip(".") + "."]
        if got is not None:
            parts.append(f"Got {got}.")
        if expected is not None:
            parts.append(f"Expected {expected}.")
        valid = ", ".join(choices)
        if valid:
            parts.append(f"Valid: {valid}.")
        if next_command is not None:
            parts.append(f"Next: {next_command}")
        super().__init__(" ".join(parts))


class UsageError(DvlaError):
    """A command was called with something it cannot use."""


class CheckpointError(DvlaError):
    """A checkpoint cannot be read, or does not describe a model that is supported."""


class TokenizerError(DvlaError):
    """No tokenizer was found, or it is not the one that the bundle was made with."""


class BundleError(DvlaError):
    """A bundle is missing, damaged, incomplete or of another schema version."""


class EngineMismatch(DvlaError):
    """An engine was built for another graph, backend, device or version, or never ran here."""


class ExportMismatch(DvlaError):
    """The actions of an exported engine differ from the model's by more than the gate allows."""

    exit_code = 1


class MissingDependency(DvlaError):
    """Something outside DVLA is missing: an extra, a system library, a device, a permission."""

    exit_code = 3
