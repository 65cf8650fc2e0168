"""Errors of the runtime; the root and the engine errors live in ``dvla.engines.errors``."""

from __future__ import annotations

from dvla.engines.errors import DvlaError


class ConfigError(DvlaError):
    """A configuration holds a value outside its bounds, or an unknown key."""


class StaleObservation(DvlaError):
    """No observation fresh enough, or complete enough, could be assembled."""


class WireError(DvlaError):
    """A socket could not be opened, or a peer does not speak our protocol."""


class LeaseError(DvlaError):
    """The arm is commanded by another session."""


class RobotFault(DvlaError):
    """The arm reports a fault, or did not do what it was told."""

    exit_code = 1


class ProcessDied(DvlaError):
    """One of the processes of a run ended before the run did."""

    exit_code = 1


class RecordingEnded(DvlaError):
    """Nothing is recorded any more, in a run that was to end with its recording."""

    exit_code = 1
