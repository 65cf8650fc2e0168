"""Typed confirmation: before an arm moves, a person types its name, or a script says --yes."""

from __future__ import annotations

import select
import sys
from collections.abc import Callable

from dvla.engines.errors import UsageError

LOOK_EVERY_S = 0.1


class NotConfirmed(UsageError):
    """Nobody confirmed that the arm may move, so it does not."""


def confirm_arm(
    name: str,
    question: str,
    *,
    yes: bool,
    wanted: Callable[[], bool] = lambda: True,
) -> None:
    """Ask for the arm's name on the terminal.

    Args:
        name: what has to be typed.
        question: what is about to happen, in a sentence.
        yes: a script has confirmed it already.
        wanted: asked while waiting; when it says no, nothing was confirmed.

    Raises:
        NotConfirmed: another word, the end of the input, or nobody to ask.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise NotConfirmed(
            f"{question} That has to be confirmed, and there is no terminal to ask on",
            expected=f"{name!r} typed by a person, or --yes from a script that answers for it",
        )
    print(f"{question}\nType the arm's name ({name}) to confirm: ", end="", flush=True)
    typed = _line(wanted)
    if typed != name:
        raise NotConfirmed(
            "not confirmed, so nothing moves",
            got="nothing" if typed is None else repr(typed),
            expected=repr(name),
        )


def _line(wanted: Callable[[], bool]) -> str | None:
    """Return the next line of the terminal, or None at its end or when it is wanted no more."""
    while wanted():
        if select.select([sys.stdin], [], [], LOOK_EVERY_S)[0]:
            line = sys.stdin.readline()
            return line.strip() if line else None
    return None
